import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { failure } from '../files/files-fixture.js';
import { Authority } from './certificates.js';
import { OtherHost, withoutNamespaces } from './namespace.js';
import { freeRsyslogPorts, type Ports, Rsyslog, withoutRsyslog } from './rsyslog.js';
import { Shipping, syslog } from './syslog-fixture.js';

/** Within 30 s it must be noticed; a slow machine gets some more. */
const NOTICED_MS = 45_000;
/** How long it lasts at least: as long as it takes to be noticed, unless more is asked for. */
const LASTS_MS = Number(process.env.SYSLOG_SILENCE_MS ?? 0);
/** How long the link is down. */
const LINK_DOWN_MS = Number(process.env.SYSLOG_LINK_DOWN_MS ?? 3_000);
const LIMIT_MS = 600_000 + 2 * (LASTS_MS + LINK_DOWN_MS);
const list = Array.from({ length: 400_000 }, (_, n) => failure(n + 1));
const message = (event: { sequence: number }) => `<86>1 - ${event.sequence} ${'x'.repeat(200)}`;

/** Ships up to `upTo()` for as long as it runs, and ticks in between, as the loop in src/shipping does. */
class Runner {
  upTo = 0;
  private ended = false;
  private readonly running: Promise<void>;

  constructor(readonly shipping: Shipping) {
    this.running = this.run();
  }

  /** How long until the first error from now on, ms. */
  async untilError(): Promise<number> {
    const { errors } = this.shipping;
    const [before, started] = [errors.length, performance.now()];
    while (errors.length === before && performance.now() - started < NOTICED_MS) await sleep(50);
    if (errors.length === before) {
      const figures = JSON.stringify(this.shipping.sink.figures());
      throw new Error(
        `not noticed within ${NOTICED_MS / 1_000} s, at event ${this.shipping.cursor}: ${figures}`,
      );
    }
    return performance.now() - started;
  }

  async untilShipped(upTo: number): Promise<void> {
    this.upTo = upTo;
    while (this.shipping.cursor < upTo) await sleep(20);
  }

  async end(): Promise<void> {
    this.ended = true;
    await this.running;
    await this.shipping.sink.close();
  }

  private async run(): Promise<void> {
    while (!this.ended) {
      await this.shipping.step(this.upTo);
      if (this.shipping.cursor >= this.upTo) await sleep(50);
    }
  }
}

function missingRows(lines: readonly string[], upTo: number): number[] {
  const found = new Set(lines.map((line) => Number(line.split(' ')[2])));
  return list.slice(0, upTo).flatMap(({ sequence }) => (found.has(sequence) ? [] : [sequence]));
}

function kinds(ports: Ports, host: string, ca: string) {
  return {
    tcp: { transport: 'tcp', targets: [`${host}:${ports.tcp}`], connect_timeout: '3s' },
    tls: { transport: 'tls', targets: [`${host}:${ports.tls}`], tls: { ca }, connect_timeout: '3s' },
    relp: { transport: 'relp', targets: [`${host}:${ports.relp}`], connect_timeout: '3s' },
  } as const;
}

describe.concurrent('a collector that falls silent is noticed within 30 s, and nothing is lost', () => {
  let authority: Authority;

  beforeAll(() => {
    authority = new Authority();
  });

  afterAll(() => authority.remove());

  describe.skipIf(withoutRsyslog())('because it hangs', () => {
    it(
      'over TCP, TLS and RELP',
      async ({ expect }) => {
        const ports = await freeRsyslogPorts();
        const server = authority.issue('hanging', 'IP:127.0.0.1');
        const rsyslog = new Rsyslog({ ports, server, ca: authority.cert });
        const runners: Runner[] = [];
        try {
          await rsyslog.start();
          const all = Object.entries(kinds(ports, '127.0.0.1', authority.cert)).map(([kind, config]) => {
            const runner = new Runner(new Shipping(syslog(config, message), list, 200));
            runners.push(runner);
            return { kind: kind as 'tcp' | 'tls' | 'relp', runner };
          });
          await Promise.all(all.map(({ runner }) => runner.untilShipped(1_000)));
          rsyslog.signal('SIGSTOP');
          const lasted = sleep(LASTS_MS);
          // As much as the kernels take, which is megabytes.
          for (const { runner } of all) runner.upTo = list.length;
          const noticed = await Promise.all(all.map(({ runner }) => runner.untilError()));
          console.info(
            'hung: noticed after',
            Object.fromEntries(all.map(({ kind }, n) => [kind, Math.round(noticed[n] ?? 0)])),
            'ms',
          );
          for (const { runner } of all)
            expect(runner.shipping.errors[0]).toMatch(/acknowledged or read|not answered for/);
          await lasted;
          rsyslog.signal('SIGCONT');
          const upTo = 60_000;
          for (const { runner } of all) runner.upTo = Math.max(upTo, runner.shipping.cursor);
          await Promise.all(all.map(({ runner }) => runner.untilShipped(runner.upTo)));
          for (const { kind } of all) {
            await expect
              .poll(() => missingRows(rsyslog.lines(kind), upTo), { timeout: 30_000, interval: 500 })
              .toEqual([]);
          }
        } finally {
          for (const runner of runners) await runner.end();
          await rsyslog.close();
        }
      },
      LIMIT_MS,
    );
  });

  describe.skipIf(withoutRsyslog() || withoutNamespaces())('because the network is cut', () => {
    it(
      'over TCP, TLS and RELP, idle and not',
      async ({ expect }) => {
        const ports = await freeRsyslogPorts();
        const host = new OtherHost();
        const server = authority.issue('cut', `IP:${host.address}`);
        const rsyslog = new Rsyslog({ ports, server, ca: authority.cert, namespace: host });
        const runners: Runner[] = [];
        try {
          await rsyslog.start();
          const make = (config: Record<string, unknown>) => {
            const runner = new Runner(new Shipping(syslog(config, message), list, 200));
            runners.push(runner);
            return runner;
          };
          const configs = kinds(ports, host.address, authority.cert);
          const busy = Object.entries(configs).map(([kind, config]) => ({ kind, runner: make(config) }));
          const idle = { kind: 'idle', runner: make(configs.relp) };
          await Promise.all([...busy, idle].map(({ runner }) => runner.untilShipped(1_000)));
          host.cut();
          const lasted = sleep(LASTS_MS);
          // A trickle: the kernel takes it all, and no write ever blocks.
          const trickle = setInterval(() => {
            for (const { runner } of busy) runner.upTo += 10;
          }, 500);
          const noticed = await Promise.all([...busy, idle].map(({ runner }) => runner.untilError()));
          clearInterval(trickle);
          console.info(
            'cut: noticed after',
            Object.fromEntries([...busy, idle].map(({ kind }, n) => [kind, Math.round(noticed[n] ?? 0)])),
            'ms',
          );
          await lasted;
          host.mend();
          const expectAll = async (upTo: number) => {
            await Promise.all(busy.map(({ runner }) => runner.untilShipped(upTo)));
            for (const { kind } of busy) {
              await expect
                .poll(() => missingRows(rsyslog.lines(kind as 'tcp'), upTo), {
                  timeout: 30_000,
                  interval: 500,
                })
                .toEqual([]);
            }
          };
          await expectAll(10_000);
          host.setLink('down');
          for (const { runner } of busy) runner.upTo = 20_000;
          await sleep(LINK_DOWN_MS);
          host.setLink('up');
          await expectAll(20_000);
        } finally {
          for (const runner of runners) await runner.end();
          await rsyslog.close();
          host.remove();
        }
      },
      LIMIT_MS,
    );
  });
});
