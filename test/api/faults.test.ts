import { renameSync, writeFileSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { controlRequest } from '../../src/control/client.js';
import Database from '../../src/load-sqlite.js';
import { createAuditTable, createRecorder } from '../../src/recorder/recorder.js';
import { type Answer, ApiRig } from './api-fixture.js';

const ASKED = ['?limit=5', '?limit=0', '?limit=0&format=csv', '/postern:1', '/stats'];

let rig: ApiRig;
let token: string;
const ask = (query: string): Promise<Answer> => rig.ask(`/api/audit-log${query}`, token);

/** Until all of them are answered so. */
async function until(status: number): Promise<Answer[]> {
  for (let tries = 0; ; tries++) {
    const answers = await Promise.all(ASKED.map((query) => ask(query)));
    if (answers.every((answer) => answer.status === status) || tries > 100) return answers;
    await sleep(50);
  }
}

/** SQLite asks for the whole file once, and does not wait for a reader in the middle of a step as it does elsewhere. */
async function leaveWal(db: ApiRig['daemon']['db']): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      db.pragma('journal_mode = DELETE');
      return;
    } catch (error) {
      if (tries > 200) throw error;
      await sleep(10);
    }
  }
}

describe("while Postern's database can't be read", () => {
  beforeAll(async () => {
    rig = await ApiRig.start();
    token = await rig.token('reader');
    rig.daemon.append(20);
    await rig.daemon.shipped();
  });
  afterAll(() => rig.close());

  function refused(answers: readonly Answer[]): void {
    for (const { status, headers, json } of answers) {
      expect([status, headers.get('retry-after'), headers.get('content-type')]).toEqual([
        503,
        '5',
        'application/problem+json',
      ]);
      expect(json()).toMatchObject({ type: 'urn:postern-auditd:problem:source-unusable', status: 503 });
    }
  }

  it('requests get 503 with Retry-After while the database is missing, and succeed when it is back', async () => {
    const { database, db } = rig.daemon;
    db.close();
    renameSync(database, `${database}.away`);
    refused(await until(503));
    expect((await ask('?source=auditd&limit=5')).status).toBe(200);
    expect((await rig.ask('/healthz', null)).status).toBe(200);
    renameSync(`${database}.away`, database);
    rig.daemon.db = new Database(database);
    rig.daemon.db.pragma('journal_mode = WAL');
    rig.daemon.recorder = createRecorder(rig.daemon.db);
    rig.daemon.record({ action: 'user.create' });
    for (const { status } of await until(200)) expect(status).toBe(200);
  });

  it('requests get 503 while the database is locked', async () => {
    const { database, db } = rig.daemon;
    await leaveWal(db);
    db.pragma('locking_mode = EXCLUSIVE');
    db.exec('BEGIN EXCLUSIVE; COMMIT');
    refused(await Promise.all([ask('?limit=5'), ask('?limit=0')]));
    db.close();
    const again = new Database(database);
    again.pragma('journal_mode = WAL');
    rig.daemon.db = again;
    rig.daemon.recorder = createRecorder(again);
    rig.daemon.record({ action: 'user.create' });
    for (const { status } of await until(200)) expect(status).toBe(200);
  });

  it('requests read a replaced database, and get 503 if the file is not a database', async () => {
    const { database, db } = rig.daemon;
    db.close();
    renameSync(database, `${database}.first`);
    const other = new Database(database);
    other.pragma('journal_mode = WAL');
    createAuditTable(other);
    createRecorder(other).record({ action: 'backup.restore' });
    const answers = await until(200);
    expect(answers[0]?.json().entries.map(({ id }: { id: string }) => id)).toContain('postern:1');
    expect((await ask('?source=postern&limit=5')).json()).toMatchObject({ total: 1 });
    other.close();
    writeFileSync(database, 'this is no database, however long it may be'.repeat(1_000));
    refused(await until(503));
  });
});

describe('a long export', () => {
  it('a long export is aborted when its token is revoked', async () => {
    const other = await ApiRig.start();
    try {
      other.daemon.db.transaction(() => {
        for (let n = 0; n < 400; n++)
          other.daemon.record({ action: 'setting.update', details: { n, text: 'x'.repeat(100_000) } });
      })();
      await other.daemon.shipped();
      const secret = await other.token('leaver');
      const response = await new Promise<IncomingMessage>((done, fail) => {
        const call = request(
          other.url('/api/audit-log?limit=0'),
          { headers: { authorization: `Bearer ${secret}` }, agent: false },
          done,
        );
        call.on('error', fail);
        call.end();
      });
      expect(response.statusCode).toBe(200);
      let text = '';
      response.setEncoding('utf8').on('data', (piece: string) => {
        text += piece;
      });
      response.pause();
      const ended = new Promise<string>((done) => {
        response.on('end', () => done('whole'));
        response.on('error', () => done('broken off'));
      });
      await controlRequest(other.daemon.control, 'DELETE', '/api/tokens/leaver');
      await sleep(1_200);
      response.resume();
      expect(await ended).toBe('broken off');
      expect(() => JSON.parse(text)).toThrow();
      await expect
        .poll(() => other.daemon.output, { timeout: 30_000 })
        .toContain('an export was aborted: the token was revoked');
    } finally {
      await other.close();
    }
  });
});
