import { z } from 'zod';
import { catalog, isAtLeast } from '../audit/catalog.js';
import { absolutePath, durationBetween } from './duration-and-size.js';
import { everySink, required, startAt } from './event-filter-schema.js';
import {
  connectionContradictions,
  httpAuth,
  httpHeaders,
  httpProxy,
  parseHttpUrl,
  URL_TEXT,
} from './http.js';
import { tlsClient } from './syslog.js';

const PRESETS = ['ntfy', 'discord', 'slack', 'apprise', 'json'] as const;

/** What people are told of unless `events` says otherwise: alerts, errors of the daemon, and `notify test`. Bans are no news. */
const NOTABLE = catalog
  .filter(
    ({ category, severity, action }) =>
      category === 'alert' ||
      (category === 'daemon' && isAtLeast(severity, 'error')) ||
      action === 'daemon.notify_test',
  )
  .map(({ action }) => action);

const fields = z
  .strictObject({
    type: z.literal('webhook'),
    ...everySink,
    required: required(false),
    start: startAt('now'),
    preset: z
      .enum(PRESETS)
      .default('json')
      .describe(
        'What receives the messages: ntfy, Discord, Slack, the Apprise API, or any program that takes JSON.',
      ),
    url: z
      .string()
      .refine((text) => parseHttpUrl(text) !== null, `write ${URL_TEXT}`) // Not repeated: it may contain a password.
      .optional()
      .describe(
        'Where messages go. One that is a secret, as those of Discord and Slack are, belongs into url_file.',
      ),
    url_file: absolutePath.optional().describe('File with the url, instead of url.'),
    template: z
      .record(z.string(), z.json())
      .optional()
      .describe(
        'json: the members of the message. In its texts, {{title}}, {{text}}, {{severity}}, {{server}}, {{count}} and {{older}} are replaced; a text that is {{events}} alone becomes the list of events.',
      ),
    group_wait: durationBetween('1s', '50s')
      .prefault('30s')
      .describe('After a message, further events are collected for so long, and sent as one message.'),
    rate: z
      .strictObject({
        messages: z.int().min(1).max(1_000).default(20).describe('Most messages in this time.'),
        per: durationBetween('1m', '1d')
          .prefault('1h')
          .describe('Beyond it, events are collected into the next message.'),
      })
      .prefault({})
      .describe('Limit of messages.'),
    max_age: durationBetween('1m', '7d')
      .prefault('1h')
      .describe('An older event is not sent any more. It is counted, and the next message says how many.'),
    timeout: durationBetween('1s', '50s').prefault('20s').describe('Timeout of a request.'),
    headers: httpHeaders,
    auth: httpAuth
      .optional()
      .describe(
        'How to log in; a token is a Bearer token. Secrets are in separate files, which are read for each request.',
      ),
    tls: tlsClient.optional().describe('For an https url.'),
    proxy: httpProxy,
  })
  .describe(
    'Messages for people about events, by HTTP (docs/guide/NOTIFICATIONS.md). Left out events: alerts, and errors of the daemon.',
  );

type Fields = z.infer<typeof fields>;

/** Conflicting keys, as `[path, what to do]`. */
function contradictions(sink: Fields): Array<[string[], string]> {
  const found: Array<[string[], string]> = [];
  if ((sink.url === undefined) === (sink.url_file === undefined))
    found.push([['url'], 'give either url or url_file']);
  if (sink.template !== undefined && sink.preset !== 'json')
    found.push([['template'], `preset ${sink.preset} does not have it; leave the key out`]);
  const url = sink.url === undefined ? null : parseHttpUrl(sink.url);
  if (sink.preset === 'ntfy' && url !== null && !/[^/]\/?$/.test(url.pathname.slice(1)))
    found.push([['url'], 'the path must end with the topic: https://ntfy.sh/TOPIC']);
  return [...found, ...connectionContradictions(sink, url)];
}

/** Messages for people. */
export const webhookSink = fields
  .superRefine((sink, context) => {
    for (const [path, message] of contradictions(sink)) context.addIssue({ code: 'custom', path, message });
  })
  .transform((sink) => ({ ...sink, events: sink.events ?? { action: NOTABLE } }));

export type WebhookSinkConfig = z.infer<typeof webhookSink>;
