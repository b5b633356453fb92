import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as zlib from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { inspectRetention } from '../../src/commands/check/retention.js';
import { parseConfig } from '../../src/config/load.js';
import Database from '../../src/load-sqlite.js';
import { createAuditTable } from '../../src/recorder/recorder.js';
import { Notes } from '../../src/retention/saved-state.js';
import { asUser } from '../../src/shipping/as-owner.js';
import { State } from '../../src/shipping/state.js';

const isRoot = process.getuid?.() === 0;

describe('check of retention', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'postern-check-'));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  /** @param archive YAML of further keys of `retention.archive` */
  function findings(archive = '', { enabled = true, minFree = '1M' } = {}) {
    const text = `min_free: ${minFree}\nretention: { enabled: ${enabled}, archive: { directory: ${directory}/a/b ${archive} } }`;
    return inspectRetention(parseConfig(text, 'c.yml'));
  }

  it('check reports that retention is off, whatever else is wrong', () => {
    expect(findings(', sign: /not/there.pem', { enabled: false })).toEqual([
      { level: 'ok', what: 'off: entries are kept indefinitely' },
    ]);
  });

  it('check reports the schedule and the directory, also before the directory exists', () => {
    expect(findings()).toEqual([{ level: 'ok', what: `on, 17 3 * * * (UTC), archives in ${directory}/a/b` }]);
  });

  it.skipIf(!isRoot)("check run by root, reports a directory that the daemon can't write to", () => {
    chmodSync(directory, 0o755);
    const asDaemon = () => asUser({ uid: 54_321, gid: 54_321, groups: [54_321] }, () => findings());
    expect(asDaemon()).toMatchObject([
      { level: 'error', what: `${directory} can't be written by this user: no archive can be created there` },
    ]);
    chownSync(directory, 54_321, 54_321);
    expect(asDaemon()).toMatchObject([{ level: 'ok' }]);
    expect(readdirSync(directory)).toEqual([]);
  });

  it('check reports a file in place of the directory', () => {
    writeFileSync(join(directory, 'a'), '');
    expect(findings()).toEqual([
      {
        level: 'error',
        what: `${directory}/a is not a directory: no archive can be created there`,
        next: 'move it away, or set another retention.archive.directory',
      },
    ]);
  });

  it.skipIf(isRoot)('check reports a directory that is not writable', () => {
    mkdirSync(join(directory, 'a'), { mode: 0o500 });
    expect(findings()[0]).toMatchObject({
      level: 'error',
      what: expect.stringContaining("can't be written"),
    });
  });

  it.skipIf(!isRoot)('check run by root, reports a read-only directory and a full disk', () => {
    const at = join(directory, 'a');
    mkdirSync(at);
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', at], { stdio: 'pipe' });
    } catch (error) {
      if (process.env.CI) throw error;
      return console.warn(`SKIPPED: a full disk needs a tmpfs of its own: ${String(error)}`);
    }
    try {
      writeFileSync(join(at, 'full'), Buffer.alloc(1_020_000));
      expect(findings('', { minFree: '1G' })).toEqual([
        {
          level: 'error',
          what: `${at} has 0B left, less than min_free: nothing is archived or removed`,
          next: 'free disk space there, or set another retention.archive.directory',
        },
      ]);
      execFileSync('mount', ['-o', 'remount,ro', at]);
      expect(findings()[0]?.what).toBe(
        `${at} can't be written by this user: no archive can be created there`,
      );
    } finally {
      execFileSync('umount', [at]);
    }
  });

  it('check reports a key that can not sign archives', () => {
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey;
    const good = generateKeyPairSync('ed25519').privateKey;
    const path = join(directory, 'key.pem');
    const sign = `, sign: ${path}`;
    expect(findings(sign)[0]).toMatchObject({
      level: 'error',
      what: expect.stringMatching(/^the key .*key\.pem can't be used: ENOENT/),
    });
    for (const [text, what] of [
      ['no key', /^the key .* can't be used: /],
      [
        rsa.export({ type: 'pkcs8', format: 'pem' }),
        /is a key of type rsa, but archives are signed with ed25519$/,
      ],
    ] as const) {
      writeFileSync(path, text);
      expect(findings(sign)[0]).toMatchObject({
        level: 'error',
        what: expect.stringMatching(what),
        next: expect.stringContaining('openssl genpkey -algorithm ed25519'),
      });
    }
    writeFileSync(path, good.export({ type: 'pkcs8', format: 'pem' }));
    expect(findings(sign)[0]?.level).toBe('ok');
  });

  it('check reports that this Node.js lacks zstd', () => {
    const has = 'zstdCompressSync' in zlib;
    expect(findings(', compression: zstd')[0]).toMatchObject(
      has
        ? { level: 'ok' }
        : { level: 'error', what: expect.stringContaining('zstd'), next: expect.any(String) },
    );
  });

  it('check reports a failed last run while no daemon runs, from the note of an earlier version too', () => {
    const said = () =>
      inspectRetention(
        parseConfig(
          `state: ${directory}\nmin_free: 1M\nretention: { enabled: true, archive: { directory: ${directory}/a } }`,
          'c.yml',
        ),
      );
    const state = new State(directory, Date.now);
    state.setNote('source_id', '0'.repeat(32));
    const notes = new Notes(state);
    const last = {
      begin: 0,
      end: 0,
      deleted: 0,
      archives: 0,
      held: [],
      lock_ms: 0,
      free_bytes: null,
      auto_vacuum: null,
    };
    const memory = { enabledSince: 0, lastSuccess: null, lastFailure: 0, clock: null, stalls: {} };
    const failed = 'the last run, at 1970-01-01T00:00:00Z, failed: The archive is full';
    const error = 'The archive is full. Make room';
    const problem = { what: 'The archive is full', next: 'Make room' };
    notes.memory = { ...memory, last: { ...last, error, problem } };
    expect(said()).toEqual([{ level: 'error', what: failed, next: 'make room' }]);
    // The note of a version that saved the text alone.
    notes.memory = { ...memory, last: { ...last, error } };
    expect(said()).toEqual([
      {
        level: 'error',
        what: `${failed}. Make room`,
        next: 'correct the cause, then run postern-auditd retain --now',
      },
    ]);
    notes.memory = { ...memory, last: { ...last, error: null } };
    expect(said().map(({ level }) => level)).toEqual(['ok']);
    state.close();
  });

  it('check names triggers of the table, and foreign keys that prevent deletions', () => {
    const database = join(directory, 'p.db');
    const db = new Database(database);
    createAuditTable(db);
    const said = () => {
      const text = `source: { database: ${database} }\nmin_free: 1M\nretention: { enabled: true, archive: { directory: ${directory}/a } }`;
      return inspectRetention(parseConfig(text, 'c.yml'));
    };
    expect(said().map(({ level }) => level)).toEqual(['ok']);
    db.exec('CREATE TRIGGER keeper BEFORE DELETE ON audit_log BEGIN SELECT RAISE(IGNORE); END');
    expect(said()).toMatchObject([
      { level: 'warning', what: 'table audit_log has triggers that run at each deletion: keeper' },
      { level: 'ok' },
    ]);
    db.exec('CREATE TABLE note (entry REFERENCES audit_log (id) ON DELETE CASCADE)');
    expect(said()).toMatchObject([
      {
        level: 'error',
        what: expect.stringContaining('Foreign keys of the table note point at audit_log') as string,
      },
    ]);
    db.close();
  });
});
