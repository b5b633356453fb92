import { cpSync, existsSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import { join } from 'node:path';

/** What a line for fail2ban says. */
export interface PairLine {
  readonly source: string;
  readonly sequence: number;
  readonly timeline: number;
  readonly time: string;
  readonly address: string;
  readonly revisionOf: number | null;
}

interface Text {
  readonly '@timestamp': string;
  readonly event: { readonly sequence: number };
  readonly source: { readonly ip: string };
  readonly postern: { readonly source: string; readonly timeline: number; readonly revision_of?: number };
}

const NAMES = ['fail2ban.0.log', 'fail2ban.1.log'] as const;

/** Reads the pair as fail2ban does, which has had the lines of a file before another one takes its name. */
export class PairReader {
  /** By the first line of a file, which no other one has. */
  private files = new Map<string, readonly string[]>();

  constructor(readonly directory: string) {}

  /** Of all files of the pair that there have been, as they were when last read or as they are. */
  lines(): PairLine[] {
    for (const name of NAMES) {
      const path = join(this.directory, name);
      if (!existsSync(path)) continue;
      const text = readFileSync(path, 'utf8');
      const [header = '', ...lines] = text.slice(0, text.lastIndexOf('\n') + 1).split('\n');
      this.files.set(header, lines.slice(0, -1));
    }
    return [...this.files.values()].flat().map(lineOf);
  }

  /**
   * The pair as a process leaves it that dies now.
   *
   * @param torn bytes of the newest line that the file does not have yet
   * @returns puts it back
   */
  snapshot(torn: number): () => void {
    this.lines();
    const files = new Map(this.files);
    const left = `${this.directory}.left`;
    rmSync(left, { recursive: true, force: true });
    if (existsSync(this.directory)) cpSync(this.directory, left, { recursive: true });
    return () => {
      this.files = files;
      rmSync(this.directory, { recursive: true, force: true });
      if (!existsSync(left)) return;
      cpSync(left, this.directory, { recursive: true });
      this.tear(torn);
      this.lines();
    };
  }

  private tear(bytes: number): void {
    const path = NAMES.map((name) => join(this.directory, name))
      .filter((name) => existsSync(name))
      .toSorted((a, b) => numberOf(a) - numberOf(b))
      .at(-1);
    if (path === undefined || bytes === 0) return;
    const text = readFileSync(path, 'utf8');
    const last = text.trimEnd().lastIndexOf('\n');
    if (last > 0) truncateSync(path, Math.max(last + 1, text.length - bytes)); // its lines are ASCII
  }
}

function numberOf(path: string): number {
  const [header = ''] = readFileSync(path, 'utf8').split('\n', 1);
  return (JSON.parse(header) as { postern: { log: { number: number } } }).postern.log.number;
}

function lineOf(line: string): PairLine {
  const { event, source, postern, '@timestamp': time } = JSON.parse(line) as Text;
  return {
    source: postern.source,
    sequence: event.sequence,
    timeline: postern.timeline,
    time,
    address: source.ip,
    revisionOf: postern.revision_of ?? null,
  };
}
