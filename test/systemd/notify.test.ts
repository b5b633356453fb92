import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createNotifier } from '../../src/systemd/notify.js';
import { startHeartbeat } from '../../src/systemd/watchdog.js';

interface Receiver {
  bind(path: string): void;
  on(event: 'data', listener: (data: Buffer) => void): void;
  close(): void;
}

let directory: string;
let path: string;
let receiver: Receiver;
let heard: string[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'postern-notify-'));
  path = join(directory, 'notify.sock');
  const { DgramSocket } = createRequire(import.meta.url)('node-unix-socket') as {
    DgramSocket: new () => Receiver;
  };
  receiver = new DgramSocket();
  receiver.bind(path);
  heard = [];
  receiver.on('data', (data) => heard.push(data.toString()));
});

afterEach(() => {
  receiver.close();
  rmSync(directory, { recursive: true, force: true });
});

async function until(wanted: () => boolean): Promise<void> {
  for (let tries = 0; !wanted() && tries < 500; tries++) await sleep(10);
  expect(wanted(), heard.join(' | ')).toBe(true);
}

describe('sd_notify', () => {
  it('reaches the socket that systemd names', async () => {
    const notifier = createNotifier({ NOTIFY_SOCKET: path, WATCHDOG_USEC: '30000000' });
    expect(notifier.watchdogMs).toBe(30_000);
    notifier.notify({ READY: '1', STATUS: 'all\nwell' });
    await until(() => heard.includes('READY=1\nSTATUS=all well'));
    notifier.close();
  });

  it('does nothing without systemd, and is not watched in place of another process', () => {
    const quiet = createNotifier({});
    expect(quiet.active).toBe(false);
    quiet.notify({ READY: '1' });
    expect(createNotifier({ WATCHDOG_USEC: '1000', WATCHDOG_PID: '1' }).watchdogMs).toBeNull();
  });

  it('survives a socket that nobody reads', () => {
    const notifier = createNotifier({ NOTIFY_SOCKET: join(directory, 'nobody') });
    notifier.notify({ READY: '1' });
    notifier.close();
  });
});

describe('the watchdog', () => {
  it('is fed while all is well, and not while something hangs', async () => {
    const notifier = createNotifier({ NOTIFY_SOCKET: path, WATCHDOG_USEC: '80000' });
    let hung: string[] = [];
    const heartbeat = startHeartbeat({
      notifier,
      hung: () => hung,
      statusLine: () => 'fine',
      log: pino({ level: 'silent' }),
    });
    await until(() => heard.filter((text) => text.includes('WATCHDOG=1')).length > 3);
    hung = ['sink siem: delivering, 31 s over its time'];
    await until(() => heard.some((text) => text.includes('STATUS=hung: sink siem')));
    heard = [];
    await sleep(200);
    expect(heard.filter((text) => text.includes('WATCHDOG'))).toEqual([]);
    hung = [];
    await until(() => heard.some((text) => text.includes('WATCHDOG=1')));
    heartbeat.stop();
    notifier.close();
  });
});
