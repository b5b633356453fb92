import { afterEach, describe, expect, it } from 'vitest';
import { BrokenRequests } from '../../../src/sinks/http/broken-requests.js';
import { configFor, HttpRig } from './http-fixture.js';
import { FaultyReceiver, type ReceiverOptions } from './receiver.js';

const RESET = { fault: 'reset' } as const;
const PROTOCOLS = ['elasticsearch', 'otlp', 'splunk-hec'] as const;
let rig: HttpRig | null = null;
let receiver: FaultyReceiver | null = null;

afterEach(async () => {
  await rig?.close();
  await receiver?.close();
});

async function rigFor(protocol: ReceiverOptions['protocol'], more: Record<string, unknown> = {}) {
  receiver = await FaultyReceiver.start({ protocol });
  rig = new HttpRig(configFor(receiver, protocol, more));
  return { receiver, rig };
}

/** How many rows of `append` it has stored. The daemon's own events come when they come. */
function ordinary({ documents }: FaultyReceiver): number {
  return [...documents.values()].filter((text) => text.includes('proxy_host') || text.includes('login'))
    .length;
}

describe('a receiver that refuses a size by breaking the connection', () => {
  it.each(['elasticsearch'] as const)(
    '%s: gets smaller requests, with all events and all of each',
    async (protocol) => {
      const made = await rigFor(protocol);
      made.receiver.fault = ({ body }) => (body.length > 20_000 ? RESET : null);
      made.rig.append(2_000);
      await made.rig.start();
      await made.rig.shipped();
      expect(made.receiver.stored.size).toBe(2_000);
      expect([...made.receiver.documents.values()].filter((text) => text.includes('truncated'))).toEqual([]);
      const { request_limit_bytes: limit } = made.rig.status.figures;
      expect(limit).toBeLessThanOrEqual(20_000);
      expect(limit).toBeGreaterThan(4_000);
      const bytes = [...made.receiver.documents.values()].reduce((sum, text) => sum + text.length, 0);
      console.info(`${protocol}: ${made.receiver.requests.length} requests for ${bytes} bytes`);
      expect(made.receiver.requests.length).toBeLessThan(bytes / 5_000 + 50);
      expect(made.rig.ownEvents('event_refused')).toEqual([]);
    },
  );

  it.each(['otlp', 'splunk-hec'] as const)(
    '%s: gets a longer event without its details',
    async (protocol) => {
      const made = await rigFor(protocol);
      made.receiver.fault = ({ body }) => (body.length > 20_000 ? RESET : null);
      made.rig.append(1_000, (n) => ({ n, pad: n === 500 ? 'x'.repeat(100_000) : '' }));
      await made.rig.start();
      await made.rig.shipped();
      const cut = [...made.receiver.documents.values()].filter((text) => text.includes('truncated'));
      expect([made.receiver.stored.size, cut.length]).toEqual([1_000, 1]);
      expect(made.receiver.requests.length).toBeLessThan(400);
      expect(made.rig.ownEvents('event_refused')).toEqual([]);
    },
  );

  it.each(PROTOCOLS)(
    '%s: is not sent for ever what breaks it in any size: that event is named and passed',
    async (protocol) => {
      const made = await rigFor(protocol);
      made.receiver.fault = ({ events }) => (events.some((text) => text.includes('breaker')) ? RESET : null);
      made.rig.append(300);
      const id = made.rig.record({
        action: 'user.update',
        user: { name: 'breaker' },
        details: { pad: 'x'.repeat(5_000) },
      });
      made.rig.append(300);
      await made.rig.start();
      await made.rig.shipped();
      expect(ordinary(made.receiver)).toBe(600);
      expect(made.rig.ownEvents('event_refused')).toMatchObject([
        { count: 1, events: [{ row: id, reason: expect.stringContaining('breaks the connection') }] },
      ]);
      console.info(
        `${protocol}: ${made.receiver.requests.length} requests for 600 events and one that breaks`,
      );
      expect(made.receiver.requests.length).toBeLessThan(150);
    },
  );

  it('an event that breaks is found before anything was taken, and by the last one of all', async () => {
    const made = await rigFor('otlp');
    made.receiver.fault = ({ events }) => (events.some((text) => text.includes('breaker')) ? RESET : null);
    const breaker = { action: 'user.update', user: { name: 'breaker' } };
    made.rig.record(breaker);
    made.rig.append(5);
    made.rig.record(breaker);
    await made.rig.start();
    await made.rig.shipped();
    expect(ordinary(made.receiver)).toBe(5);
    expect(made.rig.ownEvents('event_refused').map(({ count }) => count)).toEqual([1, 1]);
  });

  it('with on_refused: hold it stays before that event', async () => {
    const made = await rigFor('otlp', { on_refused: 'hold' });
    made.receiver.fault = ({ events }) => (events.some((text) => text.includes('breaker')) ? RESET : null);
    made.rig.append(10);
    made.rig.record({ action: 'user.update', user: { name: 'breaker' } });
    made.rig.append(10);
    await made.rig.start();
    await made.rig.until(() => made.rig.log.some((line) => line.includes('on_refused is hold')), 'the hold');
    expect(made.rig.cursor).toBe(10);
    expect(made.rig.ownEvents('event_refused')).toEqual([]);
  });
});

