import { chmodSync, chownSync, lstatSync, mkdirSync, rmSync } from 'node:fs';
import { connect, type Server } from 'node:net';
import { dirname } from 'node:path';
import { codeOf } from '../errors.js';

/** Listens on a path whose file does not exist. Nobody but this user can open it before its mode is set. */
export function listenOnPath(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const mask = process.umask(0o177);
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
    process.umask(mask); // bind happens inside listen(), before it returns
  });
}

/**
 * Gives the socket its group and mode, the group first: until then nobody else may open it.
 *
 * @param gid null leaves the daemon's own group
 */
export function ownSocket(path: string, mode: number, gid: number | null): void {
  if (gid !== null) chownSync(path, -1, gid);
  chmodSync(path, mode);
}

/**
 * Removes the socket that a dead process left at this path. Creates the directory if it is missing.
 *
 * @throws Error with code EADDRINUSE if somebody listens there, EEXIST if the file is not a socket
 */
export async function clearSocketPath(path: string): Promise<void> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) throw Object.assign(new Error(`${path} is not a socket`), { code: 'EEXIST' });
  if (await isListening(path))
    throw Object.assign(new Error(`another program listens on ${path}`), { code: 'EADDRINUSE' });
  rmSync(path, { force: true });
}

function isListening(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    // With a full backlog (EAGAIN), or as the socket of another user (EACCES), it is in use.
    socket.once('error', (error) => resolve(!['ECONNREFUSED', 'ENOENT'].includes(codeOf(error) ?? '')));
  });
}
