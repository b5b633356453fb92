// Another program that has the database open, as Postern does: reads one JSON command a line, answers each with a line.
import { copyFileSync, renameSync } from 'node:fs';
import { createInterface } from 'node:readline';
import Database from '../../dist/load-sqlite.js';

const [, , path] = process.argv;
let db = null;

const commands = {
  open({ mode = 'wal', synchronous = 'NORMAL', exclusive = false }) {
    db = new Database(path, { timeout: 2_000 });
    if (exclusive) db.pragma('locking_mode = EXCLUSIVE');
    db.pragma(`journal_mode = ${mode}`);
    db.pragma(`synchronous = ${synchronous}`);
  },
  exec({ sql }) {
    db.exec(sql);
  },
  run({ sql, params = [] }) {
    return db.prepare(sql).run(...params).changes;
  },
  all({ sql }) {
    return db.prepare(sql).all();
  },
  /** Inserts `count` rows, each in a transaction of its own unless `together`. */
  insert({ count = 1, action = 'update', together = true, table = 'audit_log' }) {
    const one = db.prepare(
      `INSERT INTO ${table} (created_at, user_name, action, resource_type) VALUES (?, ?, ?, ?)`,
    );
    const work = () => {
      for (let at = 0; at < count; at++) one.run('2026-11-22 20:21:00', `user ${at}`, action, 'proxy_host');
    };
    if (together) db.transaction(work)();
    else work();
    return db.prepare(`SELECT max(id) AS id FROM ${table}`).pluck().get();
  },
  /** Commits without a pause. */
  flood({ ms }) {
    const one = db.prepare("INSERT INTO audit_log (created_at, action) VALUES (datetime('now'), 'update')");
    const end = performance.now() + ms;
    while (performance.now() < end) one.run();
    return db.prepare('SELECT max(id) AS id FROM audit_log').pluck().get();
  },
  /** Puts two files at one path in turn, by rename. */
  swap({ paths: [at, one, other] }) {
    let turn = 0;
    setInterval(() => {
      copyFileSync(turn++ % 2 === 0 ? one : other, `${at}.next`);
      renameSync(`${at}.next`, at);
    }, 3);
  },
  close() {
    db.close();
    db = null;
  },
};

createInterface({ input: process.stdin }).on('line', (line) => {
  const { command, ...options } = JSON.parse(line);
  let answer;
  try {
    answer = { value: commands[command](options) ?? null };
  } catch (error) {
    answer = { error: `${error.code ?? ''} ${error.message}` };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
});
