import type { KeyObject } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, realpath } from 'node:fs/promises';
import { basename } from 'node:path';
import type { Command } from 'commander';
import { toSafeJson, visibleLines } from '../../audit/unsafe-characters.js';
import { AuditdError, codeOf, messageOf } from '../../errors.js';
import { groupedDigits } from '../../grouped-digits.js';
import type { ExportContents, IdsOf } from '../../query/export-contents.js';
import type { ExportManifest } from '../../query/export-manifest.js';
import { publicKeyIn } from '../archive/verify.js';
import { formatCount } from '../support/terminal.js';

/** A manifest with as many gaps as it can list is far smaller. */
const LARGEST = 1024 * 1024;

export interface ExportVerdict {
  readonly file: string;
  /** What is wrong; null if nothing is. */
  readonly wrong: string | null;
  readonly signature: 'right' | 'wrong' | 'not checked' | 'none';
  readonly notes: readonly string[];
  readonly manifest: ExportManifest | null;
}

export function registerExportVerify(command: Command): void {
  command
    .command('verify')
    .description('Compare an exported file with its manifest')
    .argument('<file>', 'the file; FILE.manifest.json and FILE.manifest.json.sig stand beside it')
    .option('--key <file>', 'public key (PEM) that must verify the signature of the manifest')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Reads only these files and needs no configuration, so it runs on any host. Without --key it can't detect that somebody changed
the file and the manifest together.

Exit codes: 0 the comparison succeeded, 1 it failed.

Examples:
  $ postern-auditd export verify january.csv --key audit.pub
  $ openssl pkeyutl -verify -pubin -inkey audit.pub -rawin -in january.csv.manifest.json -sigfile january.csv.manifest.json.sig`,
    )
    .action(async (file: string, options: { key?: string; json?: boolean }) => {
      const verdict = await verifyExport(file, options.key === undefined ? null : publicKeyIn(options.key));
      process.stdout.write(
        options.json === true ? `${toSafeJson(verdict, 2)}\n` : renderExportVerdict(verdict),
      );
      if (verdict.wrong !== null) process.exitCode = 1;
    });
}

/** @throws AuditdError `NOT_FOUND`, `USAGE` if a file can't be read */
export async function verifyExport(path: string, key: KeyObject | null): Promise<ExportVerdict> {
  const [{ contentsOfExport, NoExport }, form] = await Promise.all([
    import('../../query/export-contents.js'),
    import('../../query/export-manifest.js'),
  ]);
  const real = await realpath(path).catch(() => path); // export -o LINK names the files beside it like that
  const manifestPath = `${real}${form.MANIFEST}`;
  const signaturePath = `${manifestPath}${form.SIGNATURE}`;
  const bytes = await small(
    manifestPath,
    'Give the file that export --manifest has written, with its manifest beside it',
  );
  const signature = await small(signaturePath, null);
  const manifest = bytes === null ? null : form.parseManifest(bytes);
  const about = (
    wrong: string | null,
    signed: ExportVerdict['signature'],
    notes: readonly string[] = [],
  ) => ({
    file: path,
    wrong,
    signature: signed,
    notes,
    manifest,
  });
  if (bytes === null || manifest === null)
    return about(`${manifestPath} is not an export manifest, or is from a later version`, 'not checked');
  const signedWith = manifest.signed_with;
  const unsigned = signedWith === null && signature === null ? 'none' : 'not checked';
  const bad = key === null ? null : form.wrongSignature({ bytes, signature, signedWith }, key);
  if (bad !== null) return about(`${manifestPath}: ${bad}`, unsigned === 'none' ? 'none' : 'wrong');
  if ((signedWith === null) !== (signature === null))
    return about(
      signature === null
        ? `${signaturePath} is missing: the manifest says that it is signed with the key ${signedWith}`
        : `${signaturePath} is not of this manifest, which says that it is not signed`,
      'wrong',
    );
  const notes = notesOn(manifest, basename(real), key !== null);
  const signed = key === null ? unsigned : 'right';
  const file = await opened(path);
  let found: ExportContents;
  try {
    found = await contentsOfExport(file, manifest.format);
  } catch (error) {
    if (error instanceof NoExport) return about(`${path}: ${error.message}: it was changed`, signed, notes);
    throw cantRead(path, error);
  } finally {
    await file.close();
  }
  const wrong = form.difference(manifest, found);
  return about(wrong === null ? null : `${path}: ${wrong}`, signed, notes);
}

/** Remarks on a file that is as the manifest says. */
function notesOn(manifest: ExportManifest, name: string, isVerified: boolean): string[] {
  const { signed_with: signedWith, file, incomplete } = manifest;
  const notes: string[] = [];
  if (!isVerified)
    notes.push(
      signedWith === null
        ? 'it is not signed: anyone who can change the file can change its manifest, too'
        : `the signature (key ${signedWith}) was not checked: give the public key with --key`,
    );
  if (name !== file) notes.push(`it was called ${file} when it was made`);
  if (incomplete) notes.push('it is incomplete: its last line says what is left out');
  return notes;
}

/** The verdict as text. */
function renderExportVerdict({ file, wrong, signature, notes, manifest }: ExportVerdict): string {
  const lines = notes.map((note) => `note: ${note}`);
  if (wrong !== null || manifest === null) {
    lines.push(`WRONG: ${wrong}. Copy the file and its manifest again from the host that exported them`);
    return visibleLines(`${lines.join('\n')}\n`);
  }
  const signed = signature === 'right' ? `, signed with the key ${manifest.signed_with}` : '';
  lines.push(
    `${file}: ${formatCount(manifest.entries, 'entry', 'entries')} of ${manifest.server}, ${manifest.created}${signed}`,
  );
  const filter = Object.entries(manifest.filter).filter(([, value]) => typeof value === 'string');
  if (filter.length > 0) lines.push(`filter: ${filter.map(([key, value]) => `${key}=${value}`).join(' ')}`);
  for (const source of ['postern', 'auditd'] as const) {
    const ids = manifest.ids[source] as IdsOf | undefined;
    if (ids !== undefined) lines.push(`${source}: ${renderIds(ids)}`);
  }
  lines.push('nothing is wrong');
  return visibleLines(`${lines.join('\n')}\n`);
}

const SHOWN = 10;

function renderIds({ entries, first, last, repeated, missing, gaps }: Nullable): string {
  const ids = `${formatCount(entries, 'entry', 'entries')}, ids ${first} to ${last}`;
  const twice = repeated === 0 ? '' : `, ${repeated} with the id of another entry`;
  if (missing === null || gaps === null) return `${ids}${twice}; a filter was given, so gaps are unknown`;
  if (missing === 0) return `${ids}${twice}, none missing in between`;
  const shown = gaps.slice(0, SHOWN).map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`));
  return `${ids}${twice}, ${groupedDigits(missing)} missing in between: ${shown.join(', ')}${gaps.length > SHOWN ? ', …' : ''}`;
}

