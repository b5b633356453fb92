import { setImmediate as otherWork } from 'node:timers/promises';
import type { PublicSource } from '../audit/event.js';
import { AccountedRows } from '../shipping/accounted-rows.js';
import { Fingerprints } from '../shipping/fingerprints.js';
import { countOf, type IdRange, rangesOf } from '../shipping/id-ranges.js';
import type { IdSet } from '../shipping/id-set.js';
import { Revisions } from '../shipping/revisions.js';
import { fingerprintOf } from '../source/event-id.js';
import type { Manifest, SinceDelivery } from './archive/manifest.js';
import type { ArchivedRow } from './archive/row-codec.js';
import type { Read } from './database-reader.js';

/** Maximum number of id ranges in a manifest. */
const NAMED = 1_000;
/** The largest gap between two rows that are looked up together: about a batch of fingerprints. */
const NEAR = 4_096;

export interface DeliveredOptions {
  /** state.db */
  readonly read: Read;
  readonly source: PublicSource;
  readonly timeline: number;
  /** Rows that were gone before removals were recorded. They are recorded now and do not count as missing. */
  readonly onBaseline: (gone: readonly IdRange[]) => void;
}

/** Changes between delivery and archiving, as stated in an archive. */
export interface DeliveryChange {
  readonly said: SinceDelivery;
  /** All ranges, of which the manifest names some. */
  readonly missing: readonly IdRange[];
}

/**
 * Compares archived rows with delivered ones, by the fingerprints in state.db: a row that was changed or deleted before it was archived
 * must not pass as genuine.
 *
 * For a row whose edit the daemon saw, the last version counts. A row is missing if it was delivered, is neither in the table nor in an
 * archive, and was not reported missing before. Each belongs to the first archive that reaches its id, so that sums over archives are correct.
 */
export class DeliveredRows {
  /** Ids, ascending. */
  private missing: readonly number[] = [];

  constructor(private readonly options: DeliveredOptions) {}

  /** Called once in a run, before its first archive. @param present the rows in the table */
  async findMissing(present: IdSet): Promise<void> {
    const { read, source, timeline, onBaseline } = this.options;
    const { known, isUnknown } = read((db) => {
      const accounted = new AccountedRows(db);
      return { known: accounted.of(source, timeline), isUnknown: accounted.isUnknown(source) };
    });
    const missing: number[] = [];
    for (let behind: number | null = 0; behind !== null; ) {
      const from: number = behind;
      behind = read((db) =>
        new Fingerprints(db).someIds(source, timeline, from, (id) => {
          if (!present.has(id) && !known.has(id)) missing.push(id);
        }),
      );
      await otherWork();
    }
    if (isUnknown) onBaseline(rangesOf(missing));
    this.missing = isUnknown ? [] : missing;
  }

  startComparison(): Comparison {
    return new Comparison(this.options, (upTo) => {
      const end = this.missing.findIndex((id) => id > upTo);
      const some = end < 0 ? this.missing : this.missing.slice(0, end);
      this.missing = end < 0 ? [] : this.missing.slice(end);
      return some;
    });
  }
}

/** What an existing archive states. */
export function changeIn({ since_delivery: said }: Pick<Manifest, 'since_delivery'>): DeliveryChange | null {
  return said === undefined ? null : { said, missing: said.missing_ids };
}

/** Of one archive. */
class Comparison {
  private compared = 0;
  private last = 0;
  private readonly differ: number[] = [];

  constructor(
    private readonly options: DeliveredOptions,
    private readonly missingUpTo: (id: number) => readonly number[],
  ) {}

  /** @param rows in ascending order, after those of the previous call */
  compare(rows: readonly ArchivedRow[]): void {
    const last = rows.at(-1)?.id;
    if (last === undefined) return;
    const { read, source, timeline } = this.options;
    const prints = new Map<number, string>();
    const wanted = new Set(rows.map(({ id }) => id));
    read((db) => {
      const [delivered, revisions] = [new Fingerprints(db), new Revisions(db)];
      for (const [from, to] of nearbyRanges(rows)) {
        delivered.each(source, timeline, from, to, (id, print) => {
          if (wanted.has(id)) prints.set(id, print);
        });
        const edited = revisions.newestIn({ source, timeline, first: from, last: to });
        for (const [id, print] of edited) if (prints.has(id)) prints.set(id, print);
      }
    });
    for (const { id, eventId } of rows) {
      const print = prints.get(id);
      if (print === undefined) continue;
      this.compared++;
      if (print !== fingerprintOf(eventId)) this.differ.push(id);
    }
    this.last = last;
  }

  /** Called once, after the last row. */
  finish(): DeliveryChange {
    const missing = rangesOf(this.missingUpTo(this.last));
    const said = {
      compared: this.compared,
      differ: this.differ.length,
      missing: countOf(missing),
      differ_ids: rangesOf(this.differ).slice(0, NAMED),
      missing_ids: missing.slice(0, NAMED),
    };
    return { said, missing };
  }
}

/** Rows far apart are looked up separately: rows of a rare category have all others in between. */
function nearbyRanges(rows: readonly ArchivedRow[]): IdRange[] {
  const stretches: Array<[number, number]> = [];
  for (const { id } of rows) {
    const open = stretches.at(-1);
    if (open !== undefined && id - open[1] <= NEAR) open[1] = id;
    else stretches.push([id, id]);
  }
  return stretches;
}
