import { afterEach, describe, expect, it } from 'vitest';
import { configFor, HttpRig } from './http-fixture.js';
import { type Fault, FaultyReceiver } from './receiver.js';

let receiver: FaultyReceiver;
let rig: HttpRig;

async function begin(
  rows: number,
  more: Record<string, unknown> = {},
  details?: (n: number) => unknown,
): Promise<void> {
  receiver = await FaultyReceiver.start({ protocol: 'otlp' });
  rig = new HttpRig(configFor(receiver, 'otlp', more));
  rig.append(rows, details);
}

afterEach(async () => {
  await rig.close();
  expect(receiver.complaints).toEqual([]);
  await receiver.close();
});

const firstOnly = (fault: Fault) => {
  let asked = 0;
  return () => (asked++ === 0 ? fault : null);
};

describe.each(['protobuf', 'json'] as const)('the sink of OTLP in %s', (encoding) => {
  it('delivers a backlog, each event once', async () => {
    await begin(5_000, { encoding });
    await rig.start();
    await rig.shipped();
    expect(receiver.stored.size).toBe(5_000);
    expect([...receiver.stored.values()].every((times) => times === 1)).toBe(true);
    const type = encoding === 'json' ? 'application/json' : 'application/x-protobuf';
    expect(receiver.requests[0]?.headers).toMatchObject({ 'content-type': type, 'content-encoding': 'gzip' });
  });

  it('sends at most one request again for each lost answer', async () => {
    await begin(2_000, { encoding, max_events: 300 });
    let asked = 0;
    receiver.fault = () => (asked++ % 4 === 3 ? { fault: asked % 8 === 0 ? 'lost' : 'torn' } : null);
    await rig.start();
    await rig.shipped();
    const lost = Math.floor(asked / 4);
    const twice = [...receiver.stored.values()].reduce((sum, times) => sum + times - 1, 0);
    expect(receiver.stored.size).toBe(2_000);
    expect(twice).toBeGreaterThan(0);
    expect(twice).toBeLessThanOrEqual(lost * 300);
  });

  it('does not send events again that a partial success counts as rejected, and records where they are', async () => {
    await begin(50, { encoding });
    receiver.fault = firstOnly({ rejected: 3, message: 'log line too old' });
    await rig.start();
    await rig.shipped();
    const own = rig.ownEvents('event_refused');
    expect(own).toMatchObject([
      { sink: 'http', source: 'postern', count: 3, from: 1, to: 50, reason: 'log line too old' },
    ]);
    await rig.until(() => receiver.stored.size === 47 + 1, 'the own event');
    expect([...receiver.stored.values()].every((times) => times === 1)).toBe(true);
    expect(rig.status.figures.refused_total).toBe(3);
  });

  it('holds when a partial success rejects every event', async () => {
    await begin(50, { encoding });
    receiver.fault = ({ ids }) => ({ rejected: ids.length, message: 'too old' });
    await rig.start();
    await rig.until(() => rig.status.errors_total >= 2, 'two errors');
    expect(rig.cursor).toBe(0);
    expect(rig.ownEvents('event_refused')).toEqual([]);
    receiver.fault = () => null;
    await rig.shipped();
    expect(receiver.stored.size).toBe(50);
  });

  it('finds a record for which the receiver refuses the request, and passes it', async () => {
    await begin(3_000, { encoding }, (n) => (n === 1_234 ? { poison: true } : { n }));
    receiver.isPoison = (record) => record.includes('poison');
    await rig.start();
    await rig.shipped();
    expect(rig.ownEvents('event_refused')).toMatchObject([{ count: 1, events: [{ row: 1_235 }] }]);
    await rig.until(() => receiver.stored.size >= 2_999, 'the others');
  });

  it.each<[string, Fault]>([
    [
      'an HTML page',
      { answer: 200, body: '<!DOCTYPE html><html>', headers: { 'Content-Type': 'text/html' } },
    ],
    ['an HTML page without a type', { answer: 200, body: '<!DOCTYPE html><html>' }],
    [
      'JSON of something else',
      { answer: 200, body: '{"status":"ok"}', headers: { 'Content-Type': 'application/json' } },
    ],
    ['text', { answer: 200, body: 'OK', headers: { 'Content-Type': 'text/plain' } }],
    ['405', { answer: 405 }],
    ['415', { answer: 415 }],
  ])('holds at %s', async (_, fault) => {
    await begin(10, { encoding });
    receiver.fault = () => fault;
    await rig.start();
    await rig.until(() => rig.status.errors_total >= 2, 'two errors');
    expect(rig.cursor).toBe(0);
    receiver.fault = () => null;
    await rig.shipped();
    expect(receiver.stored.size).toBe(10);
  });

  it('accepts an empty answer, and an empty object in JSON', async () => {
    await begin(20, { encoding, max_events: 5 });
    let asked = 0;
    receiver.fault = () =>
      asked++ === 0
        ? { answer: 204 }
        : { answer: 200, body: '{}', headers: { 'Content-Type': 'application/json' } };
    await rig.start();
    await rig.shipped();
    expect(asked).toBe(4);
  });
});
