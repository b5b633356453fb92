import { spawnSync } from 'node:child_process';
import { closeSync, fstatSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { compiled, removeCompiled } from '../support/compiled.js';

const directory = mkdtempSync(join(tmpdir(), 'postern-journal-'));
afterAll(() => rmSync(directory, { recursive: true }));
afterAll(removeCompiled);

const at = (path: string) => join(compiled(), path);
const program = `
  const [{ createLog }, { AuditdError }] = await Promise.all([import(process.argv[1]), import(process.argv[2])]);
  const [format, file] = process.argv.slice(3);
  const log = await createLog({ level: 'info', format: format || undefined, file: file || null, env: process.env });
  log.info({ version: '1.2.3', config: '/etc/c.yml' }, 'postern-auditd is ready');
  log.child({ sink: 'siem' }).warn({ err: new AuditdError('SINK_FAILED', 'it refused. Next.') }, 'siem: it refused. Next.');
  log.error({ err: new AuditdError('CONFIG_INVALID', 'has a problem:\\n  c.yml:1:1: x\\nCorrect it') }, 'refused: has a problem:\\n  c.yml:1:1: x\\nCorrect it');
  log.error({ err: new TypeError('a defect') }, 'a request failed');
  log.info('\\u202eturned\\u001b[2J');`;

/** What the daemon's log writes, with or without systemd's journal behind its standard output. */
function written(options: { journal: boolean; format?: string; file?: string }): string[] {
  const path = join(directory, 'out');
  const fd = openSync(path, 'w');
  const { dev, ino } = fstatSync(fd, { bigint: true });
  // Where it is another stream the name was inherited.
  const env = { ...process.env, JOURNAL_STREAM: options.journal ? `${dev}:${ino}` : `${dev}:1` };
  const args = ['--input-type=module', '-e', program, at('systemd/journal.js'), at('errors.js')];
  const ran = spawnSync(process.execPath, [...args, options.format ?? '', options.file ?? ''], {
    stdio: ['ignore', fd, 'pipe'],
    env,
    encoding: 'utf8',
  });
  closeSync(fd);
  expect([ran.stderr, ran.status]).toEqual(['', 0]);
  return readFileSync(path, 'utf8').split('\n').slice(0, -1);
}

const SENTENCES = [
  'postern-auditd is ready (version 1.2.3, config /etc/c.yml)',
  'siem: it refused. Next.',
  'refused: has a problem: c.yml:1:1: x Correct it',
  'a request failed (a defect)',
];

it('the journal gets sentences with their priority, each in one line; stacks of defects are debug messages', () => {
  const lines = written({ journal: true });
  const [ready, down, refused, defect, ...rest] = lines;
  expect([ready, down, refused, defect]).toEqual(
    SENTENCES.map((text, n) => `${['<6>', '<4>', '<3>', '<3>'][n]}${text}`),
  );
  expect(rest.length).toBeGreaterThan(1);
  for (const line of rest.slice(0, -1)) expect(line).toMatch(/^<7> {4}at /);
  expect(rest.at(-1)).toBe('<6>\\u202eturned\\x1b[2J');
});

it('else lines of JSON are written, and what log.format says goes before', () => {
  const json = written({ journal: false });
  expect(json.map((line) => (JSON.parse(line) as { msg: string }).msg)[0]).toBe('postern-auditd is ready');
  // What the program expects has no stack.
  expect(
    json.map((line) => (JSON.parse(line) as { err?: { stack?: string } }).err?.stack !== undefined),
  ).toEqual([false, false, false, true, false]);
  expect(written({ journal: false, format: 'journal' }).slice(0, 4)).toEqual(SENTENCES);
  expect(written({ journal: true, format: 'json' })[0]).toMatch(/^<6>\{"level":30,/);
});

it('the rolled file has lines of JSON in any case', () => {
  const file = join(directory, 'logs', 'daemon');
  expect(written({ journal: true, file })[0]).toBe(`<6>${SENTENCES[0]}`);
  const [name = ''] = readdirSync(join(directory, 'logs')).filter((each) => each.startsWith('daemon'));
  expect(JSON.parse(readFileSync(join(directory, 'logs', name), 'utf8').split('\n')[0] ?? '')).toMatchObject({
    version: '1.2.3',
  });
});
