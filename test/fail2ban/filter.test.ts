import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Run, testFilter } from '../../src/fail2ban/client.js';
import { formatEcs } from '../../src/formats/ecs.js';
import { installed } from '../support/installed.js';
import { event } from './failures.js';
import { canonical, hostile } from './hostile.js';
import { renderSamples, samples } from './samples.js';

const filter = `${process.cwd()}/fail2ban/filter.d/posternproxy.conf`;
/** The filter of an earlier release, as it is in use until install.sh has put the new one in its place. */
const earlier = `${process.cwd()}/test/fail2ban/filters/earlier.conf`;
const sampleFile = 'fail2ban/samples/posternproxy';
const HOURS_OF_ZURICH = 1;

/** Without the product's time limit: thousands of lines on a busy machine. */
const patient: Run = async (program, args) => {
  const { exitCode, stdout, stderr } = await execa(program, args, { reject: false });
  return { exitCode, stdout, stderr };
};

it('the sample file has the lines of the events in samples.ts (UPDATE_SAMPLES=1 writes it)', () => {
  if (process.env.UPDATE_SAMPLES) writeFileSync(sampleFile, renderSamples());
  expect(readFileSync(sampleFile, 'utf8')).toBe(renderSamples());
});

describe.skipIf(!installed('fail2ban-regex', 'fail2ban'))('the filter in the real fail2ban-regex', () => {
  it('reads each sample as its comment says', async () => {
    const text = readFileSync(sampleFile, 'utf8');
    const pairs = [...text.matchAll(/^# failJSON: (\{.*\})\n(.*)$/gm)];
    expect(pairs).toHaveLength(samples.length);
    const { stdout } = await regex(pairs.map(([, , line]) => `${line}\n`).join(''), 'row');
    const found = [...stdout.matchAll(/^\['([^']*)',\t([\d.]+),/gm)].map(([, host, time]) => ({
      host,
      time: Number(time),
    }));
    const expected = pairs
      .map(([, json = '']) => JSON.parse(json) as { match: boolean; host?: string; time?: string })
      .filter(({ match }) => match)
      .map(({ host, time }) => ({ host, time: Date.parse(`${time}Z`) / 1_000 - HOURS_OF_ZURICH * 3_600 }));
    expect(found).toEqual(expected);
  });

  it('matches nothing in the lines that must not match', async () => {
    const lines = samples.filter(({ host }) => host === null).map(({ line }) => `${line}\n`);
    expect(lines.length).toBeGreaterThan(20);
    expect(await testFilter(lines.join(''), filter, patient)).toEqual([]);
  });

  it('reads the time as UTC on a host in any zone', async () => {
    for (const zone of ['America/New_York', 'Asia/Kolkata']) {
      const { stdout } = await regex(`${formatEcs(event())}\n`, 'row', { TZ: zone });
      expect(stdout).toContain(`\t${Date.UTC(2026, 10, 22, 20, 21, 0) / 1_000},`);
    }
  });

  it('matches exactly the true addresses of thousands of hostile events, each once, and no victim', async () => {
    const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
    const events = fc.sample(hostile, { numRuns: 4_000, seed });
    const lines = events.map(({ line }) => line);
    const full = events.map((each) => each.full);
    expect(
      [...lines, ...full].filter((line) => /[\0-\x1f\x7f-\x9f\u2028\u2029]/.test(line)),
      `SEED=${seed}`,
    ).toEqual([]);
    const expected = events.flatMap(({ matched }) => (matched === null ? [] : [matched]));
    expect(expected.length).toBeGreaterThan(1_000);
    expect(events.length - expected.length).toBeGreaterThan(500);
    const found = (await testFilter(lines.map((line) => `${line}\n`).join(''), filter, patient)).map(
      canonical,
    );
    const first = found.findIndex((address, i) => address !== expected[i]);
    expect(found, `SEED=${seed}, first difference at match ${first}`).toEqual(expected);
    const inFull = await testFilter(full.map((line) => `${line}\n`).join(''), filter, patient);
    const own = events.flatMap((each) => each.own ?? []);
    expect(inFull.map(canonical), `SEED=${seed}`).toEqual(own);
    // What is written for the same events now, by the filter of now and by the one before.
    const written = events.flatMap((each) => each.written ?? []);
    for (const each of [filter, earlier]) {
      const now = await testFilter(written.map((line) => `${line}\n`).join(''), each, patient);
      expect(now.map(canonical), `SEED=${seed}, ${each}`).toEqual(expected);
    }
  });

  it('the filter of an earlier release finds the same in each sample as the new one', async () => {
    const lines = samples.map(({ line }) => `${line}\n`).join('');
    const expected = samples.flatMap(({ host }) => host ?? []);
    expect(await testFilter(lines, earlier, patient)).toEqual(expected);
  });

  it('reads lines of 1 MB of any shape without backtracking', async () => {
    const much = 2 ** 20;
    const head = formatEcs(event()).split('"ip":')[0] ?? '';
    const long = { id: null, email: null };
    const lines = [
      formatEcs(event({ user: { ...long, name: 'x'.repeat(much) } })),
      formatEcs(event({ user: { ...long, name: '"}'.repeat(much / 2) } })),
      formatEcs(event({ user: { ...long, name: '\\'.repeat(much) } })),
      formatEcs(
        event({ address: null, user: { ...long, name: `"source":{"ip":"${'1:'.repeat(much / 2)}` } }),
      ),
      `${head}"ip":"${'1:'.repeat(much / 2)}`,
      `${head}"ip":"${':'.repeat(much)}`,
      `${head}"ip":"${'1.'.repeat(much / 2)}`,
      `${head}"ip":"203.0.113.7"},${'}'.repeat(much)}x`,
      head.replace('"sequence"', `"x":"${'a'.repeat(much)}`),
      '{'.repeat(much),
      '{"@timestamp":"'.repeat(much / 16),
      'x'.repeat(much),
    ];
    expect(await testFilter(lines.map((line) => `${line}\n`).join(''), filter, patient)).toEqual([
      '203.0.113.7',
      '203.0.113.7',
      '203.0.113.7',
    ]);
  });
});

async function regex(
  lines: string,
  out: string,
  env: Record<string, string> = {},
): Promise<{ stdout: string }> {
  const directory = mkdtempSync(join(tmpdir(), 'filter-'));
  try {
    writeFileSync(`${directory}/lines.log`, lines);
    return await execa('fail2ban-regex', ['-e', 'utf-8', '-o', out, `${directory}/lines.log`, filter], {
      env,
    });
  } finally {
    rmSync(directory, { recursive: true });
  }
}
