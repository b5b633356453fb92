import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CLI } from '../../commands/cli.js';
import { DaemonRig } from '../../daemon/daemon-fixture.js';
import { answer, type RelpScript, relpServer, type TestServer } from './receivers.js';

// A collector that has been broken into, or another program at its port: what it says comes before the eyes of whoever asks what is wrong.

/** Clears the screen, names the window, rings, colours by a C1, turns the writing round, hides, ends the line. */
const HOSTILE =
  '\u001b[2J\u001b]0;owned\u0007\u009b31mred\u202eesrever\u200bhidden\u2028line\rover\u0085next';
/** Written apart from the list of the sources. */
const RAW =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/;

const opens = (txnr: string, text: string) =>
  answer(txnr, `200 OK\nrelp_version=0\nrelp_software=${text}\ncommands=syslog`);
const SCRIPTS: Readonly<Record<string, RelpScript>> = {
  refuses: ({ command, txnr }) =>
    command === 'open' ? answer(txnr, `500 no ${HOSTILE}\n${HOSTILE}`) : undefined,
  rejects: ({ command, txnr }) =>
    command === 'syslog' ? answer(txnr, `500 no ${HOSTILE}\n${HOSTILE}`) : undefined,
  calls: ({ command, txnr }) => (command === 'open' ? opens(txnr, `rsyslog ${HOSTILE}`) : undefined),
  lacks: ({ command, txnr }) =>
    command === 'open'
      ? answer(txnr, `200 OK\nrelp_version=0\nrelp_software=${HOSTILE}\ncommands=${HOSTILE}`)
      : undefined,
  nonsense: ({ command, txnr }) => (command === 'open' ? answer(txnr, `${HOSTILE}\n${HOSTILE}`) : undefined),
  speaks: ({ command }) => (command === 'open' ? `${HOSTILE}\n${HOSTILE}\n` : undefined),
};
const WRONG = Object.keys(SCRIPTS).filter((name) => name !== 'calls');

let rig: DaemonRig;
let servers: TestServer[] = [];

beforeAll(async () => {
  rig = new DaemonRig();
  const started = Object.entries(SCRIPTS).map(
    async ([name, script]) => [name, await relpServer(script)] as const,
  );
  const named = await Promise.all(started);
  servers = named.map(([, server]) => server);
  const sinks = named.map(
    ([name, { target }]) =>
      `  ${name}: { type: syslog, transport: relp, targets: ["${target}"], start: beginning }`,
  );
  const before = readFileSync(rig.configPath, 'utf8');
  writeFileSync(rig.configPath, before.replace('sinks:', `sinks:\n${sinks.join('\n')}`));
  rig.append(3);
  await rig.start();
  await rig.until(
    ({ sinks: all }) => WRONG.every((name) => (all[name]?.last_error ?? null) !== null),
    'the errors of all',
  );
}, 120_000);

afterAll(async () => {
  await rig.close();
  for (const server of servers) await server.close();
});

/** Not by a call that waits: the collectors are in this process. @returns all that it says */
function ask(...args: string[]): Promise<string> {
  const child = spawn(process.execPath, [CLI, ...args, '--config', rig.configPath], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
  return new Promise((done) => child.once('close', () => done(said)));
}

/** Each line is one of ours, and nothing in it moves the cursor. */
function expectSafe(text: string): void {
  expect(text.split('\n').filter((line) => RAW.test(line))).toEqual([]);
}

describe('what a hostile collector answers over RELP is written out', () => {
  it('in status, on a terminal', async () => {
    expectSafe(await ask('status'));
    const out = await ask('status', '--verbose');
    expectSafe(out);
    for (const name of ['refuses', 'rejects'])
      expect(out).toMatch(new RegExp(`sink ${name}[^]*?last error .*\\\\x1b\\[2J`));
  });

  it('in status --json, which shows the same', async () => {
    const out = await ask('status', '--json');
    expectSafe(out);
    const { sinks } = JSON.parse(out) as { sinks: Record<string, { last_error: { message: string } }> };
    expect(sinks.refuses?.last_error.message).toContain('owned');
  });

  it('in the log', () => {
    expect(rig.output).toContain('owned');
    expectSafe(rig.output);
  });

  it.each([[[]], [['--json']]])('in check %s, which asks it itself', async (options) => {
    const out = await ask('check', ...options);
    expectSafe(out);
    expect(out).toContain('owned');
    expect(out).toContain('its software is rsyslog');
  });

  it('in the files', () => {
    const directory = join(rig.place, 'audit');
    const names = readdirSync(directory).filter((name) => name.endsWith('.log'));
    expect(names.length).toBeGreaterThan(0);
    for (const name of names) expectSafe(readFileSync(join(directory, name), 'utf8'));
  });
});
