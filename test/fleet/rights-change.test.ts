import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { initFleet } from '../../src/fleet/init.js';
import { STREAM_DEFAULTS } from '../../src/sinks/jetstream/stream.js';
import { Hub, Member } from './fleet-fixture.js';
import { hasNats, Nats } from './nats.js';

if (!hasNats() && process.env.CI !== undefined) throw new Error('nats-server is not installed');

describe.skipIf(!hasNats())('rights and passwords that change', () => {
  const closing: Array<{ close(): Promise<void> }> = [];

  afterAll(async () => {
    for (const one of closing.reverse()) await one.close();
  });

  const users = (password: string, denied: string) => `authorization { users: [
    { user: hub, password: pw },
    { user: web1, password: ${password}, permissions: {
      publish: { allow: [">"], deny: ["postern.audit.web1.${denied}"] }, subscribe: { allow: [">"], deny: ["postern.audit.*.${denied}"] } } } ] }`;

  it('a denied subject stops the server and is reported; after a permission or password changes it resumes, with each row once', async () => {
    const nats = await Nats.start({ extra: users('old', 'auth.login_failure') });
    closing.push(nats);
    await nats.ready(30_000, { user: 'hub', pass: 'pw' });
    const [secret, hubSecret] = ['web1', 'hub'].map((name) => join(nats.directory, `${name}.pw`));
    writeFileSync(secret as string, 'old');
    writeFileSync(hubSecret as string, 'pw');
    const stream = { stream: 'POSTERN_AUDIT', connect_timeout: 5_000 };
    await initFleet({ servers: nats.urls, user: 'hub', password: hubSecret, ...stream }, STREAM_DEFAULTS);
    const member = new Member('web1', nats.urls, {
      login: `user: web1, password: ${secret}`,
      sinks: '  auth: { type: fail2ban, directory: $DIR/auth, group: null }',
      extra: 'fleet: { bans: subscribe, heartbeat: 1s }',
    });
    const hub = new Hub('hub', nats.urls, { login: `user: hub, password: ${hubSecret}` });
    closing.push(member, hub);
    await Promise.all([member.start(), hub.start()]);
    member.append(10);
    await hub.until(() => hub.countOf('web1') === 10, 'what is allowed');
    member.recorder.record({ action: 'auth.login_failure', address: '203.0.113.1', user: { name: 'eve' } });
    member.append(10);
    const refused = await member.until(
      ({ sinks, fleet }) =>
        /[Pp]ermission/.test(sinks.stream?.last_error?.message ?? '') &&
        /fleet\.bans/.test(fleet?.link.troubles.join() ?? ''),
      'both refused, which come one after the other',
    );
    // The subscription is denied too: without it no failures of other servers arrive, which must be reported.
    expect(refused.fleet?.link.problems).toContainEqual({
      what: expect.stringMatching(/fleet\.bans.*[Pp]ermission/),
      next: expect.stringMatching(/docs\/guide\/FLEET\.md/),
    });
    await nats.reconfigure(users('old', 'nothing.at.all'));
    await hub.until(() => hub.countOf('web1') === 21, 'the rest');
    await member.until(({ fleet }) => fleet?.link.troubles.length === 0, 'the subscription');
    // The password changes at the server first. Clients with the old one are disconnected, and read their file again until it matches.
    await nats.reconfigure(users('new', 'nothing.at.all'));
    member.append(10);
    await member.until(
      ({ sinks }) => /login was refused/.test(sinks.stream?.last_error?.message ?? ''),
      'the old password refused',
    );
    writeFileSync(secret as string, 'new');
    await hub.until(() => hub.countOf('web1') === 31, 'with the new password');
    expect(hub.rowsOf('web1')).toEqual(member.expected());
  });
});
