import fs from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createFail2banSink } from '../../../src/sinks/files/fail2ban-sink.js';
import { createFileSink, type FileSinkDeps } from '../../../src/sinks/files/file-sink.js';
import { realDisk } from '../../../src/sinks/files/filesystem.js';
import { deliverEvents } from '../../support/deliver.js';
import {
  batch,
  dependencies,
  fail2banConfig,
  fileConfig,
  NEVER,
  temporaryDirectory,
} from './files-fixture.js';

let directory: string;
beforeEach(() => {
  directory = temporaryDirectory();
});
afterEach(() => fs.rmSync(directory, { recursive: true }));

async function found(
  over: Partial<FileSinkDeps> = {},
  group: string | null = null,
  at = path.join(directory, 'audit'),
) {
  return createFileSink(fileConfig(at, {}, group), dependencies(over).deps).check();
}

const worse = (findings: Awaited<ReturnType<typeof found>>) =>
  findings.filter((finding) => finding.level !== 'ok');

describe('check', () => {
  it('check changes nothing, and reports that the directory will be created', async () => {
    const findings = await found();
    expect(worse(findings)).toEqual([]);
    expect(findings[0]?.what).toMatch(/audit will be created in /);
    expect(fs.readdirSync(directory)).toEqual([]);
  });

  it('check accepts the files of the sinks', async () => {
    const file = createFileSink(fileConfig(path.join(directory, 'audit')), dependencies().deps);
    const pair = createFail2banSink(
      fail2banConfig(path.join(directory, 'auth')),
      { never_ban: [], ipv6_prefix: 128 },
      dependencies().deps,
    );
    for (const sink of [file, pair]) {
      await sink.open(null);
      await deliverEvents(sink, batch(1, 3), NEVER);
      expect(worse(await sink.check())).toEqual([]);
      await sink.close();
    }
  });

  it.each<[string, () => void, RegExp, RegExp]>([
    [
      'a file in its place',
      () => fs.writeFileSync(path.join(directory, 'audit'), ''),
      /audit is not a directory/,
      /move .*audit away/,
    ],
    [
      'other files',
      () => {
        fs.mkdirSync(path.join(directory, 'audit'));
        fs.writeFileSync(path.join(directory, 'audit', 'notes.txt'), '');
      },
      /other files in .*: notes\.txt/,
      /leaves them alone/,
    ],
  ])('check reports %s', async (_, make, what, next) => {
    make();
    const [finding] = worse(await found());
    expect(finding?.what).toMatch(what);
    expect(finding?.next).toMatch(next);
  });

  it('check reports a disk that is nearly full', async () => {
    const [finding] = worse(
      await found({
        minFree: 2 ** 30,
        disk: { ...realDisk, space: () => ({ total: 2 ** 40, free: 2 ** 20 }) },
      }),
    );
    expect(finding).toMatchObject({
      level: 'error',
      what: expect.stringMatching(/^1 MB free for .*, 1024 MB must stay free/),
    });
  });

  it('check reports a missing group', async () => {
    const [finding] = worse(await found({}, 'no-such-group'));
    expect(finding).toMatchObject({
      level: 'warning',
      what: expect.stringContaining('the group no-such-group does not exist'),
    });
  });
});

describe.skipIf(process.getuid?.() !== 0)('as root', () => {
  it('files and directory belong to the configured group', async () => {
    const at = path.join(directory, 'audit');
    const sink = createFileSink(fileConfig(at, {}, 'adm'), dependencies().deps);
    await sink.open(null);
    const adm = Number(/^adm:[^:]*:(\d+)/m.exec(fs.readFileSync('/etc/group', 'utf8'))?.[1]);
    expect(fs.statSync(at).gid).toBe(adm);
    expect(fs.statSync(path.join(at, 'audit.00000001.log')).gid).toBe(adm);
    await sink.close();
  });
});
