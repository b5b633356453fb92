import type { KeyObject } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { AuditdError } from '../../errors.js';
import type { FileFormat } from '../../query/export-contents.js';
import type { Filter } from '../../query/filter.js';

export interface ManifestOptions {
  readonly config?: string;
  readonly output?: string;
  readonly manifest?: boolean;
  /** False: unsigned. Undefined: signed as archives are. */
  readonly sign?: string | boolean;
}

/** Files to write beside the export, by their suffix; null: the file with that suffix is removed. */
export type Beside = ReadonlyMap<string, Uint8Array | null>;

/** The request, and how many entries were written. */
interface ExportRequest {
  readonly file: string;
  readonly format: FileFormat;
  readonly filter: Filter;
  readonly at: number;
  readonly rows: number;
}

export type DescribeFile = (file: FileHandle, asked: ExportRequest) => Promise<Beside>;

/**
 * Makes the manifest of a written file by reading it back. Null without `--manifest`.
 *
 * @throws AuditdError `USAGE`, `ARCHIVE_FAILED` where the key can't be used: before anything is exported
 */
export async function describerOf(options: ManifestOptions): Promise<DescribeFile | null> {
  const { manifest, output, sign } = options;
  if (manifest !== true) {
    if (typeof sign === 'string')
      throw new AuditdError('USAGE', '--sign: only a manifest can be signed', {
        next: 'Also give --manifest',
      });
    return null;
  }
  if (output === undefined)
    throw new AuditdError('USAGE', '--manifest: the manifest is written beside a file', {
      next: 'Name the file with -o',
    });
  const [{ loadConfig }, { contentsOfExport }, { manifestFiles, MANIFEST, SIGNATURE }] = await Promise.all([
    import('../../config/load.js'),
    import('../../query/export-contents.js'),
    import('../../query/export-manifest.js'),
  ]);
  const { server, retention } = loadConfig(options.config ?? null, process.env).config;
  const path = sign === false ? null : typeof sign === 'string' ? sign : retention.archive.sign;
  const key = path === null ? null : await keyIn(path);
  return async (file, { rows, ...asked }) => {
    const contents = await contentsOfExport(file, asked.format);
    if (contents.entries !== rows)
      throw new Error(`${rows} entries were written, and ${contents.entries} were read back`);
    const { [MANIFEST]: text, [SIGNATURE]: signature } = manifestFiles({ ...asked, server, contents }, key);
    return new Map([
      [`${MANIFEST}${SIGNATURE}`, signature],
      [MANIFEST, text],
    ]);
  };
}

async function keyIn(path: string): Promise<KeyObject> {
  const { signingKey } = await import('../../retention/archive/signing-key.js');
  return signingKey(
    path,
    'Run this as a user that may read it, name another one with --sign, or leave the signature out with --no-sign',
  );
}
