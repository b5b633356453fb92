import { readManifest } from './chain.js';
import { ANCHOR, contentsOf, readBytes } from './directory.js';
import { type Anchor, type Manifest, unseal } from './manifest.js';

/**
 * The manifests of a directory, the oldest first. None is compared with its file or its neighbours: that is `verifyArchives`.
 *
 * @throws AuditdError `ARCHIVE_BROKEN` if a manifest was changed, `ARCHIVE_FAILED`
 */
export function listArchives(directory: string): Manifest[] {
  const contents = contentsOf(directory);
  const removed = contents.anchor ? unseal<Anchor>(readBytes(directory, ANCHOR), null).sequence : 0;
  return [...contents.manifests]
    .filter(([sequence]) => sequence > removed)
    .map(([, name]) => readManifest(directory, name).manifest);
}