type Nullable = Pick<IdsOf, 'entries' | 'first' | 'last' | 'repeated'> & {
  readonly missing: number | null;
  readonly gaps: IdsOf['gaps'] | null;
};

/** @param next what to do when it does not exist; null: the result is null then */
async function small(path: string, next: string | null): Promise<Buffer | null> {
  let file: FileHandle;
  try {
    file = await opened(path, next ?? undefined);
  } catch (error) {
    if (next === null && error instanceof AuditdError && error.code === 'NOT_FOUND') return null;
    throw error;
  }
  try {
    const bytes = Buffer.alloc(LARGEST + 1);
    const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
    return bytes.subarray(0, bytesRead);
  } catch (error) {
    throw cantRead(path, error);
  } finally {
    await file.close();
  }
}

/** Opens it without waiting for the writer of a pipe. */
async function opened(
  path: string,
  next = 'Give the file that export --manifest has written',
): Promise<FileHandle> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') throw new AuditdError('NOT_FOUND', `${path} does not exist`, { next });
    throw cantRead(path, error);
  }
  if ((await file.stat()).isFile()) return file;
  await file.close();
  throw new AuditdError('USAGE', `${path} is not a regular file`, { next });
}

function cantRead(path: string, error: unknown): AuditdError {
  return new AuditdError('NOT_FOUND', `${path} can't be read: ${messageOf(error)}`, {
    next: 'Make it readable for this user',
    cause: error,
  });
}
