import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Anchor, hashOf, type Manifest, seal } from '../../src/retention/archive/manifest.js';
import { run } from '../commands/cli.js';
import { DaemonRig } from './daemon-fixture.js';

/** Old rows of three months, each in one archive, and young rows that fill more than one chunk of an export. */
const OLD = 6;
const YOUNG = 3_000;
const DETAILS = JSON.stringify({ text: 'x'.repeat(1_000) });

let rig: DaemonRig;
let archive: string;
const cli = (...args: string[]) => run([...args, '--config', rig.configPath]);
const names = () => readdirSync(archive).filter((name) => name.startsWith('0'));
const path = (sequence: number, ending: string) =>
  join(archive, names().find((name) => Number(name.slice(0, 6)) === sequence && name.endsWith(ending)) ?? '');
const MANIFEST = '.manifest.json';
const ROWS = '.gz';

function configure(directory: string): void {
  rig.configure(
    `retention: { enabled: true, schedule: "0 0 29 2 *", keep: { default: 1y }, archive: { directory: ${directory}, compression: gzip } }`,
  );
}

beforeAll(async () => {
  rig = new DaemonRig();
  archive = join(rig.directory, 'archive');
  configure(archive);
  const insert = rig.db.prepare('INSERT INTO audit_log (created_at, action, details) VALUES (?, ?, ?)');
  rig.db.transaction(() => {
    for (const month of ['01', '02', '03'])
      for (let n = 0; n < OLD / 3; n++) insert.run(`2020-${month}-02 03:04:05`, 'update', '{"old":1}');
    for (let n = 0; n < YOUNG; n++) insert.run(new Date().toISOString(), 'update', DETAILS);
  })();
  await rig.start();
  await rig.until(({ sinks }) => (sinks.audit?.cursors.postern?.id ?? 0) >= OLD + YOUNG, 'shipped');
  await rig.durable(OLD + YOUNG);
  expect(cli('retain', '--now').out).toMatch(/^6 rows removed, 3 archives written/);
});
afterAll(() => rig.close());

/** Each test starts from the same archives. */
let kept: Map<string, Buffer>;
beforeEach(() => {
  kept = new Map(readdirSync(archive).map((name) => [name, readFileSync(join(archive, name))]));
});
afterEach(() => {
  for (const name of readdirSync(archive)) rmSync(join(archive, name));
  for (const [name, bytes] of kept) writeFileSync(join(archive, name), bytes);
  configure(archive);
});

const drop = (sequence: number) => {
  for (const ending of [MANIFEST, ROWS]) rmSync(path(sequence, ending));
};

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly isWhole: boolean;
}

/** The response that an API client gets, and whether it could tell that it was complete. */
function get(address: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const options = { socketPath: rig.control, path: `/api/audit-log${address}`, agent: false } as const;
    const call = request(options, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      const { statusCode: status = 0 } = response;
      response.on('error', () => undefined);
      response.on('close', () => resolve({ status, body, isWhole: response.complete }));
    });
    call.on('error', reject);
    call.end();
  });
}

/** Replaces the rows of an archive, with a matching manifest that is sealed with its own hash. */
function falsify(sequence: number): void {
  const text = gunzipSync(readFileSync(path(sequence, ROWS))).toString();
  const content = Buffer.from(text.replaceAll('"action":"update"', '"action":"delete"'));
  expect(content.toString()).not.toBe(text);
  const packed = gzipSync(content);
  writeFileSync(path(sequence, ROWS), packed);
  const {
    signature: _,
    sha256: __,
    ...body
  } = JSON.parse(readFileSync(path(sequence, MANIFEST), 'utf8')) as Manifest;
  const [bytes, content_bytes] = [packed.length, content.length];
  const [block] = body.blocks;
  if (block === undefined) throw new Error('no block');
  const [, , ...rest] = block;
  const sealed = seal<Manifest>(
    {
      ...body,
      bytes,
      content_bytes,
      blocks: [[bytes, content_bytes, ...rest]],
      file_sha256: hashOf(packed),
      content_sha256: hashOf(content),
    },
    null,
  );
  writeFileSync(path(sequence, MANIFEST), sealed.text);
}