describe('a receiver that breaks every connection', () => {
  it('is down: nothing is passed or shortened, few requests are sent, and all follows when it is back', async () => {
    const made = await rigFor('otlp');
    made.rig.append(100);
    await made.rig.start();
    await made.rig.shipped();
    made.receiver.fault = () => RESET;
    made.rig.append(900, (n) => ({ n, pad: 'x'.repeat(300) }));
    await made.rig.until(() => made.rig.status.state === 'backing off', 'down');
    console.info(`${made.receiver.requests.length} requests until it counts as down`);
    expect(made.receiver.requests.length).toBeLessThan(60);
    expect(made.rig.cursor).toBe(100);
    made.receiver.fault = () => null;
    await made.rig.shipped();
    expect(made.receiver.stored.size).toBe(1_000);
    expect([...made.receiver.documents.values()].filter((text) => text.includes('truncated'))).toEqual([]);
    expect(made.rig.ownEvents('event_refused')).toEqual([]);
  });
});

describe('the size of requests after breaks', () => {
  it('is halved after two breaks, doubles with answers below what broke, and tries that again later and later', () => {
    const sizes = new BrokenRequests(1_000_000);
    const send = (limit: number) => {
      const bytes = Math.min(sizes.limit, 1_000_000);
      if (bytes <= limit) sizes.answered();
      else sizes.broke(bytes, 100, 0);
      return bytes;
    };
    const sent = Array.from({ length: 1_000 }, () => send(100_000));
    expect(sent.slice(0, 9)).toEqual([
      1_000_000, 1_000_000, 500_000, 500_000, 250_000, 250_000, 125_000, 125_000, 62_500,
    ]);
    expect(Math.max(...sent.slice(10, 50))).toBe(62_500);
    expect(sent.filter((bytes) => bytes > 100_000).length).toBeLessThan(20);
    const later = Array.from({ length: 3_000 }, () => send(1_000_000));
    expect(later.at(-1)).toBe(1_000_000);
  });

  it('a single event that breaks is looked into after four times, and not again while nothing gets through', () => {
    const sizes = new BrokenRequests(1_000_000);
    expect(Array.from({ length: 4 }, () => sizes.broke(500, 1, 0))).toEqual([
      'again',
      'again',
      'again',
      'find cause',
    ]);
    sizes.isDown(0);
    expect(Array.from({ length: 20 }, () => sizes.broke(500, 1, 59_999))).toEqual(Array(20).fill('again'));
    expect(sizes.broke(500, 1, 60_000)).toBe('find cause');
  });
});
