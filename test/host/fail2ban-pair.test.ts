import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { expect, it } from 'vitest';
import type { AuditEvent } from '../../src/audit/event.js';
import { config, fail2banSink } from '../../src/config/schema.js';
import { createFail2banSink } from '../../src/sinks/files/fail2ban-sink.js';
import type { Sink } from '../../src/sinks/sink.js';
import { event } from '../fail2ban/failures.js';
import { deliverEvents } from '../support/deliver.js';
import { authDirectory, counted, startFail2ban, waitForCount } from './fail2ban.js';
import { bootHost, describeHost, type Host, type Suite } from './host.js';

const MINUTE = 60_001;

/** Nobody is banned, because this test counts single failures. */
const neverBans = { max_retry: 1_000_000, find_time: '1d' };

/**
 * The real sink on this side of a bind mount, and fail2ban on the other. The sink rotates at the first event after a minute, and its
 * clock is moved forward by one for each rotation. If a minute would give fail2ban the time to read the idle file, the test waits
 * until it has. At the end the clock is ahead of fail2ban's, which does not affect the count.
 */
class Writer {
  private readonly sink: Sink;
  private ahead = 0;
  private sequence = 0;
  /** Addresses of the failures that fail2ban must count, one failure each. */
  readonly written: string[] = [];

  constructor(directory: string) {
    this.sink = createFail2banSink(
      fail2banSink.parse({ type: 'fail2ban', directory, roll: { size: '1B' }, mode: '0644', group: null }),
      config.parse({ fail2ban: { ipv6_prefix: 128 } }).fail2ban, // each address alone
      { name: 'auth', clock: () => this.now(), minFree: 0, log: pino({ level: 'silent' }) },
    );
  }

  now(): number {
    return Date.now() + this.ahead;
  }

  open(): Promise<unknown> {
    return this.sink.open(null);
  }

  close(): Promise<void> {
    return this.sink.close();
  }

  get rolled(): number {
    return Number(this.sink.figures().rolled_total);
  }

  roll(): void {
    this.ahead += MINUTE;
  }

  async fail(count: number, over: Partial<AuditEvent> = {}): Promise<void> {
    const events = Array.from({ length: count }, () => {
      this.sequence++;
      const address = `fd77:1::${Math.floor(this.sequence / 0x10000).toString(16)}:${(this.sequence % 0x10000).toString(16)}`;
      const id = this.sequence.toString(16).padStart(32, '0');
      return event({ sequence: this.sequence, id, address, time: this.now(), ingested: this.now(), ...over });
    });
    if (Object.keys(over).length === 0) this.written.push(...events.map(({ address }) => String(address)));
    const batch = { source: 'postern', timeline: 1, events, upTo: this.sequence } as const;
    expect((await deliverEvents(this.sink, batch, AbortSignal.timeout(60_000))).upTo).toBe(this.sequence);
  }
}

/** The addresses that fail2ban's log reports as found. An address counted twice is in the result twice. */
async function found(host: Host): Promise<string[]> {
  const { stdout } = await host.exec(
    "grep -oP '\\[posternproxy\\] Found \\K\\S+' /var/log/fail2ban.log || :",
  );
  return stdout.split('\n').filter((line) => line !== '');
}

/** Compares the found with the written failures: equal, or the difference as text. */
async function compare(host: Host, written: readonly string[]): Promise<string> {
  const times = new Map<string, number>();
  for (const address of await found(host)) times.set(address, (times.get(address) ?? 0) + 1);
  const known = new Set(written.map(normal));
  const lost = [...known].filter((address) => !times.has(address)).length;
  const twice = [...times.values()].filter((n) => n > 1).length;
  const strange = [...times.keys()].filter((address) => !known.has(address)).length;
  return `${written.length} written, ${lost} lost, ${twice} twice, ${strange} never written`;
}

/** The address in the notation of inet_ntop(3): `fd77:1::0:5` is `fd77:1::5`. */
function normal(address: string): string {
  return address.replace('::0:', '::');
}

async function run(suite: Suite, backend: 'polling' | 'pyinotify'): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'pa-pair-'));
  let host: Host | null = null;
  const writer = new Writer(directory);
  try {
    host = await bootHost({
      suite,
      name: `pair-${suite}-${backend}`,
      binds: [`${directory}:${authDirectory}`],
    });
    await writer.open();
    await startFail2ban(host, neverBans, { pair: false, backend });
    expect((await host.exec('cat /var/log/fail2ban.log')).stdout).toContain(`Initiated '${backend}' backend`);
    const clean = (n: number) => `${n} written, 0 lost, 0 twice, 0 never written`;

    // 200 failures a second, ten rotations.
    let idle = 0;
    for (let roll = 0; roll < 10; roll++) {
      await waitForCount(host, idle, 60);
      idle = writer.written.length;
      writer.roll();
      for (let tick = 0; tick < 20; tick++) {
        const next = sleep(50);
        await writer.fail(10);
        await next;
      }
    }
    expect(writer.rolled).toBeGreaterThanOrEqual(9);
    await waitForCount(host, writer.written.length, 60);

    // A burst.
    for (let burst = 0; burst < 30; burst++) await writer.fail(1_000);
    await waitForCount(host, writer.written.length, 120);

    // Failures that fail2ban must not see: old, in the future, without a readable time.
    const before = writer.written.length;
    await writer.fail(1);
    for (const time of [writer.now() - 51_000, writer.now() - 86_400_000, writer.now() + 60_000, null]) {
      await writer.fail(5, { time });
    }
    await writer.fail(1);
    await waitForCount(host, before + 2);
    await sleep(1_500);
    expect(await counted(host)).toBe(before + 2);
    expect(await compare(host, writer.written)).toBe(clean(before + 2));

    // fail2ban is stopped during a rotation.
    await host.exec('systemctl stop fail2ban');
    await writer.fail(330);
    writer.roll();
    await writer.fail(330);
    await host.exec('systemctl start fail2ban');
    await host.waitFor('fail2ban-client status', (out) => out.includes('posternproxy'));
    await waitForCount(host, 660, 60);
    await sleep(1_500);
    expect(await compare(host, writer.written)).toBe(clean(writer.written.length));
  } finally {
    await writer.close();
    await host?.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

describeHost(
  'fail2ban counts each failure that was written to the pair once, over ten rolls, a burst and a stop',
  () => {
    it.concurrent.each([
      ['bookworm', 'polling'],
      ['bookworm', 'pyinotify'],
      ['trixie', 'polling'],
    ] as const)('fail2ban counts each failure of the pair once: %s, %s', run);
  },
);
