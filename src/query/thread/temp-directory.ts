import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Where copies may be made, by a name that nobody else can have taken before; the directory itself is made when it is needed. */
export function privateDirectory(): string {
  return join(tmpdir(), `postern-query-${randomBytes(12).toString('hex')}`);
}
