import type { SourceName } from '../../audit/event.js';
import { advance, type Positions, positionIn } from '../positions.js';
import { confirm } from '../recovered-rows.js';
import type { FilePosition, Point, RecoveredGroup } from './file-position.js';

const NOWHERE: Point = { offset: 0, positions: [] };

/** How far the current file is begun, durable and written, and what of it shipping has yet to pass: the live form of a `Note`. */
export class WriteProgress {
  private begin = NOWHERE;
  private durable = NOWHERE;
  private end = NOWHERE;
  private found: readonly RecoveredGroup[] = [];

  /** Bytes of the file. */
  get size(): number {
    return this.end.offset;
  }

  /** True if no event stands in the file. */
  get empty(): boolean {
    return this.end.offset === this.begin.offset;
  }

  /** Bytes that a loss of power may take. */
  get undurable(): number {
    return this.end.offset - this.durable.offset;
  }

  /** As of a recovery. Nothing behind `begin` counts as durable. */
  resume(begin: Point, end: Point): void {
    this.begin = begin;
    this.durable = begin;
    this.end = end;
  }

  /** Goes on in a new file, whose events begin at `offset`. */
  turn(offset: number, positions: Positions = this.end.positions): void {
    this.begin = { offset, positions };
    this.durable = this.begin;
    this.end = this.begin;
  }

  remember(found: readonly RecoveredGroup[]): void {
    this.found = found;
  }

  /** Before a batch: what stood before its first row is delivered. No later loss goes further back. */
  expect(source: SourceName, timeline: number, first: number): void {
    if (positionIn(this.end.positions, source, timeline) !== null) return;
    const before = ({ offset, positions }: Point): Point => ({
      offset,
      positions: advance(positions, source, timeline, first - 1),
    });
    this.begin = before(this.begin);
    this.durable = before(this.durable);
    this.end = before(this.end);
  }

  wrote(bytes: number): void {
    this.end = { ...this.end, offset: this.end.offset + bytes };
  }

  /** Everything up to this row is delivered. */
  advance(source: SourceName, timeline: number, upTo: number): void {
    this.end = { ...this.end, positions: advance(this.end.positions, source, timeline, upTo) };
    if (this.undurable === 0) this.durable = this.end;
    this.found = confirm(this.found, source, timeline, upTo);
  }

  /** Call it before an fdatasync, and what it returns after: what was written meanwhile is not counted. */
  syncing(): () => void {
    const point = this.end;
    return () => {
      this.durable = point.offset === this.end.offset ? this.end : point;
    };
  }

  note(file: number, since: number): FilePosition {
    const { begin, durable, end, found } = this;
    return { file, since, begin, durable, end, found };
  }
}
