import type { Severity } from '../../audit/catalog.js';
import type { WebhookSinkConfig } from '../../config/webhook.js';
import type { Notification } from '../../formats/notification.js';

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** Where a message goes, and its body, which is JSON for every receiver: no text can leave its string. */
export interface WebhookMessage {
  readonly url: URL;
  readonly body: string;
}

type Preset = (message: Notification, url: URL, config: WebhookSinkConfig) => { url?: URL; body: Json };

/**
 * Names of users are an attacker's text. Each preset sends them as plain text, or escapes the receiver's markup: no name can mention
 * people, hide text behind a link, or look like another message.
 */
const PRESETS: Readonly<Record<WebhookSinkConfig['preset'], Preset>> = {
  ntfy: ({ title, lines, severity }, url) => {
    // Published as JSON at the root, with the topic as a member: in headers, texts would have to be ASCII.
    const path = url.pathname.replace(/\/$/, '');
    const at = path.lastIndexOf('/');
    const root = new URL(url);
    root.pathname = path.slice(0, at + 1);
    const topic = decodeURIComponent(path.slice(at + 1));
    return { url: root, body: { topic, title, message: lines.join('\n'), priority: PRIORITY[severity] } };
  },
  discord: ({ title, lines, severity }) => ({
    body: {
      allowed_mentions: { parse: [] },
      embeds: [
        {
          title: cutText(withoutMarkdown(title), 256),
          description: cutText(lines.map(withoutMarkdown).join('\n'), 4_096),
          color: COLOUR[severity],
        },
      ],
    },
  }),
  slack: ({ title, lines }) => ({
    body: {
      text: cutText(withoutMrkdwn(title), 3_000), // for notifications on a screen; `blocks` are what is read
      blocks: [
        { type: 'header', text: { type: 'plain_text', text: cutText(title, 150), emoji: false } },
        {
          type: 'section',
          text: { type: 'plain_text', text: cutText(lines.join('\n'), 3_000), emoji: false },
        },
      ],
    },
  }),
  apprise: ({ title, lines, severity }) => ({
    body: { title, body: lines.join('\n'), type: APPRISE[severity], format: 'text' },
  }),
  json: (message, _, { template }) => ({
    body: template === undefined ? { ...valuesOf(message) } : filled(template as Json, valuesOf(message)),
  }),
};

const PRIORITY: Readonly<Record<Severity, number>> = {
  alert: 5,
  critical: 5,
  error: 4,
  warning: 3,
  notice: 2,
  info: 2,
};
const COLOUR: Readonly<Record<Severity, number>> = {
  alert: 0xb3261e,
  critical: 0xb3261e,
  error: 0xb3261e,
  warning: 0xe08600,
  notice: 0x3b6ea5,
  info: 0x3b6ea5,
};
const APPRISE: Readonly<Record<Severity, string>> = {
  alert: 'failure',
  critical: 'failure',
  error: 'failure',
  warning: 'warning',
  notice: 'info',
  info: 'info',
};

export function webhookMessage(message: Notification, url: URL, config: WebhookSinkConfig): WebhookMessage {
  const made = PRESETS[config.preset](message, url, config);
  return { url: made.url ?? url, body: JSON.stringify(made.body) };
}

/** Discord: a backslash before any punctuation of ASCII makes it plain, links and mentions included. */
function withoutMarkdown(text: string): string {
  return text.replace(/[!-/:-@[-`{-~]/g, '\\$&');
}

/** Slack's own markup begins with one of these three, whatever it is. */
function withoutMrkdwn(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/** At most so many UTF-16 units, as these receivers count them. No character and no escape is split. */
function cutText(text: string, length: number): string {
  if (text.length <= length) return text;
  return `${text.slice(0, length - 1).replace(/[\ud800-\udbff]$|(?<!\\)(?:\\\\)*\\$|&[a-z]*$/, '')}…`;
}

function valuesOf({ title, lines, severity, server, count, older, events }: Notification) {
  return {
    title,
    text: lines.join('\n'),
    severity,
    server,
    count,
    older,
    events: events.map((event) => ({ ...event })),
  } satisfies Record<string, Json>;
}

/** A template with its placeholders replaced. It is replaced as data, before JSON is written, so that no value can end a string. */
function filled(template: Json, values: Readonly<Record<string, Json>>): Json {
  if (typeof template === 'string') {
    const [, alone] = /^\{\{(\w+)\}\}$/.exec(template) ?? [];
    const value = alone === undefined ? undefined : values[alone];
    if (value !== undefined) return value;
    return template.replace(/\{\{(\w+)\}\}/g, (text, name: string) => {
      const found = values[name];
      return found === undefined ? text : typeof found === 'string' ? found : JSON.stringify(found);
    });
  }
  if (Array.isArray(template)) return template.map((one: Json) => filled(one, values));
  if (typeof template !== 'object' || template === null) return template;
  return Object.fromEntries(Object.entries(template).map(([key, value]) => [key, filled(value, values)]));
}
