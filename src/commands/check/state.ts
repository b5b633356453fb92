import { accessSync, constants, existsSync, statfsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Config } from '../../config/schema.js';
import { AuditdError, messageOf } from '../../errors.js';
import { front } from '../../front.js';
import { allowWriting, reinstall } from '../../next-steps.js';
import { asOwner } from '../../shipping/as-owner.js';
import { STATE_VERSION } from '../../shipping/state.js';
import { stateVersionIn } from '../../shipping/state-version.js';
import type { Finding } from '../../sinks/sink.js';
import { partsOfError } from './report.js';

/** Below this state.db, its WAL and its copies before migrations may not fit. */
const LEAST_FREE = 100 * 2 ** 20;

/** The directory of state.db: it exists or can be created, has a known version and enough free space. */
export function inspectState({ state }: Config): Finding[] {
  if (!existsSync(state)) {
    const at = existing(dirname(state));
    if (mayWrite(at)) return [{ level: 'ok', what: `${state} will be created in ${at}` }];
    return [
      {
        level: 'error',
        what: `${state} does not exist, and this user can't create it in ${at}`,
        next: `${front() === 'container' ? allowWriting(at) : reinstall()}, or set state to another directory`,
        access: true,
      },
    ];
  }
  return [directory(state), ...asOwner(state, () => database(state)), ...room(state)];
}

function directory(state: string): Finding {
  if (mayWrite(state)) return { level: 'ok', what: `${state} is writable` };
  const what = `${state} is not writable for this user (uid ${process.getuid?.() ?? '?'})`;
  return {
    level: 'warning',
    what,
    access: true,
    next: 'change its owner, unless the daemon runs as another user',
  };
}

function database(state: string): Finding[] {
  const path = join(state, 'state.db');
  if (!existsSync(path)) return [{ level: 'ok', what: `${path} will be created at the first start` }];
  try {
    return [{ level: 'ok', what: `${path}, version ${stateVersionIn(state, STATE_VERSION, 1_000)}` }];
  } catch (error) {
    if (error instanceof AuditdError) return [{ level: 'error', ...partsOfError(error) }];
    const next = 'run this as root, or as the user of the daemon';
    return [{ level: 'warning', what: `${path} can't be read: ${messageOf(error)}`, next, access: true }];
  }
}

function room(state: string): Finding[] {
  const { bavail, bsize } = statfsSync(state);
  const free = bavail * bsize;
  if (free >= LEAST_FREE) return [];
  const what = `${Math.floor(free / 2 ** 20)} MB free on the disk of ${state}`;
  return [{ level: 'warning', what, next: "free disk space: positions can't be saved on a full disk" }];
}

function existing(path: string): string {
  return existsSync(path) || dirname(path) === path ? path : existing(dirname(path));
}

function mayWrite(path: string): boolean {
  try {
    accessSync(path, constants.W_OK | constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
