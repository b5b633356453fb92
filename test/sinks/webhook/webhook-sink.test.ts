import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type WebhookSinkConfig, webhookSink } from '../../../src/config/webhook.js';
import { createWebhookSink } from '../../../src/sinks/webhook/webhook-sink.js';
import { HttpRig } from '../http/http-fixture.js';
import { Inbox } from './inbox.js';

const HOUR = 3_600_000;
const failure = { action: 'auth.login_failure', address: '203.0.113.7', user: { name: 'eve' } } as const;

let inbox: Inbox;
let rig: HttpRig | null;

beforeEach(async () => {
  inbox = await Inbox.open();
  rig = null;
});
afterEach(async () => {
  await rig?.close();
  await inbox.close();
});

function settings(more: Record<string, unknown> = {}): WebhookSinkConfig {
  const url = more.url_file === undefined ? { url: inbox.url('/hook') } : {};
  return webhookSink.parse({
    type: 'webhook',
    ...url,
    start: 'beginning',
    group_wait: '1s',
    events: { category: ['auth'] },
    ...more,
  });
}

async function started(more: Record<string, unknown> = {}): Promise<HttpRig> {
  rig = new HttpRig(settings(more));
  await rig.start();
  return rig;
}

describe('the webhook sink', () => {
  it('sends the first message at once, and collects what comes meanwhile into the next', async () => {
    const { record, until, ...rest } = bound(await started({ group_wait: '2s' }));
    record(failure);
    await until(() => inbox.taken.length === 1, 'the first message');
    for (let n = 0; n < 37; n++) record({ ...failure, user: { name: `eve${n}` } });
    await until(() => inbox.taken.length === 2, 'the second message');
    await rest.shipped();
    const [first, second] = inbox.bodies();
    expect(first).toMatchObject({ title: 'Login failed on here', count: 1, severity: 'warning', older: 0 });
    expect(second).toMatchObject({ title: '37 events on here', count: 37 });
    expect(String(second?.text)).toMatch(/eve36 .*\n\+27 more$/s);
    const [a, b] = inbox.taken;
    expect((b?.at ?? 0) - (a?.at ?? 0)).toBeGreaterThanOrEqual(1_900);
    expect(inbox.taken).toHaveLength(2);
  });

  it('sends nothing of what is too old, and says so in the next message', async () => {
    const { record, until, shipped } = bound(await started());
    for (const hours of [3, 2]) record({ ...failure, time: Date.now() - hours * HOUR });
    await until(() => rig?.cursor === 2, 'the old rows are passed');
    expect(inbox.taken).toEqual([]);
    record(failure);
    await until(() => inbox.taken.length === 1, 'the message');
    await shipped(); // the sink has the answer too
    expect(inbox.bodies()[0]).toMatchObject({ count: 1, older: 2 });
    expect(String(inbox.bodies()[0]?.text)).toContain('2 older events were not sent');
    expect(rig?.status.figures).toMatchObject({ messages_total: 1, events_total: 1, older_total: 2 });
  });

  it('keeps to its rate: the events of the others wait in their table', async () => {
    const { record, until } = bound(await started({ rate: { messages: 2, per: '1h' } }));
    for (let n = 1; n <= 3; n++) {
      record(failure);
      if (n < 3) await until(() => inbox.taken.length === n, `message ${n}`);
    }
    await sleep(2_500);
    expect(inbox.taken).toHaveLength(2);
    expect(rig?.cursor).toBe(2);
  });

  it('sends what was not taken again, and is down meanwhile', async () => {
    inbox.answers = [{ status: 500 }, { status: 503 }];
    const { record, until, shipped } = bound(await started());
    record(failure);
    await until(() => inbox.taken.length === 1, 'the message');
    await shipped();
    expect(inbox.refused).toHaveLength(2);
    expect(inbox.taken).toHaveLength(1);
    expect(rig?.status).toMatchObject({
      errors_total: 2,
      last_error: { message: expect.stringContaining('503') },
    });
  });

  it('waits as long as the receiver asks', async () => {
    inbox.answers = [{ status: 429, headers: { 'retry-after': '2' } }];
    const { record, until } = bound(await started());
    record(failure);
    await until(() => inbox.taken.length === 1, 'the message');
    const [refused, taken] = [inbox.refused[0], inbox.taken[0]];
    expect((taken?.at ?? 0) - (refused?.at ?? 0)).toBeGreaterThanOrEqual(1_900);
  });

  it.each([
    [302, 'final url'],
    [401, 'credentials'],
    [404, 'may have been deleted'],
    [400, 'preset, url and template'],
  ])('an answer %i holds the message and names the next step: %s', async (status, next) => {
    inbox.answers = Array.from({ length: 2 }, () => ({ status, headers: { location: inbox.url('/else') } }));
    const { record, until } = bound(await started());
    record(failure);
    await until(() => (rig?.status.errors_total ?? 0) > 0, 'an error');
    expect(rig?.status.last_error?.message).toContain(next);
    await until(() => inbox.taken.length === 1, 'the message');
    expect(inbox.taken[0]?.path).toBe('/hook'); // no redirect was followed
  });

  it('loses nothing of what waits for the next message when the daemon stops', async () => {
    const { record, until } = bound(await started({ group_wait: '50s' }));
    record(failure);
    await until(() => inbox.taken.length === 1, 'the first message');
    await until(() => rig?.cursor === 1, 'its cursor');
    record(failure);
    await sleep(300);
    await rig?.stop();
    expect(inbox.taken).toHaveLength(1);
    await rig?.start(); // pacing begins anew
    await until(() => inbox.taken.length === 2, 'the second message');
  });

  it('names the url of url_file nowhere', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'postern-webhook-'));
    const [path, secret] = [join(directory, 'url'), '/services/T0/B0/verysecret'];
    writeFileSync(path, `${inbox.url(secret)}\n`, { mode: 0o600 });
    inbox.answers = [{ status: 404 }, { status: 302, headers: { location: inbox.url(`${secret}/else`) } }];
    const config = settings({ url_file: path });
    rig = new HttpRig(config);
    await rig.start();
    rig.record(failure);
    await rig.until(() => inbox.taken.length === 1, 'the message');
    expect(inbox.taken[0]?.path).toBe(secret);
    expect(rig.status.errors_total).toBe(2);
    const deps = { name: 'phone', clock: Date.now, minFree: 1, log: pino({ enabled: false }) };
    const said = [rig.status, rig.log, await createWebhookSink(config, deps).check()];
    writeFileSync(path, 'no url, verysecret');
    said.push(await createWebhookSink(config, deps).check());
    expect(JSON.stringify(said)).not.toContain('verysecret');
    expect(JSON.stringify(said)).toContain('has no URL');
    rmSync(directory, { recursive: true });
  });
});

function bound(of: HttpRig) {
  return {
    record: of.record.bind(of),
    until: of.until.bind(of),
    shipped: of.shipped.bind(of),
  };
}