/** Removes the archives up to one, and writes the anchor that the daemon would have left. */
function forgeAnchor(sequence: number): void {
  const previous = hashOf(readFileSync(path(sequence, MANIFEST)));
  for (let at = 1; at <= sequence; at++)
    if (existsSync(path(at, MANIFEST)) && path(at, MANIFEST) !== archive) drop(at);
  const body = {
    schema_version: 1,
    sequence,
    previous_sha256: previous,
    created: '2026-11-30T00:00:00.000Z',
  };
  writeFileSync(join(archive, 'anchor.json'), seal<Anchor>(body, null).text);
}

describe('what reads archives', () => {
  it('takes them by default, all of them', async () => {
    expect(JSON.parse(cli('query', '--source', 'postern', '--json').out)).toMatchObject({
      total: OLD + YOUNG,
    });
    expect(JSON.parse(cli('query', '--source', 'postern', '--json', '--no-archives').out)).toMatchObject({
      total: YOUNG,
    });
    const file = join(rig.directory, 'all.ndjson');
    expect(cli('export', '--source', 'postern', '-o', file).err).toContain('3,006 entries');
    expect(readFileSync(file, 'utf8').trimEnd().split('\n')).toHaveLength(OLD + YOUNG);
    const whole = await get('?limit=0&format=ndjson&source=postern');
    expect(whole).toMatchObject({ status: 200, isWhole: true });
    expect(whole.body.trimEnd().split('\n')).toHaveLength(OLD + YOUNG);
    const table = await get('?limit=0&format=ndjson&source=postern&archives=false');
    expect(table.body.trimEnd().split('\n')).toHaveLength(YOUNG);
  });

  it.each<[string, RegExp, () => void]>([
    ['one in the middle', /archive 2 is missing in /, () => drop(2)],
    ['the rows of one', /archive 2 is missing in /, () => rmSync(path(2, ROWS))],
    ['the first', /archive 1 is missing in /, () => drop(1)],
    ['the last', /archive 3 is missing in /, () => drop(3)],
    [
      'the first two, for which somebody has written an anchor',
      /archives 1-2 are missing in .*; anchor\.json does not count: it says that the chain begins at 3 .*is not recorded in state\.db/,
      () => forgeAnchor(2),
    ],
    [
      'all, for which somebody has written an anchor',
      /archives 1-3 are missing in .*; anchor\.json does not count: it says that the chain begins at 4/,
      () => forgeAnchor(3),
    ],
    [
      'all, whose disk is not mounted',
      /archives 1-3 are missing in /,
      () => {
        for (const name of readdirSync(archive)) rmSync(join(archive, name));
      },
    ],
    [
      'all, which are where another configuration had them',
      /rows that were removed from the table are in .*archive, and not in .*elsewhere/,
      () => configure(join(rig.directory, 'elsewhere')),
    ],
  ])('continues without %s only with an option, and reports it', async (_, words, harm) => {
    harm();
    const file = join(rig.directory, 'part');
    const into = join(rig.directory, 'part.db');
    const asked = [
      ['query', '--source', 'postern', '--json'],
      ['stats', '--source', 'postern', '--from', '2020-01-01', '--json'],
      ['export', '--source', 'postern', '-o', file],
      ['export', '--source', 'postern', '-o', file, '--csv'],
      ['archive', 'restore', '--into', into],
      ['archive', 'cat'],
    ];
    for (const args of asked) {
      expect(cli(...args)).toEqual({ code: 1, out: '', err: expect.stringMatching(words) as string });
      expect([file, into].filter((one) => existsSync(one))).toEqual([]);
    }
    for (const args of asked.slice(0, 4)) {
      const { code, out, err } = cli(...args, '--allow-missing');
      expect({ args, code, err }).toEqual({ args, code: 0, err: expect.stringMatching(words) as string });
      expect(err).toContain('INCOMPLETE: ');
      const written = existsSync(file) ? readFileSync(file, 'utf8') : out;
      rmSync(file, { force: true });
      const [last = ''] = written.trimEnd().split('\n').slice(-1);
      if (args.includes('--csv')) expect(last).toMatch(/^"?INCOMPLETE: .*,{11}$/);
      else if (args[0] === 'export')
        expect(JSON.parse(last)).toEqual({ incomplete: expect.stringMatching(words) });
      else expect(JSON.parse(out)).toMatchObject({ incomplete: expect.stringMatching(words) });
    }
    expect(cli('query', '--source', 'postern', '--no-archives', '--json').code).toBe(0);
  });

  it('the API reports missing archives, and never returns a part as the whole', async () => {
    drop(2);
    for (const address of ['?source=postern', '?limit=0', '/stats?from=2020-01-01', '/postern:3']) {
      const { status, body } = await get(address);
      expect({ address, status, body }).toMatchObject({
        status: 503,
        body: expect.stringMatching(/archive 2 is missing.*allow_missing=true.*archives=false/),
      });
    }
    const page = await get('?source=postern&allow_missing=true');
    expect(JSON.parse(page.body)).toMatchObject({
      total: OLD + YOUNG - 2,
      incomplete: expect.stringContaining('archive 2 is missing'),
    });
    const json = await get('?source=postern&limit=0&allow_missing=true');
    expect(JSON.parse(json.body)).toMatchObject({
      incomplete: expect.stringContaining('archive 2 is missing'),
    });
    expect((await get('?limit=0&source=postern&archives=false')).status).toBe(200);
    drop(1);
    forgeAnchor(3);
    expect(await get('?source=postern')).toMatchObject({
      status: 503,
      body: expect.stringMatching(/archives 1-3 are missing.*anchor\.json does not count/),
    });
  });

  it.each<[string, RegExp, () => void]>([
    ['in the middle', /000002.*it differs from the one that was recorded/, () => falsify(2)],
    [
      'at the end',
      /it (differs from the one that was recorded|is not the one whose rows were removed)/,
      () => falsify(3),
    ],
  ])('accepts no archive %s that was falsified and sealed again', async (_, words, harm) => {
    harm();
    const into = join(rig.directory, 'false.db');
    for (const args of [
      ['query', '--source', 'postern', '--action', 'delete'],
      ['query', '--source', 'postern', '--action', 'delete', '--allow-missing'],
      ['stats', '--from', '2020-01-01'],
      ['export'],
      ['archive', 'cat', '1'],
      ['archive', 'restore', '--into', into],
    ])
      expect(cli(...args)).toEqual({ code: 1, out: '', err: expect.stringMatching(words) as string });
    expect(existsSync(into)).toBe(false);
    expect(await get('?action=delete')).toMatchObject({ status: 500, body: expect.stringMatching(words) });
  });

  it('aborts a running export when it reads changed bytes', async () => {
    const bytes = readFileSync(path(1, ROWS));
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    writeFileSync(path(1, ROWS), bytes);
    for (const format of ['ndjson', 'csv', 'json']) {
      const { status, body, isWhole } = await get(`?limit=0&format=${format}&source=postern`);
      expect({ status, isWhole }).toEqual({ status: 200, isWhole: false });
      expect(body.length).toBeGreaterThan(1_000_000);
    }
    const file = join(rig.directory, 'broken.csv');
    expect(cli('export', '-o', file)).toMatchObject({
      code: 1,
      err: expect.stringContaining('its bytes were changed'),
    });
    expect(readdirSync(rig.directory).filter((name) => name.includes('broken.csv'))).toEqual([]);
  });

  it('finds them in the directory that they were moved to', () => {
    const moved = join(rig.directory, 'moved');
    renameSync(archive, moved);
    configure(moved);
    const { out } = cli('query', '--source', 'postern', '--json');
    renameSync(moved, archive);
    expect(JSON.parse(out)).toMatchObject({ total: OLD + YOUNG });
  });

  it('restores some of them where others are missing, and none where one that is meant is', () => {
    drop(2);
    const into = join(rig.directory, 'some.db');
    expect(cli('archive', 'restore', '--into', into, '1', '3').out).toContain('4 rows restored');
    expect(cli('archive', 'restore', '--into', into, '1-3')).toMatchObject({ code: 1 });
    const { code, out, err } = cli('archive', 'restore', '--into', into, '--allow-missing', '--json');
    expect({ code, ...(JSON.parse(out) as object) }).toMatchObject({
      code: 0,
      skipped: 4,
      incomplete: expect.stringContaining('archive 2 is missing'),
    });
    expect(err).toContain('INCOMPLETE: archive 2 is missing');
  });
});
