import { manifestsIn } from './anchor.js';
import type { Manifest } from './manifest.js';
import { readManifest } from './manifest-chain.js';

/**
 * The manifests of a directory, the oldest first. None is compared with its file or its neighbours: that is `verifyArchives`.
 *
 * @throws AuditdError `ARCHIVE_BROKEN` if a manifest was changed, `ARCHIVE_FAILED`
 */
export function listArchives(directory: string): Manifest[] {
  return manifestsIn(directory).map(([, name]) => readManifest(directory, name).manifest);
}
