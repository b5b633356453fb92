import { type IncomingMessage, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { controlRequest } from '../../src/control/client.js';
import { ApiRig } from './api-fixture.js';

let rig: ApiRig;
let token: string;

beforeAll(async () => {
  rig = await ApiRig.start();
  token = await rig.token('reader');
  rig.daemon.append(10);
  await rig.daemon.shipped();
});
afterAll(() => rig.close());

interface LiveEvent {
  readonly id: string;
  readonly event: string;
  readonly data: { readonly id: string; readonly action: string };
}

class Client {
  text = '';
  ended = false;
  private constructor(
    readonly response: IncomingMessage,
    read: boolean,
  ) {
    response.on('close', () => {
      this.ended = true;
    });
    response.on('error', () => undefined);
    if (read)
      response.setEncoding('utf8').on('data', (text: string) => {
        this.text += text;
      });
    else response.pause();
  }

  static open(query = '', headers: Record<string, string> = {}, read = true): Promise<Client> {
    return new Promise((done, fail) => {
      const call = request(
        rig.url(`/api/audit-log/stream${query}`),
        { headers: { authorization: `Bearer ${token}`, ...headers }, agent: false },
        (response) => done(new Client(response, read)),
      );
      call.on('error', fail);
      call.end();
    });
  }

  get events(): LiveEvent[] {
    return this.text
      .split('\n\n')
      .slice(0, -1)
      .map((block) => Object.fromEntries(block.split('\n').map((line) => line.split(/: (.*)/s).slice(0, 2))))
      .filter(({ event }) => event !== undefined)
      .map((fields) => ({ ...fields, data: JSON.parse(fields.data) })) as LiveEvent[];
  }

  async until(wanted: () => boolean, what: string): Promise<void> {
    for (let tries = 0; !wanted(); tries++) {
      if (tries > 500) throw new Error(`${what}: not within 10 s: ${this.text.slice(-500)}`);
      await sleep(20);
    }
  }

  close(): void {
    this.response.destroy();
  }
}

describe('the live stream', () => {
  it('the live stream sends a later version of an edited row as a version, not as a further failed login', async () => {
    const client = await Client.open('?action=auth.login_failure');
    const id = rig.daemon.record({ action: 'auth.login_failure', address: '203.0.113.7' });
    await client.until(() => client.events.length === 1, 'the failure');
    const change = (action: string) =>
      rig.daemon.db.prepare('UPDATE audit_log SET action = ? WHERE id = ?').run(action, id);
    change('user.update');
    await sleep(2_500); // a version is one that was at rest
    change('auth.login_failure');
    await client.until(() => client.events.length === 2, 'its version');
    expect(client.events.map(({ event }) => event)).toEqual(['entry', 'version']);
    expect(client.events[1]?.data).toMatchObject({
      version_of: `postern:${id}`,
      action: 'auth.login_failure',
    });
    client.close();
  });

  it('the live stream sends new events, and no earlier ones', async () => {
    const client = await Client.open();
    expect(client.response.headers['content-type']).toBe('text/event-stream; charset=utf-8');
    const id = rig.daemon.record({ action: 'certificate.renew', resourceId: 5 });
    await client.until(() => client.events.length > 0, 'an event');
    expect(client.events[0]).toMatchObject({
      event: 'entry',
      data: { id: `postern:${id}`, action: 'certificate.renew' },
    });
    client.close();
  });

  it('the live stream sends only events that match its filter', async () => {
    const client = await Client.open('?action=auth.login_failure&ip=198.51.100.0/24');
    rig.daemon.record({ action: 'proxy_host.update' });
    rig.daemon.record({ action: 'auth.login_failure', address: '203.0.113.7' });
    const id = rig.daemon.record({ action: 'auth.login_failure', address: '198.51.100.7' });
    await client.until(() => client.events.length > 0, 'an event');
    expect(client.events.map(({ data }) => data.id)).toEqual([`postern:${id}`]);
    client.close();
  });

  it('the live stream resumes for a client that was disconnected: each entry once, in order', async () => {
    const seen: string[] = [];
    let last = '';
    const wanted: string[] = [];
    const first = await Client.open('?source=postern');
    wanted.push(`postern:${rig.daemon.record({ action: 'proxy_host.update' })}`);
    await first.until(() => first.events.length > 0, 'an event');
    for (let round = 0; round < 5; round++) {
      first.close();
      if (last === '') {
        last = first.events.at(-1)?.id ?? '';
        seen.push(...first.events.map(({ data }) => data.id));
      }
      for (let n = 0; n < 20; n++) wanted.push(`postern:${rig.daemon.record({ action: 'user.update' })}`);
      const client = await Client.open('?source=postern', { 'last-event-id': last });
      for (let n = 0; n < 20; n++) wanted.push(`postern:${rig.daemon.record({ action: 'user.create' })}`);
      await client.until(() => seen.length + client.events.length >= wanted.length, 'all events');
      seen.push(...client.events.map(({ data }) => data.id));
      last = client.events.at(-1)?.id ?? '';
      client.close();
    }
    expect(seen).toEqual(wanted);
  });

  it('the live stream reports a gap if a client missed too many entries', async () => {
    const before = Number(rig.daemon.db.prepare('SELECT max(id) FROM audit_log').pluck().get());
    rig.daemon.append(1_500);
    await rig.daemon.shipped();
    const client = await Client.open('?source=postern', { 'last-event-id': `postern:${before},auditd:0` });
    await client.until(() => client.events.length > 1_000, 'events');
    expect(client.events[0]?.event).toBe('gap');
    expect(client.events.at(-1)?.data.id).toBe(`postern:${before + 1_500}`);
    client.close();
  });

  it('survives a reload without missing anything', async () => {
    const client = await Client.open('?source=postern');
    const wanted: string[] = [];
    for (let n = 0; n < 40; n++) {
      if (n === 10) void controlRequest(rig.daemon.control, 'POST', '/reload');
      wanted.push(`postern:${rig.daemon.record({ action: 'stream.update' })}`);
      await sleep(10);
    }
    await client.until(() => client.events.length >= 40, 'all events');
    expect(client.events.map(({ data }) => data.id)).toEqual(wanted);
    client.close();
  });

  it('the live stream ends only for a client that does not read', async () => {
    const quick = await Client.open('?action=certificate.renew');
    const slow = await Promise.all([1, 2, 3].map(() => Client.open('', {}, false)));
    const text = 'x'.repeat(250_000);
    for (let n = 0; n < 80; n++) {
      rig.daemon.record({ action: 'setting.update', details: { n, text } });
      rig.daemon.record({ action: 'certificate.renew', resourceId: n });
      await sleep(2);
    }
    const dropped = async () =>
      Number(
        /^postern_auditd_api_stream_clients_dropped_total (\d+)$/m.exec(
          (await rig.ask('/metrics', token)).text,
        )?.[1],
      );
    await rig.daemon.shipped();
    for (let tries = 0; (await dropped()) < 3 && tries < 200; tries++) await sleep(20);
    expect(await dropped()).toBe(3);
    await quick.until(() => quick.events.length === 80, 'all events');
    quick.close();
    for (const client of slow) client.close();
  });

  it.each(['its token is revoked', 'its session has ended'])(
    'the live stream ends within a moment when %s',
    async (why) => {
      const name = why.split(' ')[1] ?? '';
      const secret = await rig.token(name);
      const origin = rig.url('');
      const login = await rig.ask('/audit-log/login', null, {
        method: 'POST',
        headers: { origin },
        body: new URLSearchParams({ token: secret }),
      });
      const cookie = login.headers.getSetCookie()[0]?.split(';')[0] ?? '';
      const isToken = why.includes('token');
      const client = await Client.open(
        '',
        isToken ? { authorization: `Bearer ${secret}` } : { cookie, authorization: [] as never },
      );
      await client.until(() => client.text.includes('retry:'), 'it begins');
      if (isToken) await controlRequest(rig.daemon.control, 'DELETE', `/api/tokens/${name}`);
      else {
        const page = await rig.ask('/audit-log', null, { headers: { cookie } });
        const csrf = /name="csrf" value="([\w-]+)"/.exec(page.text)?.[1] ?? '';
        const out = await rig.ask('/audit-log/logout', null, {
          method: 'POST',
          headers: { cookie, origin },
          body: new URLSearchParams({ csrf }),
        });
        expect(out.status).toBe(303);
      }
      await sleep(1_100);
      const before = client.events.length;
      rig.daemon.append(3);
      await rig.daemon.shipped();
      await client.until(() => client.ended, 'it ends');
      expect(client.events).toHaveLength(before);
    },
  );

  it('the live stream limits the number of clients', async () => {
    const others = await Promise.all(['second', 'third'].map((name) => rig.token(name)));
    const clients: Client[] = [];
    // Of each token half of the places at most; of all together no more than there are.
    for (const [at, secret] of [token, ...others].entries()) {
      const admitted = at < 2 ? 16 : 0;
      const some = await Promise.all(
        Array.from({ length: 20 }, () => Client.open('', { authorization: `Bearer ${secret}` })),
      );
      const states = some.map(({ response }) => response.statusCode);
      expect(states.filter((status) => status === 200)).toHaveLength(admitted);
      expect(states.filter((status) => status === 503)).toHaveLength(20 - admitted);
      clients.push(...some);
    }
    for (const client of clients) client.close();
    for (let tries = 0; ; tries++) {
      await sleep(20);
      const again = await Client.open();
      again.close();
      if (again.response.statusCode === 200) break;
      expect(tries).toBeLessThan(100);
    }
  });
});
