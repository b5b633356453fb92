import { existsSync } from 'node:fs';
import { createConnection } from 'node:net';
import { AuditdError, codeOf, messageOf } from '../errors.js';
import { instance } from '../instance.js';
import { setUpAgain } from '../next-steps.js';
import {
  type Ban,
  bansOn,
  fail2banReport,
  type JailReport,
  parseBans,
  parseStatus,
  refusal,
  requireAddress,
  unban,
} from './client.js';

/** Where systemd listens for the helper of this daemon's jail (postern-auditd-fail2ban.socket). */
export function helperSocket(): string {
  return `/run/${helperUnit()}.sock`;
}

/** The socket's unit, without `.socket`. An instance has one of its own: a template could not tell the service which jail it is. */
export function helperUnit(): string {
  const name = instance();
  return name === null ? 'postern-auditd-fail2ban' : `postern-auditd-fail2ban-${name}`;
}

/** It starts fail2ban-client twice, each within 10 s. */
const TIMEOUT_MS = 25_000;
/** Limit of an answer in bytes: 100,000 bans with their times are 7 MB. */
const LONGEST = 16 * 2 ** 20;

/** A jail of fail2ban, for users who can't run fail2ban-client themselves. */
export interface Jail {
  /** @throws AuditdError FAIL2BAN_FAILED */
  report(): Promise<JailReport>;
  /**
   * Lifts the bans on an address or network, or on the networks that the address is in.
   *
   * @param about called with each ban before it is lifted, as fail2ban will report it
   * @returns what was unbanned; empty if there was no such ban
   * @throws AuditdError USAGE if `address` is neither; FAIL2BAN_FAILED
   */
  unban(address: string, about?: (ban: string) => void): Promise<string[]>;
}

/** Uses the helper if its socket exists, else fail2ban-client, which answers only root. */
export function createJail(name: string, socket: string = helperSocket()): Jail {
  const helper = () => existsSync(socket);
  return {
    report: async () => {
      if (helper()) return helperReport(name, socket);
      return fail2banReport(name);
    },
    unban: async (address, about) =>
      helper() ? helperUnban(name, address, socket, about) : unban(name, address, undefined, about),
  };
}

/** The bans of a jail as the API lists and lifts them. */
export interface JailBans {
  /** @throws AuditdError `FAIL2BAN_FAILED` */
  list(): Promise<readonly Ban[]>;
  /**
   * @param by who requested it, for the record
   * @returns what was lifted: this ban, or the ban on the network of the address
   * @throws AuditdError `NOT_FOUND` if there is no such ban, `USAGE` if it is not an address, `FAIL2BAN_FAILED`
   */
  unban(address: string, by: string): Promise<string[]>;
}

/** @param onUnban called with each ban before it is lifted, and with who requested it */
export function jailBans(name: string, onUnban: (ban: string, by: string) => void): JailBans {
  const jail = createJail(name);
  return {
    list: async () => (await jail.report()).bans,
    async unban(address, by) {
      const lifted = await jail.unban(address, (ban) => onUnban(ban, by));
      if (lifted.length === 0) throw new AuditdError('NOT_FOUND', `${address} is not banned in jail ${name}`);
      return lifted;
    },
  };
}

async function helperReport(name: string, socket: string): Promise<JailReport> {
  const [status = '', bans = ''] = (await ask(name, 'status', socket)).split('\n--\n');
  return { status: parseStatus(status), bans: parseBans(bans) };
}

async function helperUnban(
  name: string,
  address: string,
  socket: string,
  about?: (ban: string) => void,
): Promise<string[]> {
  requireAddress(address);
  const { status } = await helperReport(name, socket);
  const lifted: string[] = [];
  for (const ban of bansOn(address, status.banned)) {
    about?.(ban);
    await ask(name, `unban ${ban}`, socket);
    lifted.push(ban);
  }
  return lifted;
}

/** The answer without its first line, which is the status. */
async function ask(name: string, request: string, socket: string): Promise<string> {
  const answer = await converse(request, socket);
  const [first = '', ...rest] = answer.split('\n');
  if (first === 'ok') return rest.join('\n');
  const reason = /^error (.*)/.exec(first)?.[1];
  if (reason?.startsWith('fail2ban: ') === true)
    throw refusal(name, `The helper's ${request}`, reason.slice(10));
  throw failed(
    reason === undefined
      ? `it closed the connection without an answer to ${JSON.stringify(request)}`
      : reason,
  );
}

function converse(request: string, socket: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    let length = 0;
    const connection = createConnection({ path: socket, allowHalfOpen: true });
    const end = (error: Error) => {
      connection.destroy();
      reject(error);
    };
    const late = setTimeout(() => end(failed(`no answer within ${TIMEOUT_MS / 1_000} s`)), TIMEOUT_MS);
    connection.on('connect', () => connection.end(request));
    connection.on('data', (part: Buffer) => {
      length += part.length;
      if (length > LONGEST) end(failed('its answer is longer than 16 MiB'));
      else parts.push(part);
    });
    connection.on('end', () => resolve(Buffer.concat(parts).toString()));
    connection.on('error', (error) => end(unreachable(socket, error)));
    connection.on('close', () => {
      clearTimeout(late);
      // After an end or an error this changes nothing.
      reject(failed('it closed the connection'));
    });
  });
}

function unreachable(socket: string, error: Error): AuditdError {
  const code = codeOf(error);
  if (code === 'EACCES' || code === 'EPERM') return failed(`only the daemon may use ${socket}`, error);
  return failed(`${socket}: ${messageOf(error)}`, error);
}

function failed(why: string, cause?: unknown): AuditdError {
  return new AuditdError('FAIL2BAN_FAILED', `The helper for fail2ban failed: ${why}`, {
    next: `See systemctl status ${helperUnit()}.socket; to set it up, ${setUpAgain()}`,
    cause,
  });
}
