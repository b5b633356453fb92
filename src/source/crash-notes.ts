import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { uptime } from 'node:os';
import { join } from 'node:path';
import type { AuditEvent, SourceName } from '../audit/event.js';
import type { NotedRow, NotedRows, RowGuard } from './quarantine.js';

/** Noted crashes at one row after which it is quarantined. */
const MOST_DEATHS = 2;
/** Rows that are noted one by one after a crash: more than any reader works on at once. */
const CAREFUL_ROWS = 100_000;
/** Notes have a fixed length, so that a shorter one overwrites a longer one completely. */
const LENGTH = 512;
/** How many of the last tried rows are kept. */
const TRIED = 256;
/** Maximum age of the uptime in a note. */
const AGE_MS = 1_000;
/** Tolerance for clock adjustments; a reboot differs by more. */
const SAME_BOOT_MS = 30_000;

interface Suspect extends NotedRow {
  readonly deaths: number;
}

/** The process crashed once at one of these. */
type Suspects = Suspect | NotedRows;

interface Note {
  readonly state: 'running' | 'stopped';
  /** When the machine was started, and how long ago: a note of another boot proves no crash at a row. */
  readonly boot: number;
  readonly up: number;
  readonly row: NotedRow | null;
  readonly rows: NotedRows | null;
  readonly suspect: Suspects | null;
}

export interface RowNotesOptions {
  /** Directory of state.db. */
  readonly directory: string;
  /** The quarantined rows, as JSON text; null if there are none. */
  readonly load: () => string | null;
  readonly save: (quarantined: string) => void;
  /** Formats an event, as sinks will. */
  readonly rehearse: (event: AuditEvent) => void;
}

/**
 * Finds the row that crashes the process, by a note in a file of the state directory.
 *
 * Before a row is worked on (its event made, its details masked, its lines formatted once), the note names it; after the work the note
 * is empty again. So after a crash it names the row that was being processed, or none. A row that was named after two crashes, without a
 * success in between, is quarantined. A kill, a lack of memory or a power loss hits the same row twice only on purpose. A note from before
 * a reboot does not count.
 *
 * Rows read in small numbers are always noted one by one (two writes of 512 bytes into the page cache). In a backlog several are noted
 * together, when they are read and when their details are first requested. After a crash, the first 100,000 are noted one by one. So the
 * first crash names several rows, and the second one the row among them. If a format crashes at a row whose details another format has
 * requested before, this may take one more crash.
 *
 * Nothing is synced: writes survive a crash of the process, and after a power loss the note does not count.
 */
export class RowNotes implements RowGuard {
  /** The row quarantined at this start, to be reported. */
  readonly found: Suspect | null;
  private readonly quarantined: Set<string>;
  private suspect: Suspects | null;
  /** The row before, of the same page: nothing is between the two. */
  private before: NotedRow | null = null;
  private readonly tried = new Set<string>();
  private begun: NotedRows | null = null;
  private machine = { boot: 0, up: 0, at: Number.NEGATIVE_INFINITY };
  private left: number;
  private file: number | null = null;
  private readonly buffer = Buffer.alloc(LENGTH, ' ');

  constructor(private readonly options: RowNotesOptions) {
    const path = join(options.directory, 'row.note');
    const before = noteIn(path);
    const died = before?.state === 'running';
    this.left = died ? CAREFUL_ROWS : 0;
    this.suspect = died ? suspectOf(before) : null;
    this.quarantined = new Set(listOf(options.load()));
    const { suspect } = this;
    this.found = suspect !== null && 'deaths' in suspect && suspect.deaths >= MOST_DEATHS ? suspect : null;
    if (this.found !== null) {
      this.quarantined.add(this.found.id);
      this.suspect = null;
      options.save(JSON.stringify([...this.quarantined]));
    }
    try {
      this.file = openSync(path, before === null ? 'w' : 'r+', 0o640);
      this.write('running', null);
    } catch {
      this.file = null; // a full disk: the sinks say so, and no row is noted
    }
  }

  get careful(): boolean {
    return this.left > 0;
  }

  isQuarantined(eventId: string): boolean {
    return this.quarantined.size > 0 && this.quarantined.has(eventId);
  }

  wasTried(eventId: string): boolean {
    return this.tried.has(eventId);
  }

  attempt<T>(row: NotedRow, work: () => T): T {
    if (this.left > 0) this.left--;
    this.write('running', row);
    try {
      return work();
    } finally {
      this.passed(row);
      this.write('running', null);
      this.remember(row.id);
    }
  }

  private remember(id: string): void {
    this.tried.add(id);
    const [first] = this.tried;
    if (this.tried.size > TRIED && first !== undefined) this.tried.delete(first);
  }

