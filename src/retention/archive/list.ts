import { manifestsIn } from './anchor.js';
import type { Manifest } from './manifest.js';
import { readManifest } from './manifest-chain.js';

/**
 * The manifests of a directory, the oldest first. Does not compare them with their files or neighbours, as `verifyArchives` does.
 *
 * @throws AuditdError `ARCHIVE_BROKEN` if a manifest was changed, `ARCHIVE_FAILED`
 */
export function listArchives(directory: string): Manifest[] {
  return manifestsIn(directory).map(([, name]) => readManifest(directory, name).manifest);
}
