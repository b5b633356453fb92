import { createHash } from 'node:crypto';
import { type Manifest, textOfManifest } from './manifest.js';
import type { ChainHead } from './manifest-chain.js';

/** An archive as the audit event of its run names it, in a list called `archives` in its details. */
export interface ArchiveRecord {
  readonly sequence: number;
  readonly file: string;
  readonly count: number;
  readonly manifest_sha256: string;
}

/** What a run records of an archive, so that one that is cut off from the end of the chain is missed. */
export function archiveRecordOf(manifest: Manifest): ArchiveRecord {
  const { sequence, file, count } = manifest;
  const manifest_sha256 = createHash('sha256').update(textOfManifest(manifest)).digest('hex');
  return { sequence, file, count, manifest_sha256 };
}

/** The archives that audit events name. @param details JSON of each; what is none, or names none, is passed over */
export function recordedHeads(details: Iterable<string>): ChainHead[] {
  const heads: ChainHead[] = [];
  for (const text of details) {
    if (!text.includes('manifest_sha256')) continue;
    for (const one of archivesIn(text)) {
      const { sequence, manifest_sha256: sha256 } = one as Partial<ArchiveRecord>;
      if (typeof sequence === 'number' && typeof sha256 === 'string') heads.push({ sequence, sha256 });
    }
  }
  return heads;
}

function archivesIn(text: string): object[] {
  try {
    const { archives } = JSON.parse(text) as { archives?: unknown };
    return Array.isArray(archives) ? archives.filter((one) => typeof one === 'object' && one !== null) : [];
  } catch {
    return [];
  }
}