  begin(rows: NotedRows): void {
    if (this.begun === rows) return;
    this.write('running', null, rows);
  }

  end(): void {
    this.before = null;
    if (this.begun !== null) this.write('running', null);
  }

  rehearse(event: AuditEvent): void {
    try {
      this.options.rehearse(event);
    } catch {
      // The sink handles errors of its formatter.
    }
  }

  /** An orderly end. */
  close(): void {
    this.write('stopped', null);
    if (this.file !== null) closeSync(this.file);
    this.file = null;
  }

  /** Clears the suspicion after success. A group shrinks from both ends: two readers may work on it, each from one of them. */
  private passed(row: NotedRow): void {
    const { suspect, before } = this;
    this.before = row;
    if (suspect === null) return;
    if ('deaths' in suspect) {
      if (suspect.id === row.id) this.suspect = null;
      return;
    }
    if (row.source !== suspect.source) return;
    const ids = [Number(row.row), Number(before?.source === row.source ? before.row : row.row)];
    const [low, high] = [Math.min(...ids), Math.max(...ids)];
    const first = low <= suspect.first ? Math.max(suspect.first, high + 1) : suspect.first;
    const last = high >= suspect.last ? Math.min(suspect.last, low - 1) : suspect.last;
    this.suspect = first > last ? null : { ...suspect, first, last };
  }

  private write(state: Note['state'], row: NotedRow | null, rows: NotedRows | null = null): void {
    this.begun = rows;
    if (this.file === null) return;
    const now = performance.now();
    if (now - this.machine.at > AGE_MS) this.machine = { boot: bootTime(), up: uptime(), at: now };
    const { boot, up } = this.machine;
    const note: Note = { state, boot, up, row, rows, suspect: this.suspect };
    this.buffer.fill(' ');
    this.buffer.write(JSON.stringify(note));
    this.buffer[LENGTH - 1] = 10;
    try {
      writeSync(this.file, this.buffer, 0, LENGTH, 0);
    } catch {
      // As above.
    }
  }
}

function suspectOf({ boot, up, row, rows, suspect }: Note): Suspects | null {
  if (Math.abs(boot - bootTime()) > SAME_BOOT_MS || up > uptime()) return null;
  if (row !== null) return { ...row, deaths: deathsAt(suspect, row) + 1 };
  if (rows === null) return suspect;
  return suspect !== null && 'deaths' in suspect && isAmong(rows, suspect) ? suspect : rows;
}

/** Remembered crashes at a row. */
function deathsAt(suspect: Suspects | null, row: NotedRow): number {
  if (suspect === null) return 0;
  if ('deaths' in suspect) return suspect.id === row.id ? suspect.deaths : 0;
  return isAmong(suspect, row) ? 1 : 0;
}

function isAmong({ source, first, last }: NotedRows, row: NotedRow): boolean {
  const id = Number(row.row);
  return source === row.source && id >= first && id <= last;
}

function bootTime(): number {
  return Math.round(Date.now() - uptime() * 1_000);
}

function noteIn(path: string): Note | null {
  try {
    const found = JSON.parse(readFileSync(path, 'utf8')) as Partial<Note> | null;
    if (typeof found !== 'object' || found === null) return null;
    const { state, boot, up } = found;
    if ((state !== 'running' && state !== 'stopped') || typeof boot !== 'number' || typeof up !== 'number')
      return null;
    return {
      state,
      boot,
      up,
      row: rowIn(found.row),
      rows: rowsIn(found.rows),
      suspect: suspectIn(found.suspect),
    };
  } catch {
    return null; // missing, or truncated by a power loss
  }
}

function rowIn(found: Partial<NotedRow> | null | undefined): NotedRow | null {
  const { source, row, id } = found ?? {};
  if (typeof source !== 'string' || typeof row !== 'string' || typeof id !== 'string') return null;
  return { source: source as SourceName, row, id };
}

function rowsIn(found: Partial<NotedRows> | null | undefined): NotedRows | null {
  const { source, first, last } = found ?? {};
  if (typeof source !== 'string' || typeof first !== 'number' || typeof last !== 'number') return null;
  return { source, first, last };
}

function suspectIn(found: Partial<Suspect & NotedRows> | null | undefined): Suspects | null {
  const row = rowIn(found);
  const deaths = Number(found?.deaths);
  if (row === null) return rowsIn(found);
  return deaths >= 1 ? { ...row, deaths } : null;
}

/** The ids in a list of quarantined rows, as passed to `RowNotesOptions.save`. */
function listOf(saved: string | null): string[] {
  try {
    const list: unknown = JSON.parse(saved ?? '[]');
    return Array.isArray(list) ? list.filter((id) => typeof id === 'string') : [];
  } catch {
    return [];
  }
}
