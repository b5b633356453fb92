import { describe, expect, it } from 'vitest';
import type { SourceName } from '../../../src/audit/event.js';
import type { FilePosition } from '../../../src/sinks/files/file-position.js';
import type { LogFile } from '../../../src/sinks/files/log-file-set.js';
import type { Line } from '../../../src/sinks/files/read-lines.js';
import { planRebuild, planRecovery } from '../../../src/sinks/files/recovery.js';
import type { Positions } from '../../../src/sinks/positions.js';

/** Every line is ten bytes long. `p3`: row 3 of postern; `a3`: of auditd; `q3`: of postern's second timeline; `-`: no line. */
type Word = string;

function line(word: Word, end: number): Line | null {
  if (word === '-') return null;
  const source: SourceName = word.startsWith('a') ? 'auditd' : 'postern';
  return {
    position: { source, timeline: word.startsWith('q') ? 2 : 1, sequence: Number(word.slice(1)), id: word },
    end,
  };
}

function words(text: string): Word[] {
  return text === '' ? [] : text.split(' ');
}

/** Contents by file number; ` ` between lines, a length of its own behind a `|`. */
function disk(files: Record<number, string>) {
  const contents = new Map<number, Word[]>();
  const list: LogFile[] = Object.entries(files).map(([number, text]) => {
    const [lines = '', size] = text.split('|');
    contents.set(Number(number), words(lines));
    return {
      number: Number(number),
      size: size === undefined ? words(lines).length * 10 : Number(size),
      start: 0,
      since: 5,
    };
  });
  function* linesFrom(file: LogFile, offset: number): Generator<Line> {
    for (const [index, word] of (contents.get(file.number) ?? []).entries()) {
      if (index * 10 < offset) continue;
      const found = line(word, index * 10 + 10);
      if (found === null) return;
      yield found;
    }
  }
  const linesBefore = (file: LogFile) =>
    (contents.get(file.number) ?? []).map((word, index) => line(word, index * 10 + 10)).reverse();
  return { list, linesFrom, linesBefore };
}

function positions(text: string): Positions {
  return words(text).map((word) => {
    const { source, timeline, sequence } = (line(word, 0) as Line).position;
    return { source, timeline, upTo: sequence };
  });
}

/** File 3, begun after row 0, durable after `durable` lines, written up to `end` lines. */
function note(
  durable: [number, string],
  end: [number, string],
  found: FilePosition['found'] = [],
): FilePosition {
  return {
    file: 3,
    since: 1,
    begin: { offset: 0, positions: positions('p0') },
    durable: { offset: durable[0] * 10, positions: positions(durable[1]) },
    end: { offset: end[0] * 10, positions: positions(end[1]) },
    found,
  };
}

/** The plan in words. */
function told(saved: FilePosition, files: Record<number, string>, distrust = false) {
  const { list, linesFrom } = disk(files);
  const beginsLine = (_: LogFile, offset: number): boolean => offset % 10 === 0;
  const plan = planRecovery(saved, list, { linesFrom, beginsLine }, distrust);
  return {
    current: plan.current === null ? null : `${plan.current.file.number}@${plan.current.offset}`,
    cuts: plan.cuts.map((cut) => `${cut.number}@${cut.at}-${cut.bytes}`).join(' '),
    at: plan.positions.map((p) => `${p.source}/${p.timeline}:${p.upTo}`).join(' '),
    corrections: plan.corrections
      .map((c) => `${c.source}/${c.timeline}:${c.upTo}[${c.found.map(([, id]) => id).join(' ')}]`)
      .join(' '),
    lost: plan.lost,
  };
}

const quiet = { cuts: '', corrections: '', lost: false };

