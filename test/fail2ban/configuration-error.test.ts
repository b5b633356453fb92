import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Run, spawn } from '../../src/fail2ban/client.js';
import {
  configurationTroubles,
  lastStartTrouble,
  troubleWords,
} from '../../src/fail2ban/configuration-error.js';
import { hasFail2ban, PrivateFail2ban } from '../commands/private-fail2ban.js';

const there = hasFail2ban();
if (!there) console.warn("SKIPPED what is wrong with fail2ban's configuration: fail2ban is not installed");

describe.skipIf(!there)("what is wrong with fail2ban's configuration, against its own start", () => {
  let fail2ban: PrivateFail2ban;
  let etc: string;
  let file: string;
  let run: Run;
  beforeAll(() => {
    fail2ban = new PrivateFail2ban();
    etc = join(fail2ban.directory, 'etc');
    file = join(etc, 'jail.local');
    run = (program, args) => spawn(join(fail2ban.directory, 'bin', program), args);
    writeFileSync(join(etc, 'filter.d/theirs.conf'), '[Definition]\nfailregex = ^refused <ADDR>$\n');
    writeFileSync(join(etc, 'filter.d/broken.conf'), '[Definition]\nfailregex = ^refused( <ADDR>$\n');
    writeFileSync(join(etc, 'theirs.log'), '');
  });
  afterAll(() => fail2ban.close());

  const theirs = (options: string) =>
    `[theirs]\nenabled = true\nfilter = theirs\nbackend = polling\naction = nothing\nlogpath = ETC/theirs.log\n${options}`;

  /** The jails that it has after a start; none if it does not come up. */
  async function started(): Promise<string> {
    await run('fail2ban-client', ['stop']);
    const start = await run('fail2ban-client', ['start']);
    if (start.exitCode !== 0) return '';
    const { stdout } = await run('fail2ban-client', ['status']);
    return /Jail list:\s*(.*)/.exec(stdout)?.[1] ?? '';
  }

  it.each<[string, string, string, string]>([
    ['nothing is', theirs(''), '', 'posternproxy, theirs'],
    [
      'a filter that is missing costs that jail alone',
      theirs('').replace('filter = theirs', 'filter = gone'),
      "starts; the jail theirs (FILE): Unable to read the filter 'gone'",
      'posternproxy',
    ],
    [
      'a log that is missing costs all jails',
      theirs('').replace('theirs.log', 'gone.log'),
      'down; the jail theirs (FILE): none of its log files exists (logpath ETC/gone.log)',
      '',
    ],
    [
      'a file that can not be read costs all jails',
      `${theirs('')}enabled = true\n`,
      "down; the jail theirs: While reading from 'FILE' [line 7]: option 'enabled' in section 'theirs' already exists",
      '',
    ],
    [
      'a filter that is missing costs all jails if there is no other',
      `[posternproxy]\nenabled = false\n${theirs('').replace('filter = theirs', 'filter = gone')}`,
      "down; the jail theirs (FILE): Unable to read the filter 'gone'",
      '',
    ],
  ])('%s', async (_, jail, expected, jails) => {
    writeFileSync(file, jail.replaceAll('ETC', etc));
    const found = (await configurationTroubles(etc, run)).map(
      (trouble) => `${trouble.keepsDown ? 'down' : 'starts'}; ${troubleWords(trouble)}`,
    );
    expect(found.join().replaceAll(file, 'FILE').replaceAll(etc, 'ETC').replace(/\s+/g, ' ')).toBe(expected);
    expect(await started()).toBe(jails);
  });

  it("finds an expression that does not compile in fail2ban's log, as it passes fail2ban's test", async () => {
    writeFileSync(file, theirs('').replace('filter = theirs', 'filter = broken').replaceAll('ETC', etc));
    expect(await started()).toBe('');
    expect(await configurationTroubles(etc, run)).toEqual([]);
    expect(await lastStartTrouble(etc, run)).toMatchObject({
      jail: 'theirs',
      file,
      why: expect.stringMatching(/^Unable to compile regular expression '\^refused\(/),
    });
    rmSync(file);
    expect(await started()).toBe('posternproxy');
    expect(await lastStartTrouble(etc, run)).toBeNull();
  });
});

it('finds nothing in a test of the configuration that timed out on a busy machine', async () => {
  expect(await configurationTroubles('/etc/fail2ban', late)).toEqual([]);
});

/** As execa tells of a program that it ended after the time it had. */
const late: Run = async () => {
  const { exitCode, stdout, stderr, timedOut } = await execa('sleep', ['60'], { timeout: 50, reject: false });
  return { exitCode, stdout, stderr, timedOut };
};
