import { readAnchor, readManifest } from './chain.js';
import { contentsOf } from './directory.js';
import type { Manifest } from './manifest.js';

/**
 * The manifests of a directory, the oldest first. None is compared with its file or its neighbours: that is `verifyArchives`.
 *
 * @throws AuditdError `ARCHIVE_BROKEN` if a manifest or the anchor was changed, `ARCHIVE_FAILED`
 */
export function listArchives(directory: string): Manifest[] {
  const contents = contentsOf(directory);
  const removed = readAnchor(directory, contents)?.sequence ?? 0;
  return [...contents.manifests]
    .filter(([sequence]) => sequence > removed)
    .map(([, name]) => readManifest(directory, name).manifest);
}
