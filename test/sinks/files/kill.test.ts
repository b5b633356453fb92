import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeEach, expect, it } from 'vitest';
import Database from '../../../src/load-sqlite.js';
import { compiled, removeCompiled } from '../../support/compiled.js';
import { range, rolledText, sequences, temporaryDirectory } from './files-fixture.js';

const WRITER = fileURLToPath(new URL('./fixtures/writer.mjs', import.meta.url));
const ROUNDS = Number(process.env.KILL_ROUNDS ?? 40);

let directory: string;
let child: ChildProcess | null = null;

beforeEach(() => {
  directory = temporaryDirectory();
});

afterAll(removeCompiled);

afterEach(() => {
  child?.kill('SIGKILL');
  fs.rmSync(directory, { recursive: true, force: true });
});

/** Starts the writer; resolves when its sinks are open and it is about to deliver. */
async function start(dist: string, ...rest: string[]): Promise<ChildProcess> {
  child = spawn(process.execPath, [WRITER, dist, directory, ...rest], { stdio: ['ignore', 'pipe', 'pipe'] });
  let errors = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  const exited = once(child, 'exit').then(([code]: Array<number | null>) => {
    if (code !== null && code !== 0) throw new Error(`the writer ended with ${code}: ${errors}`);
  });
  await Promise.race([once(child.stdout ?? child, 'data'), exited]);
  return child;
}

/** What a roll replaced, by the number in its header, and then the pair. A kill may leave a file under both names. */
function everReadByFail2ban(): string {
  const archive = path.join(directory, 'replaced');
  const byInode = new Map<number, { number: number; text: string }>();
  const add = (file: string): void => {
    const text = fs.readFileSync(file, 'utf8');
    byInode.set(fs.statSync(file).ino, { number: Number(/"number":(\d+)/.exec(text)?.[1]), text });
  };
  for (const name of fs.readdirSync(archive)) add(path.join(archive, name));
  for (const name of ['fail2ban.0.log', 'fail2ban.1.log']) add(path.join(directory, 'auth', name));
  const files = [...byInode.values()].sort((a, b) => a.number - b.number);
  return files.map(({ text }) => text).join('');
}

it(`each row is written once and in order over ${ROUNDS} kill -9 under load, with rolls`, {
  timeout: 600_000,
}, async () => {
  const dist = compiled();
  for (let round = 0; round < ROUNDS; round++) {
    const writer = await start(dist);
    await sleep(Math.random() * 60);
    if (writer.exitCode !== null) throw new Error(`the writer ended by itself with ${writer.exitCode}`);
    writer.kill('SIGKILL');
    await once(writer, 'close');
  }
  // The last one is let live: 200 s of its clock have rolls of both sinks, however little a slow machine wrote between two kills.
  const last = await start(dist, '200');
  if (last.exitCode === null) await once(last, 'exit');
  expect(last.exitCode).toBe(0);

  const db = new Database(path.join(directory, 'state.db'), { readonly: true });
  const cursor = (key: string): number =>
    Number(db.prepare('SELECT value FROM state WHERE key = ?').pluck().get(key));
  const audit = rolledText(path.join(directory, 'audit'));
  const auth = everReadByFail2ban();
  for (const source of ['postern', 'auditd'] as const) {
    expect(sequences(audit, source)).toEqual(range(1, cursor(`audit ${source}`)));
    expect(sequences(auth, source)).toEqual(range(1, cursor(`auth ${source}`)));
  }
  // Not without effect: some deaths came between a write and its commit.
  if (ROUNDS >= 50) expect(cursor('rounds that found rows')).toBeGreaterThan(0);
  db.close();
  expect(fs.readdirSync(path.join(directory, 'audit')).length).toBeGreaterThan(3);
  expect(fs.readdirSync(path.join(directory, 'replaced')).length).toBeGreaterThan(1);
});
