import { createPublicKey, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { toSafeJson } from '../../audit/unsafe-characters.js';
import { AuditdError, messageOf } from '../../errors.js';
import { groupedDigits } from '../../grouped-digits.js';
import type { Removal } from '../../retention/archive/anchor.js';
import { ANCHOR } from '../../retention/archive/archive-files.js';
import type { KnownRecord } from '../../retention/archive/legal-hold-records.js';
import type { ChainHead } from '../../retention/archive/manifest-chain.js';
import type { ChainVerdict, VerifyOptions } from '../../retention/archive/verify.js';
import { readNote } from '../../shipping/state-queries.js';
import { ProgressBar } from '../support/progress-bar.js';
import { formatCount } from '../support/terminal.js';
import { directoryOf, type PlaceOptions, withPlace } from './select-archives.js';

interface Options extends PlaceOptions {
  readonly key?: string;
  readonly head?: string;
  readonly json?: boolean;
}

export function registerArchiveVerify(archive: Command): void {
  withPlace(
    archive
      .command('verify')
      .description('Verify the whole chain and every row in it, and name the first broken link'),
  )
    .option(
      '--key <file>',
      'public key (PEM) that must verify every signature; default: the key that signs here',
    )
    .option('--head <text>', 'end of the chain that was noted elsewhere, as this command prints it')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
A chain alone can't show that its end was cut off. When state.db is readable, the recorded ends are compared too. The best proof
is --head with the end that this command printed earlier, kept on another host.

Exit codes: 0 the comparison succeeded, 1 it failed.

Examples:
  $ postern-auditd archive verify
  $ postern-auditd archive verify --directory /mnt/backup/archive --key audit.pub --head 42:5e0c…`,
    )
    .action(verify);
}

async function verify(options: Options): Promise<void> {
  const directory = await directoryOf(options);
  const isNamed = options.directory !== undefined;
  const key = options.key === undefined ? null : publicKeyIn(options.key);
  const known = options.head === undefined ? [] : [headOf(options.head)];
  const recorded = isNamed ? NOTHING_RECORDED : await recordedIn(options);
  const { heads, removals, legal, why, missing } = recorded;
  const { sign, why: unsigned } =
    isNamed || key !== null ? { sign: null, why: null } : await signingKeyOf(options);
  const found = await verifyWithProgress(
    directory,
    { key, sign, known: [...known, ...heads], removals, legal },
    options.json === true ? null : process.stderr,
  );
  if (isNamed && found.broken === null && found.head.sequence === 0)
    throw new AuditdError('NOT_FOUND', `${directory} has no archives: nothing was verified`, {
      next: 'Give the directory of the archives, and check that its disk is mounted',
    });
  const notes = [
    ...(why === null ? [] : [`${why}. The ends recorded by the daemon were not compared`]),
    ...(missing === null ? [] : [missing]),
    ...(unsigned === null ? [] : [unsigned]),
    ...(isNamed ? alone(key !== null, known.length > 0) : []),
    ...found.notes,
  ];
  const verdict = { ...found, notes };
  process.stdout.write(
    options.json === true ? `${toSafeJson(verdict, 2)}\n` : renderVerdict(verdict, directory),
  );
  if (verdict.broken !== null || missing !== null) process.exitCode = 1;
}

async function verifyWithProgress(
  directory: string,
  against: Omit<VerifyOptions, 'onProgress'>,
  stream: NodeJS.WriteStream | null,
): Promise<ChainVerdict> {
  const [{ verifyArchives }, { listArchives }] = await Promise.all([
    import('../../retention/archive/verify.js'),
    import('../../retention/archive/list.js'),
  ]);
  const bar = new ProgressBar(stream);
  const total = sizeOf(() => listArchives(directory).reduce((sum, { bytes }) => sum + bytes, 0));
  let done = 0;
  const onProgress = (bytes: number) => {
    done += bytes;
    bar.show(total === 0 ? 1 : done / total, () => `${Math.floor(done / 2 ** 20)} MB`);
  };
  const found = verifyArchives(directory, { ...against, onProgress });
  bar.end();
  return found;
}

/** What a named directory can't prove by itself: anyone who may write there can rebuild the chain. */
function alone(isSigned: boolean, isEnd: boolean): string[] {
  const parts = [
    ...(isSigned ? [] : ['no signature was checked (--key FILE)']),
    ...(isEnd ? [] : ['the end was not compared with one noted elsewhere (--head TEXT)']),
  ];
  return parts.length === 0 ? [] : [parts.join(', and ')];
}

/** The verdict as text. */
function renderVerdict(verdict: ChainVerdict, directory: string): string {
  const { archives, rows, distinct, head, broken, notes } = verdict;
  const lines = notes.map((note) => `note: ${note}`);
  if (broken !== null) {
    const before =
      archives === 0
        ? ''
        : `; the ${formatCount(archives, 'archive')} before it ${archives === 1 ? 'is' : 'are'} valid`;
    const next =
      broken.name === ANCHOR
        ? `Put it back from a backup of ${directory}, or remove it where there was none`
        : `Put it back from a backup of ${directory}`;
    lines.push(`BROKEN: ${broken.name}: ${broken.what}${before}. ${next}`);
  } else if (archives === 0 && head.sequence === 0) lines.push('no archives: nothing was verified');
  else {
    const twice = distinct === rows ? '' : `, ${groupedDigits(distinct)} of them distinct`;
    lines.push(`${formatCount(archives, 'archive')}, ${formatCount(rows, 'row')}${twice}: nothing is wrong`);
    if (head.sha256 !== null) lines.push(`head ${head.sequence}:${head.sha256}`);
  }
  return `${lines.join('\n')}\n`;
}

function headOf(text: string): ChainHead {
  const [, sequence, sha256] = /^(\d{1,12}):([0-9a-f]{64})$/.exec(text) ?? [];
  if (sequence === undefined || sha256 === undefined)
    throw new AuditdError('USAGE', `--head: found ${JSON.stringify(text)}`, {
      next: 'Give it as archive verify prints it: 42:5e0c…',
    });
  return { sequence: Number(sequence), sha256 };
}

/** @throws AuditdError `USAGE` if it is not an ed25519 key */
export function publicKeyIn(path: string): KeyObject {
  try {
    const key = createPublicKey(readFileSync(path));
    if (key.asymmetricKeyType === 'ed25519') return key;
  } catch (error) {
    throw new AuditdError('USAGE', `${path} can't be read as a key: ${messageOf(error)}`, {
      next: 'Give an ed25519 key as PEM',
    });
  }
  throw new AuditdError('USAGE', `${path} is not an ed25519 key`, {
    next: 'Create one with openssl genpkey -algorithm ed25519, and give its public key',
  });
}

