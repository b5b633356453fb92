import { durationSchema } from '../../config/duration-and-size.js';
import { AuditdError } from '../../errors.js';
import { STREAM_DEFAULTS, type StreamWishes } from '../../sinks/jetstream/stream.js';

/** The options of `fleet init` as numbers. @throws AuditdError `USAGE` */
export function streamOptionsOf(options: {
  readonly replicas?: string;
  readonly maxAge?: string;
  readonly maxMessages?: string;
  readonly duplicates?: string;
}): StreamWishes {
  const { replicas, maxAge, maxMessages, duplicates } = options;
  if (replicas !== undefined && !/^[1-5]$/.test(replicas))
    throw new AuditdError('USAGE', `--replicas: found ${replicas}`, { next: 'Give 1, 3 or 5' });
  if (maxMessages !== undefined && !/^[1-9]\d{0,14}$/.test(maxMessages))
    throw new AuditdError('USAGE', `--max-messages: found ${maxMessages}`, { next: 'Give a number above 0' });
  return {
    replicas: replicas === undefined ? STREAM_DEFAULTS.replicas : Number(replicas),
    maxAge: maxAge === undefined ? STREAM_DEFAULTS.maxAge : read('--max-age', maxAge),
    maxMessages: maxMessages === undefined ? STREAM_DEFAULTS.maxMessages : Number(maxMessages),
    duplicates: duplicates === undefined ? STREAM_DEFAULTS.duplicates : read('--duplicates', duplicates),
  };
}

function read(option: string, text: string): number {
  const parsed = durationSchema.safeParse(text);
  if (parsed.success) return parsed.data;
  throw new AuditdError('USAGE', `${option}: found ${text}`, { next: 'Give a duration such as 10m or 30d' });
}
