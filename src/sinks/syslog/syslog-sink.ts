import { randomUUID } from 'node:crypto';
import { parseTarget, type SyslogSinkConfig, type SyslogTarget } from '../../config/syslog.js';
import { AuditdError } from '../../errors.js';
import { lastMessage } from '../../formats/format-fallback.js';
import { createFormatter, type Formatter, type SyslogFormatOptions } from '../../formats/syslog-message.js';
import { FormatFailures } from '../format-failures.js';
import type { Encoder } from '../messages.js';
import type { DeliveryClass, MessageSink, SinkDeps } from '../sink.js';
import { checkTargets } from './check.js';
import { ConnectedSink } from './connected-sink.js';
import { DatagramSink } from './datagram-sink.js';
import { FailoverTargets } from './failover.js';
import { openSession } from './open-session.js';
import { createUdp } from './udp.js';
import { openUnixDatagrams } from './unix.js';

/** UDP has no flow control: what is sent faster than the collector's socket is read is lost there without a word. */
const UDP_BURST = 32;
const UDP_PAUSE_MS = 2;
const UNIX_BURST = 256;

/** The promise of a transport. */
function syslogDeliveryClass(transport: SyslogSinkConfig['transport']): DeliveryClass {
  switch (transport) {
    case 'relp':
      return 'at least once, acknowledged';
    case 'tcp':
    case 'tls':
    case 'unix-stream':
      return 'at least once within a window';
    case 'udp':
    case 'unix':
      return 'best effort';
  }
}

/**
 * The sink that sends events to a syslog collector.
 *
 * @param formatter formats an event; omitted: as configured
 * @throws AuditdError `CONFIG_INVALID` where no message can be made as configured
 */
export function createSyslogSink(
  config: SyslogSinkConfig,
  deps: SinkDeps,
  formatter?: Formatter,
): MessageSink {
  const { log, clock } = deps;
  const unformatted = new FormatFailures(log, config.format);
  const encoder = encoderOf(config, formatter);
  const targets = config.targets.map((text) => targetOf(text));
  const timeoutMs = config.connect_timeout;
  const check = () => checkTargets(config, targets, clock());
  if (config.transport === 'udp' || config.transport === 'unix') {
    const udp = config.transport === 'udp';
    const openUdp = createUdp();
    return new DatagramSink({
      targets: new FailoverTargets(targets, timeoutMs, async (to, { signal }) =>
        to.kind === 'path' ? openUnixDatagrams(to.path) : openUdp(to, signal),
      ),
      burst: udp ? UDP_BURST : UNIX_BURST,
      pauseMs: udp ? UDP_PAUSE_MS : 0,
      encoder,
      unformatted,
      check,
      log,
    });
  }
  return new ConnectedSink({
    deliveryClass: syslogDeliveryClass(config.transport),
    targets: new FailoverTargets(targets, timeoutMs, (to, options) => openSession(config, to, options)),
    encoder,
    unformatted,
    window: config.transport === 'relp' ? null : config.replay_window,
    check,
    log,
  });
}

function encoderOf(config: SyslogSinkConfig, formatter?: Formatter): Encoder {
  const options: SyslogFormatOptions = {
    format: config.format,
    envelope: config.envelope,
    facility: config.facility,
    appName: config.app_name,
    procId: String(process.pid),
    structuredDataId: config.structured_data.id,
    bom: config.bom,
    maxMessageSize: config.max_message_size,
  };
  const key = formatter === undefined ? JSON.stringify(options) : `given ${randomUUID()}`;
  return { key: `syslog ${key}`, format: formatter ?? createFormatter(options), last: lastMessage, end: '' };
}

function targetOf(text: string): SyslogTarget {
  const target = parseTarget(text);
  if (target !== null) return target;
  throw new AuditdError(
    'CONFIG_INVALID',
    `target ${JSON.stringify(text)} is neither host:port nor the path of a unix socket`,
    { next: 'Write host:port, such as siem.example.net:6514, or an absolute path' },
  );
}
