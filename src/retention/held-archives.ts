import { TimeZone } from '../audit/time-zone.js';
import { CreatedReader } from '../source/created-at.js';
import type { SqlValue } from '../source/event-id.js';
import { textOf } from '../source/row-to-event.js';
import { COLUMN_KEYS, type ColumnKey, lower, type TableConfig } from '../source/table-schema.js';
import { contentsOf } from './archive/archive-files.js';
import { offsetsOf } from './archive/compressed-blocks.js';
import { checkNamed, type KnownRecord } from './archive/legal-hold-records.js';
import type { Manifest } from './archive/manifest.js';
import { readManifest } from './archive/manifest-chain.js';
import { blockLines } from './archive/read.js';
import { type ArchivedRow, type ArchivedValue, LineCodec, TextBytes } from './archive/row-codec.js';
import { type LegalHolds, type LegalRow, readLegalHolds } from './legal-holds.js';

type Archive = Omit<Manifest, 'sha256'>;

/** Finds the archives of a directory that have held rows. */
export class HeldArchives {
  /** @param recorded records of holds that must exist @param targets whose rows are in them */
  constructor(
    private readonly directory: string,
    private readonly recorded: readonly KnownRecord[],
    private readonly targets: ReadonlyArray<{ readonly source: string; readonly table: TableConfig }>,
  ) {}

  /** The legal holds as they are now. @throws AuditdError `ARCHIVE_BROKEN`, `ARCHIVE_FAILED`: then nothing is deleted */
  readHolds(): LegalHolds {
    return readLegalHolds(this.directory, this.recorded);
  }

  /** Whether no archive up to this one has a held row. @throws as `now` */
  isFree(upTo: number): boolean {
    const { directory } = this;
    const holds = this.readHolds();
    const { manifests, files } = contentsOf(directory);
    const read = (name: string) => readManifest(directory, name).manifest;
    const newest = [...manifests.values()].at(-1);
    if (newest !== undefined) checkNamed(directory, holds.links, read(newest));
    const there = [...manifests].filter(([sequence]) => sequence <= upTo).map(([, name]) => read(name));
    return there.every((manifest) => !files.has(manifest.file) || !this.isHeld(manifest, holds));
  }

  /** The archives before the first one with a held row. */
  beforeHeld<T extends Archive>(archives: readonly T[], holds: LegalHolds): readonly T[] {
    const held = archives.findIndex((archive) => this.isHeld(archive, holds));
    return held < 0 ? archives : archives.slice(0, held);
  }

  /** An archive of an unknown table counts as held. */
  private isHeld(archive: Archive, holds: LegalHolds): boolean {
    const target = this.targets.find(({ source }) => source === archive.source);
    return (
      holds.hasAny && (target === undefined || isArchiveHeld(this.directory, archive, holds, target.table))
    );
  }
}

/**
 * Whether an archive has a held row. Skips blocks outside the time span of every hold.
 *
 * @param table the table as its rows are read now
 * @throws AuditdError `ARCHIVE_BROKEN`, `ARCHIVE_FAILED`
 */
function isArchiveHeld(directory: string, archive: Archive, holds: LegalHolds, table: TableConfig): boolean {
  const reader = new HeldReader(archive, table);
  const isSameZone = (archive.time_zone ?? null) === (TimeZone.of(table.time_zone)?.name ?? null);
  const offsets = offsetsOf(archive.blocks);
  const manifest = { ...archive, sha256: '' };
  for (const [at, [, , , , , first, last]] of archive.blocks.entries()) {
    // Monthly archives contain no rows without a time.
    const hasTimes = archive.month !== 'undated' && isSameZone && first !== null && last !== null;
    if (hasTimes && !holds.mayCover(first, last)) continue;
    const lines = blockLines(directory, manifest, at, offsets[at] ?? 0);
    if (lines.some((line) => reader.rowsOf(line).some((row) => holds.covers(row)))) return true;
  }
  return false;
}

/** Rows of an archive as holds see them. */
class HeldReader {
  private readonly codec: LineCodec;
  private readonly created: CreatedReader;
  /** Column names in the archive, by today's column key. */
  private readonly names: ReadonlyMap<ColumnKey, string>;
  private readonly mapped: ReadonlySet<ColumnKey>;

  constructor({ columns }: Pick<Manifest, 'columns'>, config: TableConfig) {
    const all = columns.map(({ name }) => name);
    this.codec = new LineCodec(all);
    this.created = new CreatedReader(config.time_zone);
    const found = COLUMN_KEYS.map((key) => {
      const wanted = config.columns[key];
      return [key, wanted === null ? undefined : all.find((name) => lower(name) === lower(wanted))] as const;
    });
    this.names = new Map(found.flatMap(([key, name]) => (name === undefined ? [] : [[key, name]])));
    this.mapped = new Set(COLUMN_KEYS.filter((key) => config.columns[key] !== null));
  }

  /** Uses both the time parsed at archiving and the time parsed now. */
  rowsOf(line: string): LegalRow[] {
    const row = this.codec.decode(line);
    const rest = {
      users: this.valuesOf(row, ['user_id', 'user_name', 'user_email']),
      resourceTypes: this.valuesOf(row, ['resource_type']),
      resourceIds: this.valuesOf(row, ['resource_id']),
    };
    const now = this.timeOf(row);
    return now === row.time ? [{ time: now, ...rest }] : [now, row.time].map((time) => ({ time, ...rest }));
  }

  /** The values of the columns. A column that is renamed or missing in the archive may have the value of any other. */
  private valuesOf({ columns }: ArchivedRow, keys: readonly ColumnKey[]): Array<string | null> {
    const isUnknown = keys.some((key) => this.mapped.has(key) && !this.names.has(key));
    const names = isUnknown ? Object.keys(columns) : keys.map((key) => this.names.get(key) ?? '');
    return names.map((name) => textOf(sqlValue(columns[name] ?? null)));
  }

  private timeOf({ columns }: ArchivedRow): number | null {
    const value = sqlValue(columns[this.names.get('created_at') ?? ''] ?? null);
    return this.created.read(Buffer.isBuffer(value) ? value.toString() : value);
  }
}

function sqlValue(value: ArchivedValue): SqlValue {
  if (value instanceof TextBytes) return Buffer.from(value.bytes).toString();
  return value instanceof Uint8Array ? Buffer.from(value) : value;
}