describe('recovery', () => {
  const saved = note([1, 'p1'], [3, 'p9']); // three lines; filtered rows up to 9 behind them
  it.each<[string, FilePosition, Record<number, string>, ReturnType<typeof told>]>([
    ['nothing happened', saved, { 3: 'p1 p2 p3' }, { ...quiet, current: '3@30', at: 'postern/1:9' }],
    [
      'lines behind the end are found',
      saved,
      { 3: 'p1 p2 p3 p10 a1' },
      {
        ...quiet,
        current: '3@50',
        at: 'postern/1:10 auditd/1:1',
        corrections: 'postern/1:10[p10] auditd/1:1[a1]',
      },
    ],
    [
      'a torn line behind the end is cut off',
      saved,
      { 3: 'p1 p2 p3 p10 -|44' },
      { ...quiet, current: '3@40', cuts: '3@40-4', at: 'postern/1:10', corrections: 'postern/1:10[p10]' },
    ],
    [
      'lines in later files are found',
      saved,
      { 2: 'p0', 3: 'p1 p2 p3 p10', 4: 'p11', 5: 'p12 q1 -|27' },
      {
        ...quiet,
        current: '5@20',
        cuts: '5@20-7',
        at: 'postern/1:12 postern/2:1',
        corrections: 'postern/1:12[p10 p11 p12] postern/2:1[q1]',
      },
    ],
    [
      'an empty later file is gone on with',
      saved,
      { 3: 'p1 p2 p3', 4: '' },
      { ...quiet, current: '4@0', at: 'postern/1:9' },
    ],
    [
      'another hand added to a file that was left behind',
      saved,
      { 3: 'p1 p2 p3 -|33', 4: 'p10' },
      { ...quiet, current: '4@10', cuts: '3@30-3', at: 'postern/1:10', corrections: 'postern/1:10[p10]' },
    ],
    [
      'the last line was lost with the power',
      saved,
      { 3: 'p1 p2' },
      { current: '3@20', cuts: '', at: 'postern/1:2', corrections: 'postern/1:2[]', lost: true },
    ],
    [
      'a line behind the durable point became NULs',
      saved,
      { 3: 'p1 - p3 p10' },
      { current: '3@10', cuts: '3@10-30', at: 'postern/1:1', corrections: 'postern/1:1[]', lost: true },
    ],
    [
      'a file was cut by hand',
      note([2, 'p2'], [3, 'p9']),
      { 3: 'p1' },
      { current: '3@10', cuts: '', at: 'postern/1:1', corrections: 'postern/1:1[]', lost: true },
    ],
    [
      'a file was emptied',
      note([2, 'p2'], [3, 'p9']),
      { 3: '' },
      { current: '3@0', cuts: '', at: 'postern/1:0', corrections: 'postern/1:0[]', lost: true },
    ],
    [
      'another file was put in its place',
      { ...note([2, 'p2'], [3, 'p9']), durable: { offset: 15, positions: [] } },
      { 3: 'p1 -' },
      { current: '3@10', cuts: '3@10-10', at: 'postern/1:1', corrections: 'postern/1:1[]', lost: true },
    ],
    [
      'a file was cut to before what a rebuild took for its beginning',
      { ...note([2, 'p2'], [3, 'p9']), begin: { offset: 20, positions: positions('p2') } },
      { 3: 'p1 -|14' },
      { current: '3@10', cuts: '3@10-4', at: 'postern/1:1', corrections: 'postern/1:1[]', lost: true },
    ],
    [
      'a file was emptied, though a later one was begun',
      note([2, 'p2'], [3, 'p9']),
      { 3: '', 4: 'p10 -|14' },
      { current: null, cuts: '4@10-4', at: 'postern/1:0', corrections: 'postern/1:0[]', lost: true },
    ],
    ['the file was removed', saved, { 2: 'p0' }, { ...quiet, current: null, at: 'postern/1:9' }],
    ['all files were removed', saved, {}, { ...quiet, current: null, at: 'postern/1:9' }],
    [
      'the file was removed, a later one holds what followed',
      saved,
      { 4: 'p10 -|12' },
      { ...quiet, current: '4@10', cuts: '4@10-2', at: 'postern/1:10', corrections: 'postern/1:10[p10]' },
    ],
    [
      'of two timelines the older goes back, and the newer with it',
      note([1, 'p1 q0'], [4, 'p3 q2']),
      { 3: 'p1 p2' },
      { current: '3@20', cuts: '', at: 'postern/1:2 postern/2:0', corrections: 'postern/1:2[]', lost: true },
    ],
    [
      'only the newer timeline goes back',
      note([1, 'p1 q0'], [4, 'p2 q2']),
      { 3: 'p1 p2 q1' },
      { current: '3@30', cuts: '', at: 'postern/1:2 postern/2:1', corrections: 'postern/2:1[]', lost: true },
    ],
    [
      'rows found earlier are told again',
      note(
        [1, 'p1'],
        [3, 'p3'],
        [
          {
            source: 'postern',
            timeline: 1,
            rows: [
              [2, 'p2'],
              [3, 'p3'],
            ],
          },
        ],
      ),
      { 3: 'p1 p2 p3 p4' },
      { ...quiet, current: '3@40', at: 'postern/1:4', corrections: 'postern/1:4[p2 p3 p4]' },
    ],
    [
      'rows found earlier and then lost are not',
      note(
        [1, 'p1'],
        [3, 'p3'],
        [
          {
            source: 'postern',
            timeline: 1,
            rows: [
              [2, 'p2'],
              [3, 'p3'],
            ],
          },
        ],
      ),
      { 3: 'p1 p2 -' },
      { current: '3@20', cuts: '3@20-10', at: 'postern/1:2', corrections: 'postern/1:2[p2]', lost: true },
    ],
  ])('%s', (_, given, files, expected) => {
    expect(told(given, files)).toEqual(expected);
  });

  it('recovery trusts nothing after the durable point after a failed fdatasync', () => {
    expect(told(saved, { 3: 'p1 p2 p3 p10' }, true)).toEqual({
      current: '3@10',
      cuts: '3@10-30',
      at: 'postern/1:1',
      corrections: 'postern/1:1[]',
      lost: true,
    });
    expect(told(note([3, 'p3'], [3, 'p9']), { 3: 'p1 p2 p3' }, true)).toEqual({
      ...quiet,
      current: '3@30',
      at: 'postern/1:9',
    });
  });
});

describe('a rebuild without a note', () => {
  it.each<[string, Record<number, string>, string | null, string, string]>([
    ['no files', {}, null, '', ''],
    ['an empty file', { 1: '' }, '1@0', '', ''],
    ['one file', { 1: 'p1 p2' }, '1@20', '', 'postern/1:2'],
    [
      "the daemon's own rows are passed over",
      { 1: 'p1 q7 a4', 2: 'a5 -|15' },
      '2@10',
      '2@10-5',
      'postern/2:7',
    ],
    ['only NULs in the newest', { 1: 'p1', 2: '- -' }, '2@0', '2@0-20', 'postern/1:1'],
    ['garbage between lines', { 1: 'p1 - p2 -' }, '1@30', '1@30-10', 'postern/1:2'],
  ])('%s', (_, files, current, cuts, at) => {
    const { list, linesBefore } = disk(files);
    const plan = planRebuild(list, linesBefore);
    expect(plan.current === null ? null : `${plan.current.file.number}@${plan.current.offset}`).toBe(current);
    expect(plan.cuts.map((cut) => `${cut.number}@${cut.at}-${cut.bytes}`).join(' ')).toBe(cuts);
    expect(plan.corrections.map((p) => `${p.source}/${p.timeline}:${p.upTo}`).join(' ')).toBe(at);
  });
});
