import { spawn } from 'node:child_process';
import { connect } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { AuditdError, codeOf, messageOf } from '../../errors.js';
import { programFile } from '../../installation.js';
import { atInstance } from '../../instance.js';
import { reinstall, sentence, setUpAgain } from '../../next-steps.js';
import type { KnownRecord } from '../archive/legal-hold-records.js';
import { fromErrorParts } from '../error-parts.js';
import type { FileIdentity } from '../file-identity.js';
import type { FreedSpace, Piece, Purged, PurgeReply, PurgeRequest } from './protocol.js';
import { readStreamLines } from './read-lines.js';

/** Set by the daemon's unit: the socket of the purge unit. Without it the purge is a child process. */
export const PURGE_SOCKET = 'POSTERN_AUDITD_PURGE';

/** The longest answer lists the rows of a block that stay. */
const LONGEST_ANSWER = 64 * 1024 * 1024;

/** Deletes rows through the process that is allowed to write the database. */
export interface Purger {
  /** Checks that rows can be deleted at all; deletes none. @throws AuditdError `PURGE_FAILED` with the purge's message */
  probe(holds: readonly KnownRecord[]): Promise<void>;
  /** @param holds records of legal holds that must exist @throws as `probe` */
  purge(piece: Piece, holds: readonly KnownRecord[]): Promise<Purged>;
  /** Called after the last rows. */
  shrink(): Promise<FreedSpace>;
  close(): void;
}

export interface PurgerOptions {
  readonly configPath: string | null;
  readonly env: NodeJS.ProcessEnv;
  /** Rows are deleted only from this database; null: from the configured one. */
  readonly file?: FileIdentity | null;
  /** The compiled process.js, if not next to this file. */
  readonly child?: URL;
}

/** @throws AuditdError `PURGE_FAILED` if nobody listens */
export async function openPurger(options: PurgerOptions): Promise<Purger> {
  const socket = options.env[PURGE_SOCKET] ?? '';
  return socket === '' ? startChild(options) : connected(socket, options.file ?? null);
}

function connected(path: string, file: FileIdentity | null): Promise<Purger> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('error', (error) => {
      const next = `${sentence(setUpAgain())}, then: systemctl status postern-auditd-purge${atInstance()}.socket`;
      reject(failed(`The purge does not answer on ${path} (${codeOf(error) ?? error.message})`, next, error));
    });
    socket.once('connect', () => resolve(purger(socket, socket, file, () => socket.destroy())));
  });
}

function startChild({ configPath, env, file = null, child }: PurgerOptions): Purger {
  const program = fileURLToPath(child ?? programFile('retention/purge/process.js'));
  const started = spawn(process.execPath, [program, configPath ?? ''], {
    env,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  started.on('error', () => undefined); // reported by the end of the streams
  return purger(started.stdout, started.stdin, file, () => started.stdin.end());
}

function purger(input: Readable, output: Writable, file: FileIdentity | null, close: () => void): Purger {
  let trouble: unknown = null;
  for (const stream of new Set([input, output])) {
    stream.on('error', (error: unknown) => {
      trouble ??= error;
    });
  }
  const lines = readStreamLines(input, LONGEST_ANSWER);
  const only = file === null ? {} : { file };
  const ask = async (request: PurgeRequest): Promise<PurgeReply> => {
    output.write(`${JSON.stringify(request)}\n`);
    let answer: PurgeReply | null = null;
    try {
      const step = await lines.next();
      if (step.done !== true) answer = JSON.parse(step.value) as PurgeReply;
    } catch (error) {
      trouble ??= error;
    }
    if (answer === null) {
      const why = trouble === null ? '' : ` (${messageOf(trouble)})`;
      const next = `Look for its error: journalctl -u postern-auditd-purge${atInstance()}`;
      throw failed(`The purge ended without an answer${why}`, next, trouble);
    }
    if ('error' in answer) throw refused(answer);
    return answer;
  };
  return {
    async probe(holds) {
      const answer = await ask({ probe: true, holds, ...only });
      if (!('purged' in answer)) throw outOfTurn();
    },
    async purge(archived, holds) {
      const answer = await ask({ archived, holds, ...only });
      if ('purged' in answer) return answer.purged;
      throw outOfTurn();
    },
    async shrink() {
      const answer = await ask({ end: true });
      if ('space' in answer) return answer.space;
      throw outOfTurn();
    },
    close,
  };
}

function failed(what: string, next: string | null, cause: unknown): AuditdError {
  return new AuditdError('PURGE_FAILED', what, { next, cause });
}

/** A purge of an earlier version sends only the text. */
function refused({
  error,
  code = null,
  what = error,
  next = null,
}: Extract<PurgeReply, { error: string }>): AuditdError {
  return failed(`The purge refuses: ${what}`, next, fromErrorParts({ code, what, next }));
}

function outOfTurn(): AuditdError {
  const next = `${sentence(reinstall())}, so that both are of one version`;
  return failed('The purge answered a different request', next, null);
}
