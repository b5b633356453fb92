import { createHash } from 'node:crypto';
import { type Manifest, textOfManifest } from './manifest.js';
import type { ChainHead } from './manifest-chain.js';

/** An archive in the list `archives` in the details of its run's audit event. */
export interface ArchiveRecord {
  readonly sequence: number;
  readonly file: string;
  readonly count: number;
  readonly manifest_sha256: string;
}

/** What a run records of an archive, to reveal archives cut off from the end of the chain. */
export function archiveRecordOf(manifest: Manifest): ArchiveRecord {
  const { sequence, file, count } = manifest;
  const manifest_sha256 = createHash('sha256').update(textOfManifest(manifest)).digest('hex');
  return { sequence, file, count, manifest_sha256 };
}

/** The archives named by audit events. @param details JSON of each; invalid ones and those without archives are skipped */
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
