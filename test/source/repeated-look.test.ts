import { linkSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { RepeatedLook, stateOfFiles } from '../../src/source/file-state.js';
import { temporaryDirectory } from './postern-fixture.js';

/** Two directories with a database each, and a link that leads to the first. */
function linked() {
  const home = temporaryDirectory(onTestFinished);
  for (const name of ['a', 'b']) {
    mkdirSync(join(home, name));
    writeFileSync(join(home, name, 'posternproxy.db'), `of ${name}`);
  }
  const link = join(home, 'link');
  symlinkSync('a', link);
  const database = join(link, 'posternproxy.db');
  const turn = () => {
    symlinkSync('b', `${link}.new`);
    renameSync(`${link}.new`, link);
  };
  return { home, database, turn, files: new RepeatedLook(database) };
}

test('each cached stat equals a stat that resolves the path', () => {
  const { home, database, files } = linked();
  for (let at = 0; at < 30; at++) {
    if (at === 3) writeFileSync(join(home, 'a', 'posternproxy.db-wal'), 'x');
    if (at === 5) writeFileSync(join(home, 'a', 'posternproxy.db-wal'), 'xy');
    if (at === 7) writeFileSync(join(home, 'a', 'posternproxy.db-journal'), 'x');
    if (at === 9) writeFileSync(join(home, 'a', 'posternproxy.db'), 'longer');
    if (at === 14) rmSync(join(home, 'a', 'posternproxy.db'));
    if (at === 16) writeFileSync(join(home, 'a', 'posternproxy.db'), 'another');
    expect(files.look(), String(at)).toEqual(stateOfFiles(database));
  }
});

test('a retargeted link is noticed at the next stat', () => {
  const { home, database, turn, files } = linked();
  files.look();
  files.look();
  turn();
  expect(files.look()).toEqual(stateOfFiles(database));
  expect(files.look()?.path).toBe(join(home, 'b', 'posternproxy.db'));
});

test('a link retargeted to the same file elsewhere is noticed within ten stats', () => {
  const { home, turn, files } = linked();
  rmSync(join(home, 'b', 'posternproxy.db'));
  linkSync(join(home, 'a', 'posternproxy.db'), join(home, 'b', 'posternproxy.db'));
  files.look();
  turn();
  const paths = Array.from({ length: 10 }, () => files.look()?.path);
  expect(paths.at(-1)).toBe(join(home, 'b', 'posternproxy.db'));
});
