import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LogFollower } from '../../src/commands/tail/follower.js';
import { fileName } from '../../src/sinks/files/numbered-files.js';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'postern-auditd-tail-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const path = (number: number) => join(directory, fileName(number));
const write = (number: number, text: string) => appendFileSync(path(number), text);

function started(): LogFollower {
  const follower = new LogFollower(directory);
  follower.toEnd();
  return follower;
}

function all(follower: LogFollower): string[] {
  const lines: string[] = [];
  for (let read = follower.read(); read.length > 0; read = follower.read()) lines.push(...read);
  return lines;
}

describe('the last lines', () => {
  it('the last lines are read newest first, across files', () => {
    write(1, 'a\nb\n');
    write(2, 'c\n');
    write(3, 'd\ne\n');
    expect([...started().backwards()]).toEqual(['e', 'd', 'c', 'b', 'a']);
  });

  it('the last lines leave out a line that is still being written, and a torn one in an older file', () => {
    write(1, 'a\ntorn');
    write(2, 'b\nhalf');
    const follower = started();
    expect([...follower.backwards()]).toEqual(['b', 'a']);
    write(2, ' and half\n');
    expect(all(follower)).toEqual(['half and half']);
  });

  it('the last lines end before a rotation that happens meanwhile', () => {
    write(1, 'a\n');
    const follower = started();
    write(2, 'b\n');
    expect([...follower.backwards()]).toEqual(['a']);
    expect(all(follower)).toEqual(['b']);
  });

  it('the last lines may be longer than one read', () => {
    const long = 'x'.repeat(3_000_000);
    write(1, `a\n${long}\nb\n`);
    expect([...started().backwards()]).toEqual(['b', long, 'a']);
  });

  it('the last lines may be many', () => {
    const lines = Array.from({ length: 200_000 }, (_, at) => `line ${at}`);
    write(1, `${lines.slice(0, 150_000).join('\n')}\n`);
    write(2, `${lines.slice(150_000).join('\n')}\n`);
    expect([...started().backwards()].reverse()).toEqual(lines);
  });

  it('the last lines are empty for foreign files, empty files and a missing directory', () => {
    writeFileSync(join(directory, 'other.log'), 'x\n');
    writeFileSync(path(1), '');
    expect([...started().backwards()]).toEqual([]);
    rmSync(directory, { recursive: true });
    expect([...started().backwards()]).toEqual([]);
  });
});

describe('new lines', () => {
  it('new lines are read once, in order, across rotations', () => {
    write(1, 'before\n');
    const follower = started();
    expect(follower.read()).toEqual([]);
    write(1, 'a\nb\n');
    write(2, 'c\n');
    write(3, 'd\n');
    expect(all(follower)).toEqual(['a', 'b', 'c', 'd']);
    write(3, 'e\n');
    expect(all(follower)).toEqual(['e']);
  });

  it('new lines are read from the beginning if there was no file at the start', () => {
    rmSync(directory, { recursive: true });
    const follower = started();
    expect(follower.read()).toEqual([]);
    mkdirSync(directory);
    write(7, 'a\n');
    expect(all(follower)).toEqual(['a']);
  });

  it('new lines are read after the current file was removed', () => {
    write(1, 'a\n');
    const follower = started();
    unlinkSync(path(1));
    write(3, 'b\n');
    expect(all(follower)).toEqual(['b']);
  });

  it('new lines are read after lines were truncated and written again', () => {
    write(1, 'a\nb\nc\n');
    const follower = started();
    truncateSync(path(1), 3); // in the middle of b
    expect(all(follower)).toEqual([]);
    truncateSync(path(1), 2);
    write(1, 'b again\n');
    expect(all(follower)).toEqual(['b again']);
  });

  it('new lines are the same however they are written and read', () => {
    const step = fc.oneof(
      fc.record({
        kind: fc.constant('write' as const),
        text: fc.constantFrom('x', 'yy', '\n', 'a\nb\n', 'é\n'),
      }),
      fc.record({ kind: fc.constantFrom('roll' as const, 'read' as const), text: fc.constant('') }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        for (let number = 1; number < 40; number++) rmSync(path(number), { force: true });
        let number = 1;
        let text = '';
        const written: string[] = [];
        const read: string[] = [];
        write(1, '');
        const follower = started();
        // The writer rolls between whole lines.
        const end = () => {
          if (text !== '' && !text.endsWith('\n')) {
            write(number, '\n');
            text += '\n';
          }
        };
        for (const { kind, text: piece } of steps) {
          if (kind === 'write') {
            write(number, piece);
            text += piece;
          } else if (kind === 'roll') {
            end();
            written.push(...text.split('\n').slice(0, -1));
            text = '';
            write(++number, '');
          } else read.push(...all(follower));
        }
        end();
        written.push(...text.split('\n').slice(0, -1));
        read.push(...all(follower));
        expect(read).toEqual(written);
        expect([...started().backwards()].reverse()).toEqual(written);
      }),
      { numRuns: 200 },
    );
  });
});