/** The key that the configuration names, or why it can't be used. */
async function signingKeyOf(options: PlaceOptions): Promise<{ sign: KeyObject | null; why: string | null }> {
  const [{ loadConfig }, { signingKey }] = await Promise.all([
    import('../../config/load.js'),
    import('../../retention/archive/signing-key.js'),
  ]);
  const { sign } = loadConfig(options.config ?? null, process.env).config.retention.archive;
  if (sign === null) return { sign: null, why: null };
  try {
    return { sign: signingKey(sign), why: null };
  } catch (error) {
    return { sign: null, why: `${messageOf(error)}. No signature was checked` };
  }
}

interface Recorded {
  readonly heads: readonly ChainHead[];
  /** Removed archives; null when the record can't be read. */
  readonly removals: readonly Removal[] | null;
  /** Records of legal holds; null likewise. */
  readonly legal: readonly KnownRecord[] | null;
  /** Why they can't be read. */
  readonly why: string | null;
  /** Says which of the daemon's events were deleted; null if none were. */
  readonly missing: string | null;
}

const NOTHING_RECORDED: Recorded = { heads: [], removals: null, legal: null, why: null, missing: null };

/** What state.db records about archives: the daemon's own events, and the removals. */
async function recordedIn(options: PlaceOptions): Promise<Recorded> {
  const [
    { loadConfig },
    { openStateReader },
    { recordedHeads },
    { REMOVALS, removalsIn },
    { LEGAL_RECORDS, legalRecordsIn },
    { missingOwn },
    { rangesText },
  ] = await Promise.all([
    import('../../config/load.js'),
    import('../support/state-reader.js'),
    import('../../retention/archive/recorded-heads.js'),
    import('../../retention/saved-state.js'),
    import('../../retention/legal-hold-store.js'),
    import('../../shipping/auditd-table-gaps.js'),
    import('../../shipping/id-ranges.js'),
  ]);
  const ledger = openStateReader(loadConfig(options.config ?? null, process.env).config.state);
  if ('why' in ledger) return { ...NOTHING_RECORDED, why: ledger.why };
  try {
    const details = ledger.db
      .prepare(
        "SELECT details FROM audit_log WHERE typeof(details) = 'text' AND instr(details, 'manifest_sha256') > 0",
      )
      .pluck()
      .all() as string[];
    const gone = missingOwn(ledger.db) ?? [];
    const missing =
      gone.length === 0
        ? null
        : `events of the daemon were deleted from state.db, and not by retention: ids ${rangesText(gone)}`;
    const note = readNote(ledger.db, REMOVALS);
    const legal = legalRecordsIn(readNote(ledger.db, LEGAL_RECORDS));
    // Before the first run of this version nothing is recorded, and the anchor is not yet adopted.
    const removals = note === null ? null : removalsIn(note);
    return { heads: recordedHeads(details), removals, legal, why: null, missing };
  } catch (error) {
    return { ...NOTHING_RECORDED, why: `state.db can't be read: ${messageOf(error)}` };
  } finally {
    ledger.close();
  }
}

function sizeOf(work: () => number): number {
  try {
    return work();
  } catch {
    return 0; // the verification reports the cause
  }
}
