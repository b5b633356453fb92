import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type WebhookSinkConfig, webhookSink } from '../../../src/config/webhook.js';
import { notificationOf } from '../../../src/formats/notification.js';
import { webhookMessage } from '../../../src/sinks/webhook/presets.js';
import { readRow } from '../../support/read-events.js';

const URL_OF = new URL('https://hooks.example.net/base/topic');
const config = (preset: WebhookSinkConfig['preset'], template?: unknown) =>
  webhookSink.parse({
    type: 'webhook',
    preset,
    url: URL_OF.href,
    ...(template === undefined ? {} : { template }),
  });

const failed = (user_name: string, count = 1) =>
  notificationOf(
    Array.from({ length: count }, (_, n) =>
      readRow(
        {
          created_at: '2026-12-01 03:00:00',
          action: 'auth.login_failure',
          user_name,
          ip_address: '203.0.113.7',
        },
        { sequence: n + 1, server: 'pp1' },
      ),
    ),
    0,
  );

const bodyOf = (preset: WebhookSinkConfig['preset'], name: string, template?: unknown) =>
  JSON.parse(webhookMessage(failed(name), URL_OF, config(preset, template)).body) as Record<string, never>;

const HOSTILE = [
  '@everyone',
  '<!channel> <@U123>',
  '[reset your password](https://evil.example)',
  '<https://evil.example|the page>',
  '**bold** _x_ ~y~ `z` > q\n# head',
  '","title":"x',
  '{{events}} {{title}}',
  '\u202egnp.exe\u0000\u001b[31m',
  '\\@here \\\\',
];

describe('the presets', () => {
  it('ntfy gets the topic, the title and plain text as JSON at its root', () => {
    const { url, body } = webhookMessage(failed('eve'), URL_OF, config('ntfy'));
    expect(url.href).toBe('https://hooks.example.net/base/');
    expect(JSON.parse(body)).toEqual({
      topic: 'topic',
      title: 'Login failed on pp1',
      message: 'Login failed for eve from 203.0.113.7 on pp1 [auth.login_failure, postern:1]',
      priority: 3,
    });
  });

  it('apprise gets a type and plain text', () => {
    expect(bodyOf('apprise', 'eve')).toEqual({
      title: 'Login failed on pp1',
      body: 'Login failed for eve from 203.0.113.7 on pp1 [auth.login_failure, postern:1]',
      type: 'warning',
      format: 'text',
    });
  });

  it.each(HOSTILE)('discord shows %j as it is: no markup, no link, no mention', (name) => {
    const body = bodyOf('discord', name) as unknown as {
      allowed_mentions: unknown;
      embeds: Array<{ title: string; description: string }>;
    };
    expect(body.allowed_mentions).toEqual({ parse: [] });
    for (const text of [body.embeds[0]?.title ?? '', body.embeds[0]?.description ?? '']) {
      expect(text.replace(/\\[!-/:-@[-`{-~]/g, '')).not.toMatch(/[!-/:-@[-`{-~]/);
    }
    const shown = body.embeds[0]?.description.replace(/\\(.)/g, '$1');
    expect(shown).toBe(failed(name).lines.join('\n'));
  });

  it.each(HOSTILE)('slack shows %j as plain text', (name) => {
    const body = bodyOf('slack', name) as unknown as {
      text: string;
      blocks: Array<{ text: { type: string; text: string; emoji: boolean } }>;
    };
    expect(body.text).not.toMatch(/[<>]/);
    for (const { text } of body.blocks) expect(text).toMatchObject({ type: 'plain_text', emoji: false });
    expect(body.blocks[1]?.text.text).toBe(failed(name).lines.join('\n'));
  });

  it('a template is filled as data: a value can neither end a text nor be a placeholder', () => {
    const template = {
      msg: { text: 'New: {{text}} ({{count}})', list: '{{events}}', n: '{{count}}', keep: '{{no}}' },
    };
    const { msg } = bodyOf('json', '","x":"{{title}}', template) as unknown as {
      msg: Record<string, unknown>;
    };
    expect(Object.keys(msg)).toEqual(['text', 'list', 'n', 'keep']);
    expect(msg.text).toContain('","x":"{{title}}'.replaceAll('"', '\\"'));
    expect(msg.text).toMatch(/\(1\)$/);
    expect(msg.list).toMatchObject([
      { id: 'postern:1', action: 'auth.login_failure', source_ip: '203.0.113.7' },
    ]);
    expect(msg.n).toBe(1);
    expect(msg.keep).toBe('{{no}}');
  });

  it('every text is printable, and short enough for its receiver, whatever a user is called', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', maxLength: 3_000 }),
        fc.integer({ min: 1, max: 60 }),
        (name, count) => {
          const message = failed(name, count);
          expect(message.lines.join('')).not.toMatch(
            /[\0-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/,
          );
          const discord = JSON.parse(webhookMessage(message, URL_OF, config('discord')).body) as {
            embeds: Array<{ title: string; description: string }>;
          };
          const { title = '', description = '' } = discord.embeds[0] ?? {};
          expect(title.length).toBeLessThanOrEqual(256);
          expect(description.length).toBeLessThanOrEqual(4_096);
          expect(description.replace(/\\./g, '')).not.toMatch(/[!-/:-@[-`{-~]/); // no escape was split
          const slack = JSON.parse(webhookMessage(message, URL_OF, config('slack')).body) as {
            text: string;
            blocks: Array<{ text: { text: string } }>;
          };
          expect(slack.blocks[1]?.text.text.length).toBeLessThanOrEqual(3_000);
          for (const body of ['ntfy', 'apprise', 'json'] as const)
            expect(Buffer.byteLength(webhookMessage(message, URL_OF, config(body)).body)).toBeLessThan(
              30_000,
            );
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe('the configuration of a webhook', () => {
  it.each([
    [{}, 'give either url or url_file'],
    [{ url: 'https://a.example', url_file: '/x' }, 'give either url or url_file'],
    [{ url: 'https://user:secret@a.example' }, 'without user, password'],
    [{ url: 'https://ntfy.example/', preset: 'ntfy' }, 'end with the topic'],
    [{ url: 'https://a.example', preset: 'slack', template: {} }, 'preset slack does not have it'],
    [{ url: 'http://a.example', tls: {} }, 'no TLS'],
    [{ url: 'https://a.example', tls: { cert: '/c' } }, 'cert and key belong together'],
    [{ url: 'https://a.example', headers: { Authorization: 'x' } }, 'a secret does not belong'],
  ])('%j: %s', (sink, message) => {
    const { error } = webhookSink.safeParse({ type: 'webhook', ...sink });
    expect(JSON.stringify(error?.issues)).toContain(message);
    expect(JSON.stringify(error?.issues)).not.toContain('user:secret');
  });

  it('without events it takes alerts and errors of the daemon, and no bans', () => {
    const { action = [] } = webhookSink.parse({ type: 'webhook', url: 'https://a.example' }).events;
    expect(action).toEqual(
      expect.arrayContaining(['daemon.rows_lost', 'daemon.server_silent', 'daemon.notify_test']),
    );
    expect(action.filter((name) => /^(ban|auth|proxy_host)\./.test(name))).toEqual([]);
    expect(action).not.toContain('daemon.start');
  });
});
