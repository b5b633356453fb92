import { afterEach, describe, expect, it } from 'vitest';
import type { HttpSinkConfig } from '../../../src/config/http.js';
import { configFor, HttpRig } from './http-fixture.js';
import { type Fault, FaultyReceiver, type ReceiverOptions, type SeenRequest } from './receiver.js';

let receiver: FaultyReceiver;
let rig: HttpRig;

async function begin(
  rows: number,
  more: Record<string, unknown> = {},
  options: Partial<ReceiverOptions> = {},
  details?: (n: number) => unknown,
): Promise<HttpSinkConfig> {
  receiver = await FaultyReceiver.start({ protocol: 'elasticsearch', ...options });
  const config = configFor(receiver, 'elasticsearch', more);
  rig = new HttpRig(config);
  rig.append(rows, details);
  return config;
}

afterEach(async () => {
  await rig.close();
  expect(receiver.complaints).toEqual([]);
  await receiver.close();
});

/** The fault for the first so many requests with events. */
function first(count: number, fault: Fault): (seen: SeenRequest) => Fault | null {
  let left = count;
  return ({ ids }) => (ids.length > 0 && left-- > 0 ? fault : null);
}

function expectEachOnce(count: number): void {
  expect(receiver.stored.size).toBe(count);
  expect([...receiver.stored.values()].every((times) => times === 1)).toBe(true);
}

function sourceOf(document: string): string {
  return (JSON.parse(document) as { postern: { source: string } }).postern.source;
}

