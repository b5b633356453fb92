import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { answer, freePort, listen, relpServer } from './receivers.js';
import { syslog } from './syslog-fixture.js';

const running: Array<{ close(): Promise<void> }> = [];

afterEach(async () => {
  for (const each of running.splice(0)) await each.close();
});

async function check(config: Record<string, unknown>) {
  const findings = await syslog({ connect_timeout: '1s', ...config }).check();
  return findings.map(
    ({ level, what, next }) => `${level}: ${what}${next === undefined ? '' : ` → ${next}`}`,
  );
}

describe('check', () => {
  it('check connects to each target and sends no event', async () => {
    const got: Buffer[] = [];
    const server = await listen((socket) => socket.on('data', (data: Buffer) => got.push(data)));
    running.push(server);
    const dead = await freePort();
    expect(
      await check({
        transport: 'tcp',
        targets: [server.target, `127.0.0.1:${dead}`, 'no-such-host.invalid:514'],
        connect_timeout: '30s',
      }),
    ).toEqual([
      expect.stringMatching(/^ok: 127\.0\.0\.1:\d+: connected in \d+ ms$/),
      `error: 127.0.0.1:${dead}: it refused the connection (ECONNREFUSED) → Start the collector, or correct its port in the configuration`,
      expect.stringMatching(
        /^error: no-such-host\.invalid:514: its name .* → Check the (name in the configuration|DNS)/,
      ),
    ]);
    expect(got).toEqual([]);
  });

  it('check opens a RELP session and closes it', async () => {
    const server = await relpServer();
    running.push(server);
    expect(await check({ transport: 'relp', targets: [server.target] })).toEqual([
      expect.stringMatching(/^ok: .*: connected in \d+ ms \(RELP\), its software is test 1$/),
    ]);
    expect(server.got.map(({ command }) => command)).toEqual(['open', 'close']);
  });

  it('check reports why a RELP session was rejected', async () => {
    const server = await relpServer(({ command, txnr }) =>
      command === 'open' ? answer(txnr, '500 go away') : undefined,
    );
    running.push(server);
    expect(await check({ transport: 'relp', targets: [server.target] })).toEqual([
      expect.stringMatching(/^error: .* refused the RELP session: 500 go away → Check the collector's log$/),
    ]);
  });

  it('check resolves the name of a UDP collector, and claims nothing about delivery', async () => {
    expect(await check({ transport: 'udp', targets: ['localhost:514'] })).toEqual([
      expect.stringMatching(
        /^ok: localhost:514: its address(es are| is) (::1|127\.0\.0\.1)\b.*\. UDP does not tell/,
      ),
    ]);
    expect(
      await check({ transport: 'udp', targets: ['localhost:514'], max_message_size: '8K' }),
    ).toContainEqual(
      expect.stringMatching(/^warning: .*8192 bytes are fragmented.* → Set max_message_size to 1400B/),
    );
  });

  it('check tests unix sockets', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'postern-check-'));
    const path = join(directory, 'log');
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(path, resolve));
    try {
      const file = join(directory, 'file');
      writeFileSync(file, '');
      expect(await check({ transport: 'unix-stream', targets: [path, `${path}2`] })).toEqual([
        expect.stringMatching(/^ok: .*\/log: connected in/),
        expect.stringMatching(/^error: .*\/log2: the socket does not exist \(ENOENT\) → Start the receiver/),
      ]);
      expect(await check({ transport: 'unix', targets: [path, `${path}2`, file] })).toEqual([
        expect.stringMatching(/^ok: .*\/log: the socket exists/),
        expect.stringMatching(/^error: .*\/log2: the socket does not exist/),
        expect.stringMatching(/^error: .*\/file is not a socket/),
      ]);
    } finally {
      server.close();
      rmSync(directory, { recursive: true });
    }
  });
});
