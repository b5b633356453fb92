import { createServer, type Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { loadConfig } from '../../config/load.js';
import { AuditdError, messageOf } from '../../errors.js';
import { atInstance } from '../../instance.js';
import { checkNamed } from '../archive/legal-hold-records.js';
import { toErrorParts } from '../error-parts.js';
import { LegalWatch, readLegalHolds } from '../legal-holds.js';
import { Deleter } from './deleter.js';
import { MAX_MESSAGE, type PurgeReply, parseRequest } from './protocol.js';
import { ArchiveReader, unreadableArchive } from './read-archive.js';
import { readStreamLines } from './read-lines.js';

/** The first descriptor that systemd passes on (sd_listen_fds(3)). */
const FIRST_FD = 3;
/** The process exits after this time without a client; systemd starts it for the next one. */
const IDLE_MS = 10_000;

export interface PurgeServerOptions {
  /** As for the other commands; null: the default locations. */
  readonly configPath: string | null;
  readonly env: NodeJS.ProcessEnv;
}

/**
 * Serves one client's requests in order. This process reads the database, the deletable rows and the archive directory from the
 * configuration itself: a client can only name an archive.
 */
export async function servePurge(
  input: Readable,
  output: Writable,
  { configPath, env }: PurgeServerOptions,
): Promise<void> {
  let archives: ArchiveReader | null = null;
  const answer = (said: PurgeReply) => output.write(`${JSON.stringify(said)}\n`);
  try {
    const { config, path } = loadConfig(configPath, env);
    if (!config.retention.enabled) {
      const next = 'Set retention.enabled to true there';
      throw new AuditdError('PURGE_FAILED', `Retention is off in ${path ?? 'the defaults'}`, { next });
    }
    const { directory } = config.retention.archive;
    archives = new ArchiveReader({ directory, source: 'postern', table: config.source });
    const deleter = new Deleter({ config, clock: Date.now });
    for await (const line of readStreamLines(input, MAX_MESSAGE)) {
      const request = parseRequest(line);
      if ('end' in request) answer({ space: await deleter.shrink() });
      else if ('probe' in request) {
        archives.check();
        readLegalHolds(directory, request.holds, unreadableArchive);
        answer({ purged: await deleter.probe(request.file ?? null) });
      } else {
        const { archived: piece, holds, file = null } = request;
        const rows = archives.read(piece);
        const legal = new LegalWatch(directory, holds, unreadableArchive);
        checkNamed(directory, legal.current.links, archives.manifestOf(piece));
        answer({ purged: await deleter.delete(rows, { below: piece.below, file, legal }) });
      }
    }
  } catch (error) {
    answer({ error: messageOf(error), ...toErrorParts(error) });
  } finally {
    archives?.close();
  }
}

/** Serves the socket passed by systemd. @throws AuditdError `USAGE` if there is none */
export function serveActivated(options: PurgeServerOptions): Promise<void> {
  if (options.env.LISTEN_FDS !== '1' || options.env.LISTEN_PID !== String(process.pid)) {
    throw new AuditdError('USAGE', 'systemd starts the purge when the daemon needs it', {
      next: `Start its socket instead: systemctl start postern-auditd-purge${atInstance()}.socket`,
    });
  }
  return new Promise((resolve, reject) => {
    const clients = new Set<Socket>();
    const server = createServer((socket) => {
      clearTimeout(idle);
      clients.add(socket);
      socket.on('error', () => undefined); // a client that died
      void servePurge(socket, socket, options).finally(() => {
        socket.end();
        clients.delete(socket);
        if (clients.size === 0) idle = setTimeout(stop, IDLE_MS);
      });
    });
    const stop = () => server.close(() => resolve());
    let idle = setTimeout(stop, IDLE_MS);
    server.once('error', reject);
    server.listen({ fd: FIRST_FD });
  });
}