describe('the sink of Elasticsearch', () => {
  it('delivers a backlog in requests of at most max_events, and each document is the line of the files', async () => {
    await begin(5_000, { max_events: 700 });
    await rig.start();
    await rig.shipped();
    expectEachOnce(5_000);
    expect(Math.max(...receiver.requests.map(({ ids }) => ids.length))).toBeLessThanOrEqual(700);
    expect(receiver.requests[0]?.headers['content-encoding']).toBe('gzip');
    const document = JSON.parse([...receiver.documents.values()][0] ?? '') as Record<string, unknown>;
    expect(document).toMatchObject({
      event: { action: 'auth.login_failure', sequence: 1 },
      user: { name: 'Zoë' },
    });
    expect(rig.status.figures).toMatchObject({
      acknowledged_total: 5_000,
      refused_total: 0,
      duplicates_total: 0,
    });
  });

  it('splits requests by bytes', async () => {
    await begin(300, { max_request: '16K', compression: 'none' });
    await rig.start();
    await rig.shipped();
    expectEachOnce(300);
    expect(Math.max(...receiver.requests.map(({ body }) => body.length))).toBeLessThanOrEqual(16_384);
    expect(receiver.requests.length).toBeLessThan(30);
  });

  it('sends an event whose document is longer than a request in a shortened form', async () => {
    await begin(3, { max_request: '16K' }, {}, (n) => (n === 1 ? { text: 'x'.repeat(100_000), n } : { n }));
    await rig.start();
    await rig.shipped();
    expectEachOnce(3);
    const shortened = [...receiver.documents.values()].map(
      (text) => JSON.parse(text) as { postern: { truncated?: true } },
    );
    expect(shortened.map(({ postern }) => postern.truncated ?? false)).toEqual([false, true, false]);
  });

  it.each<[string, Fault]>([
    ['429', { answer: 429 }],
    ['408', { answer: 408 }],
    ['500', { answer: 500, body: 'oops' }],
    ['503', { answer: 503, headers: { 'Retry-After': '1' } }],
    ['a reset connection', { fault: 'reset' }],
  ])('sends a request again after %s, without counting as down', async (_, fault) => {
    await begin(100);
    receiver.fault = first(2, fault);
    await rig.start();
    await rig.shipped();
    expectEachOnce(100);
    expect(rig.status.errors_total).toBe(0);
    expect(rig.log.filter((text) => text.includes('is down'))).toEqual([]);
  });

  it.each<[string, Fault]>([
    ['lost', { fault: 'lost' }],
    ['torn', { fault: 'torn' }],
  ])('stores nothing twice when an answer is %s', async (_, fault) => {
    await begin(100);
    receiver.fault = first(1, fault);
    await rig.start();
    await rig.shipped();
    expectEachOnce(100);
    expect(rig.status.figures.duplicates_total).toBe(100);
  });

  it('sends a request again after its timeout', async () => {
    await begin(10, { timeout: '1s' });
    receiver.fault = first(1, { fault: 'hang' });
    await rig.start();
    await rig.shipped();
    expectEachOnce(10);
    expect(rig.status.figures.retries_total).toBe(1);
  });

  it.each<[string, Fault, RegExp]>([
    [
      'an HTML page',
      { answer: 200, body: '<html>Log in</html>', headers: { 'Content-Type': 'text/html' } },
      /not of this protocol: <html>Log in/,
    ],
    ['other JSON', { answer: 200, body: '{"ok":true}' }, /not of this protocol/],
    ['an empty answer', { answer: 200 }, /not of this protocol/],
    [
      'a redirect',
      { answer: 302, headers: { Location: 'https://sso.example.net/' } },
      /a redirect to https:\/\/sso\.example\.net/,
    ],
    ['401', { answer: 401, body: '{"error":"no"}' }, /status 401/],
    ['403', { answer: 403 }, /status 403.*credentials/],
    ['404', { answer: 404 }, /status 404.*Check url/],
  ])('holds at %s, and delivers all once that is over', async (_, fault, message) => {
    await begin(50);
    receiver.fault = () => fault;
    await rig.start();
    await rig.until(() => rig.status.errors_total >= 2, 'two errors');
    expect(rig.cursor).toBe(0);
    expect(rig.status.last_error?.message).toMatch(message);
    expect(receiver.requests.every(({ method, url }) => method === 'POST' && url === '/audit/_bulk')).toBe(
      true,
    );
    receiver.fault = () => null;
    await rig.shipped();
    expectEachOnce(50);
    expect(rig.ownEvents('event_refused')).toEqual([]);
  });

  it('waits as long as Retry-After says, also when that is longer than a delivery', async () => {
    await begin(10);
    receiver.fault = first(1, { answer: 429, headers: { 'Retry-After': '25' } });
    const started = performance.now();
    await rig.start();
    await rig.until(() => rig.status.state === 'backing off', 'backing off');
    expect(rig.status.errors_total).toBe(1);
    await rig.shipped();
    expect(performance.now() - started).toBeGreaterThan(24_000);
    expect(receiver.count).toBe(2);
  });

  it('halves a request that is too large, and remembers the size', async () => {
    await begin(1_000, { compression: 'none' }, { mostBytes: 60_000 });
    await rig.start();
    await rig.shipped();
    expectEachOnce(1_000);
    const tooLarge = receiver.requests.filter(({ body }) => body.length > 60_000).length;
    expect(tooLarge).toBeLessThan(12);
    rig.append(1_000);
    await rig.shipped();
    expectEachOnce(2_000);
    expect(receiver.requests.filter(({ body }) => body.length > 60_000).length).toBe(tooLarge);
  });

  it('shortens a single event that is too large until it is taken', async () => {
    await begin(3, {}, { mostBytes: 5_000 }, (n) => (n === 1 ? { text: 'y'.repeat(100_000), n } : { n }));
    await rig.start();
    await rig.shipped();
    expectEachOnce(3);
    const second = JSON.parse(
      [...receiver.documents.values()].find((text) => text.includes('"sequence":2')) ?? '',
    ) as Record<string, unknown>;
    expect(second).toMatchObject({ postern: { truncated: true }, event: { action: 'proxy_host.update' } });
    expect(rig.ownEvents('event_refused')).toEqual([]);
  });

  it('sends events again that were refused for the moment, and nothing else', async () => {
    await begin(100);
    let asked = 0;
    receiver.fault = ({ ids }) =>
      ids.length > 0 && asked++ === 0 ? { items: (_, at) => (at % 2 === 0 ? 429 : null) } : null;
    await rig.start();
    await rig.shipped();
    expectEachOnce(100);
    expect(
      receiver.requests
        .filter(({ ids }) => ids.length > 0)
        .map(({ ids }) => ids.length)
        .slice(0, 2),
    ).toEqual([100, 50]);
    expect(rig.status.figures.duplicates_total).toBe(0);
  });

  it('passes a refused event once a later one was taken, names it and counts it', async () => {
    await begin(100, {}, {}, (n) => (n === 41 ? { poison: true } : { n }));
    receiver.isPoison = (event) => event.includes('"poison"');
    await rig.start();
    await rig.shipped();
    expectEachOnce(99 + (await ownArrived(1)));
    const [said, ...more] = rig.ownEvents('event_refused');
    expect(more).toEqual([]);
    expect(said).toMatchObject({
      sink: 'http',
      source: 'postern',
      count: 1,
      events: [{ row: 42, reason: expect.stringMatching(/keys cannot contain NUL/) as string }],
    });
    expect(rig.status.figures.refused_total).toBe(1);
  });

  it('holds at a refused event while nothing after it was taken, also over a restart', async () => {
    await begin(1, {}, {}, () => ({ poison: true }));
    receiver.isPoison = (event) => event.includes('"poison"');
    await rig.start();
    await rig.until(() => rig.status.errors_total >= 2, 'two errors');
    expect(rig.cursor).toBe(0);
    await rig.stop();
    await rig.start();
    await rig.until(() => rig.status.errors_total >= 1, 'an error');
    expect(rig.cursor).toBe(0);
    expect(rig.ownEvents('event_refused')).toEqual([]);
    rig.append(1);
    await rig.shipped();
    expect(rig.ownEvents('event_refused')).toMatchObject([{ count: 1, events: [{ row: 1 }] }]);
  });

  it('passes refused events behind which there is none, if the receiver takes a known event again', async () => {
    await begin(10, {}, {}, (n) => ({ n }));
    receiver.isPoison = (event) => event.includes('"poison"');
    await rig.start();
    await rig.shipped();
    rig.append(5, () => ({ poison: true }));
    await rig.shipped();
    expectEachOnce(10 + (await ownArrived(1)));
    expect(rig.ownEvents('event_refused')).toMatchObject([{ count: 5 }]);
  });

  it('does not pass anything when the receiver refuses all events, and asks it little', async () => {
    await begin(3_000);
    receiver.isPoison = () => true;
    await rig.start();
    await rig.until(() => rig.status.errors_total >= 3, 'three errors');
    expect(rig.cursor).toBe(0);
    expect(rig.ownEvents('event_refused')).toEqual([]);
    expect(rig.status.last_error?.message).toMatch(/every other event that was tried/);
    expect(receiver.count).toBeLessThan(8 * (rig.status.errors_total + 1));
    receiver.isPoison = () => false;
    await rig.shipped();
    expect(receiver.stored.size).toBe(3_000);
  });

  it('holds at a refused event with on_refused: hold', async () => {
    await begin(20, { on_refused: 'hold' }, {}, (n) => (n === 9 ? { poison: true } : { n }));
    receiver.isPoison = (event) => event.includes('"poison"');
    await rig.start();
    await rig.until(() => rig.status.errors_total >= 2, 'two errors');
    expect(rig.cursor).toBe(9);
    expect(rig.status.last_error?.message).toMatch(/refuses postern:10:.*on_refused is hold/s);
    expect(rig.ownEvents('event_refused')).toEqual([]);
  });

  it('bisects a request that is refused as a whole, and passes the event that is the cause', async () => {
    await begin(4_000, {}, {}, (n) => (n === 2_978 ? { poison: true } : { n }));
    // A proxy in front, which names nobody.
    receiver.fault = ({ events }) =>
      events.some((event) => event.includes('"poison"')) ? { answer: 400 } : null;
    await rig.start();
    await rig.shipped();
    expect([...receiver.documents.values()].filter((text) => sourceOf(text) === 'postern').length).toBe(
      3_999,
    );
    expect(rig.ownEvents('event_refused')).toMatchObject([
      { count: 1, events: [{ row: 2_979, reason: 'status 400' }] },
    ]);
    expect(receiver.count).toBeLessThan(40);
  });

  it('keeps the step of a bisect when the receiver is busy in between', async () => {
    await begin(4_000, {}, {}, (n) => (n === 2_978 ? { poison: true } : { n }));
    let asked = 0;
    receiver.fault = ({ events }) =>
      asked++ % 2 === 0
        ? { answer: 429, headers: { 'Retry-After': '0' } }
        : events.some((event) => event.includes('"poison"'))
          ? { answer: 400 }
          : null;
    await rig.start();
    await rig.shipped();
    expect(rig.ownEvents('event_refused')).toMatchObject([{ count: 1, events: [{ row: 2_979 }] }]);
    expect(receiver.count).toBeLessThan(80);
  });

  it('sends a request once more at once when the receiver closed the idle connection', async () => {
    await begin(10);
    await rig.start();
    await rig.shipped();
    for (let n = 0; n < 20; n++) {
      rig.append(1);
      await rig.shipped();
      receiver.closeIdle();
    }
    expect(rig.status.errors_total).toBe(0);
    expect(receiver.stored.size).toBe(30);
  });

  it('reports a receiver that is down, and goes on when it is back', async () => {
    await begin(10);
    await receiver.down();
    await rig.start();
    await rig.until(() => rig.status.errors_total >= 1, 'an error');
    expect(rig.status.last_error?.message).toMatch(/refused the connection/);
    await receiver.listen();
    await rig.shipped();
    expectEachOnce(10);
  });

  it('sends rows again on request: documents that are there already stay as they are', async () => {
    await begin(300);
    await rig.start();
    await rig.shipped();
    rig.replay();
    await rig.until(() => rig.replayed === 300, 'replayed');
    expectEachOnce(300);
    expect(rig.status.figures.duplicates_total).toBe(300);
  });

  /** Waits for own events. @returns how many */
  async function ownArrived(count: number): Promise<number> {
    const own = () => [...receiver.documents.values()].filter((text) => sourceOf(text) === 'auditd').length;
    await rig.until(() => own() === count, `${count} own events`);
    return count;
  }
});
