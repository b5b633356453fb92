import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { Host } from './host.js';
import { FIFO } from './release.js';

const CONFIG = '/etc/postern-auditd/config.yml';
const COMMAND = '/opt/postern-auditd/bin/postern-auditd';
/** The receiver, outside of the guest. */
const RECEIVER = { address: '10.77.0.1', port: 8_090 };
const PATHS: Readonly<Record<string, string>> = {
  ntfy: '/postern',
  discord: '/api/webhooks/1/x',
  slack: '/services/T/B/x',
  apprise: '/notify/key',
  json: '/json',
};
/** A name that mentions everybody, links, is bold, and tries to end its text in JSON. */
const USER = '@everyone <!channel> [log in](https://evil.example) **x** ","topic":"other';

interface Message {
  /** ms since the epoch */
  readonly at: number;
  readonly path: string;
  readonly isRight: boolean;
  readonly body: string;
}

/**
 * Five failed logins and then a successful one, by an attacker: fail2ban bans, and a webhook of each preset tells who got in. Leaves the
 * configuration as it was.
 *
 * @returns milliseconds from the successful login to the first message of each preset
 */
export async function tellOfBreakIn(host: Host, attacker: string): Promise<Readonly<Record<string, number>>> {
  const directory = mkdtempSync(join(tmpdir(), 'pa-inbox-'));
  const file = join(directory, 'received');
  const { address, port } = RECEIVER;
  const received = (): Message[] => {
    const lines = readFileSync(file, { encoding: 'utf8', flag: 'a+' }).split('\n').slice(0, -1);
    return lines.map((line) => JSON.parse(line) as Message);
  };
  await host.outside('client', ['ip', 'addr', 'replace', `${address}/16`, 'dev', 'eth0']);
  host.start('client', [
    process.execPath,
    join(import.meta.dirname, 'inbox.mjs'),
    address,
    String(port),
    file,
  ]);
  const sinks = Object.entries(PATHS).map(
    ([preset, path]) =>
      `  ${preset}: { type: webhook, preset: ${preset}, url: "http://${address}:${port}${path}" }\n`,
  );
  try {
    await host.exec(`cp -a ${CONFIG} /root/without-webhooks.yml`);
    await host.write('/root/webhooks.yml', sinks.join(''));
    await host.exec(`sed -i '/^sinks:/r /root/webhooks.yml' ${CONFIG}`);
    await host.exec('systemctl reload postern-auditd');
    await host.waitFor(`${COMMAND} status --json`, (out) =>
      Object.keys(PATHS).every((name) => out.includes(`"${name}"`)),
    );

    const row = (action: string, count: number) =>
      JSON.stringify({ ip: attacker, user: USER, action, count });
    await host.exec(['sh', '-c', `cat >${FIFO}`], { input: `${row('login_failure', 5)}\n` });
    const since = Date.now();
    await host.exec(['sh', '-c', `cat >${FIFO}`], { input: `${row('login_success', 1)}\n` });
    const deadline = since + 60_000;
    while (received().length < sinks.length && Date.now() < deadline)
      await new Promise((wake) => setTimeout(wake, 50));

    const messages = received();
    expect(messages.filter(({ isRight }) => !isRight)).toEqual([]);
    const first = Object.keys(PATHS).map((preset) => {
      const path = preset === 'ntfy' ? '/' : PATHS[preset];
      const message = messages.find((one) => one.path === path);
      if (message === undefined) throw new Error(`no message to ${preset} within a minute`);
      expectHarmless(preset, message.body);
      return [preset, message.at - since] as const;
    });
    await host.waitFor('fail2ban-client status posternproxy', (out) => out.includes(attacker));
    return Object.fromEntries(first);
  } finally {
    await host.exec(`cp -a /root/without-webhooks.yml ${CONFIG}; systemctl reload postern-auditd`);
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Where each preset has the sentences. Discord's have a backslash before what would be markup. */
const TEXTS: Readonly<Record<string, (body: never) => string>> = {
  ntfy: ({ message }: { message: string }) => message,
  discord: ({ embeds }: { embeds: Array<{ description: string }> }) => {
    const description = embeds[0]?.description ?? '';
    expect(description.replace(/\\[!-/:-@[-`{-~]/g, '')).not.toMatch(/[!-/:-@[-`{-~]/);
    return description.replace(/\\(.)/g, '$1');
  },
  slack: ({ blocks }: { blocks: Array<{ text: { text: string } }> }) => blocks[1]?.text.text ?? '',
  apprise: ({ body }: { body: string }) => body,
  json: ({ text }: { text: string }) => text,
};

/** The message tells of the login, is urgent, and the user's name is a text in it, with nothing left out and nothing added. */
function expectHarmless(preset: string, body: string): void {
  const sent = JSON.parse(body) as never;
  expect(TEXTS[preset]?.(sent)).toMatch(
    /^Login after failed attempts by ".*" from 10\.77\.[\d.]+ on guest \[alert\.login_after_failures, auditd:\d+\]$/,
  );
  expect(TEXTS[preset]?.(sent)).toContain(`"${USER.replaceAll('"', '\\"')}"`);
  if (preset === 'ntfy') expect(sent).toMatchObject({ topic: 'postern', priority: 5 });
  if (preset === 'apprise') expect(sent).toMatchObject({ type: 'failure' });
  if (preset === 'slack') expect(sent).toMatchObject({ text: expect.not.stringMatching(/[<>]/) });
}
