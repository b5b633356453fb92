import { afterEach, describe, expect, it } from 'vitest';
import { configFor, HttpRig } from './http-fixture.js';
import { type Fault, FaultyReceiver, type ReceiverOptions } from './receiver.js';

let receiver: FaultyReceiver;
let rig: HttpRig;

async function begin(
  rows: number,
  more: Record<string, unknown> = {},
  options: Partial<ReceiverOptions> = {},
  details?: (n: number) => unknown,
): Promise<void> {
  receiver = await FaultyReceiver.start({ protocol: 'splunk-hec', ...options });
  rig = new HttpRig(configFor(receiver, 'splunk-hec', more));
  rig.append(rows, details);
}

afterEach(async () => {
  await rig.close();
  expect(receiver.complaints).toEqual([]);
  await receiver.close();
});

const code = (status: number, number: number, text: string): Fault => ({
  answer: status,
  body: JSON.stringify({ text, code: number }),
  headers: { 'Content-Type': 'application/json' },
});

describe('the sink of the HTTP Event Collector', () => {
  it('delivers a backlog with time, host, source, sourcetype and index', async () => {
    await begin(3_000, { index: 'audit' });
    await rig.start();
    await rig.shipped();
    expect(receiver.stored.size).toBe(3_000);
    const event = JSON.parse([...receiver.documents.values()][0] ?? '') as Record<string, unknown>;
    expect(event).toMatchObject({
      host: 'gateway-1',
      source: 'postern-auditd',
      sourcetype: 'postern:audit',
      index: 'audit',
      event: { event: { action: 'auth.login_failure' }, user: { name: 'Zoë' } },
    });
    const { '@timestamp': time } = event.event as { '@timestamp': string };
    expect(event.time).toBe(Date.parse(time) / 1_000);
  });

  it('finds the event for which a request is refused, and passes it', async () => {
    await begin(1_000, {}, {}, (n) => (n === 700 ? { poison: true } : { n }));
    receiver.isPoison = (event) => event.includes('"poison":true');
    await rig.start();
    await rig.shipped();
    expect(rig.ownEvents('event_refused')).toMatchObject([
      { count: 1, events: [{ row: 701, reason: 'code 6: Invalid data format' }] },
    ]);
  });

  it.each<[string, Fault, RegExp]>([
    ['an invalid token', code(403, 4, 'Invalid token'), /Invalid token.*credentials/],
    ['a wrong index', code(400, 7, 'Incorrect index'), /code 7: Incorrect index. Set index/],
    ['a token with acknowledgement', code(400, 10, 'Data channel is missing'), /set ack: true/],
    [
      'another page',
      { answer: 200, body: '<html>', headers: { 'Content-Type': 'text/html' } },
      /not of this protocol/,
    ],
  ])('holds at %s', async (_, fault, message) => {
    await begin(10);
    receiver.fault = () => fault;
    await rig.start();
    await rig.until(() => rig.status.errors_total >= 2, 'two errors');
    expect(rig.status.last_error?.message).toMatch(message);
    expect(rig.cursor).toBe(0);
    expect(rig.ownEvents('event_refused')).toEqual([]);
    receiver.fault = () => null;
    await rig.shipped();
  });

  it('waits while the server is busy', async () => {
    await begin(10);
    let asked = 0;
    receiver.fault = () => (asked++ < 2 ? code(503, 9, 'Server is busy') : null);
    await rig.start();
    await rig.shipped();
    expect(rig.status.errors_total).toBe(0);
    expect(receiver.stored.size).toBe(10);
  });

  it('moves the cursor only when the indexer has acknowledged', async () => {
    await begin(10, { ack: true }, { acks: true });
    receiver.ackAfter = Number.POSITIVE_INFINITY;
    await rig.start();
    const asked = () =>
      receiver.requests.filter(({ url }) => url.includes('/services/collector/ack?channel='));
    await rig.until(() => asked().length >= 3, 'queries');
    expect(receiver.stored.size).toBe(10);
    expect(rig.cursor).toBe(0);
    receiver.ackAfter = 1;
    await rig.shipped();
    expect([...receiver.stored.values()].every((times) => times === 1)).toBe(true);
    const channels = new Set(receiver.requests.map(({ headers }) => headers['x-splunk-request-channel']));
    expect(channels.size).toBe(1);
  });

  it('reports a token without acknowledgement', async () => {
    await begin(10, { ack: true });
    await rig.start();
    await rig.until(() => rig.status.errors_total >= 1, 'an error');
    expect(rig.status.last_error?.message).toMatch(/no ackId.*ack: false/);
  });
});
