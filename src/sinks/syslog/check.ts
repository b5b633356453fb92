import { existsSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SyslogSinkConfig, SyslogTarget } from '../../config/syslog.js';
import type { Finding } from '../sink.js';
import { clientFindings, shownFinding, validityFinding } from './certificate-findings.js';
import { collectorError } from './collector-error.js';
import { openSession, usesTls } from './open-session.js';
import { type ConnectOptions, connectSocket } from './tcp.js';
import { checksChain, startTls } from './tls.js';
import { resolveHost } from './udp.js';
import { openDatagramSocket } from './unix.js';

/** TLS 1.3 refuses a client certificate only after the handshake: so long its word is waited for. */
const AFTER_HANDSHAKE_MS = 500;

export type CheckConfig = Pick<
  SyslogSinkConfig,
  'transport' | 'framing' | 'tls' | 'window' | 'connect_timeout' | 'max_message_size' | 'format' | 'envelope'
>;

/** Looks at every target without sending an event: name, port, certificate, session. */
export async function checkTargets(
  config: CheckConfig,
  targets: readonly SyslogTarget[],
  now: number,
): Promise<Finding[]> {
  const each = await Promise.all(targets.map((target) => checkTarget(config, target, now)));
  return [...clientFindings(config.tls, now), ...each.flat()];
}

async function checkTarget(config: CheckConfig, target: SyslogTarget, now: number): Promise<Finding[]> {
  const options = (): ConnectOptions => ({
    timeoutMs: config.connect_timeout,
    startedAt: performance.now(),
    signal: new AbortController().signal,
  });
  try {
    if (target.kind === 'path' && config.transport === 'unix') return checkDatagramSocket(target.path);
    if (target.kind === 'host' && config.transport === 'udp') return await checkUdp(config, target);
    const findings =
      target.kind === 'host' && usesTls(config) ? await checkTls(config, target, options(), now) : [];
    if (findings.some(({ level }) => level === 'error')) return findings;
    return [...(await checkSession(config, target, options())), ...findings];
  } catch (error) {
    return [refusalFinding(target.text, error)];
  }
}

function refusalFinding(target: string, error: unknown): Finding {
  const { what, next } = collectorError(target, error);
  return { level: 'error', what, next: next ?? "Check the collector's log" };
}

async function checkSession(
  config: CheckConfig,
  target: SyslogTarget,
  options: ConnectOptions,
): Promise<Finding[]> {
  const started = performance.now();
  const session = await openSession(config, target, options);
  const took = Math.round(performance.now() - started);
  if (config.tls?.cert !== undefined || usesTls(config)) await sleep(AFTER_HANDSHAKE_MS);
  const ended = session.link.ended;
  if (ended !== null) return [refusalFinding(target.text, ended.error)];
  await session.close();
  const software = 'software' in session && typeof session.software === 'string' ? session.software : '';
  const spoken = [config.transport === 'relp' ? 'RELP' : '', session.tls?.protocol ?? ''].filter(
    (word) => word !== '',
  );
  const words = spoken.length === 0 ? '' : ` (${spoken.join(', ')})`;
  const by = software === '' ? '' : `, its software is ${software.replaceAll(',', ' ')}`;
  return [{ level: 'ok', what: `${target.text}: connected in ${took} ms${words}${by}` }];
}

async function checkTls(
  config: CheckConfig,
  target: Extract<SyslogTarget, { kind: 'host' }>,
  options: ConnectOptions,
  now: number,
): Promise<Finding[]> {
  const tls = config.tls ?? { min_version: '1.2' as const };
  const raw = await connectSocket(target, target.text, options);
  const { socket, certificate, refused } = await startTls(raw, tls, target.host, target.text, options);
  socket.on('error', () => undefined);
  socket.destroy();
  if (refused !== null) return [refusalFinding(target.text, refused), shownFinding(target.text, certificate)];
  return [
    validityFinding(`${target.text}: the certificate of the collector`, certificate, now, checksChain(tls)),
  ];
}

async function checkUdp(
  config: CheckConfig,
  to: Extract<SyslogTarget, { kind: 'host' }>,
): Promise<Finding[]> {
  const target = to.text;
  const addresses = await resolveHost(to);
  const which =
    addresses.length === 1
      ? `its address is ${addresses[0]}`
      : `its addresses are ${addresses.join(', ')}, tried in this order`;
  const findings: Finding[] = [
    {
      level: 'ok',
      what: `${target}: ${which}. UDP does not tell whether anybody listens there; use relp or tls for events that must not be lost`,
    },
  ];
  if (config.max_message_size > 1_472) {
    findings.push({
      level: 'warning',
      what: `${target}: datagrams of up to ${config.max_message_size} bytes are fragmented on the way, and lost if a firewall drops fragments`,
      next: 'Set max_message_size to 1400B, or use a transport over TCP',
    });
  }
  return findings;
}

function checkDatagramSocket(path: string): Finding[] {
  openDatagramSocket().close();
  if (!existsSync(path)) {
    return [
      {
        level: 'error',
        what: `${path}: the socket does not exist`,
        next: 'Start the receiver, or correct the path in targets',
      },
    ];
  }
  if (!statSync(path).isSocket()) {
    return [{ level: 'error', what: `${path} is not a socket`, next: 'Correct the path in targets' }];
  }
  return [
    {
      level: 'ok',
      what: `${path}: the socket exists; the first event shows whether it accepts datagrams`,
    },
  ];
}
