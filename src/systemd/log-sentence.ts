/** Keys of a JSON line that the journal has itself, so its readers do not need them. */
const SAID_ELSEWHERE: ReadonlySet<string> = new Set(['level', 'time', 'msg', 'pid', 'hostname', 'err']);
const LONGEST_VALUE = 200;

interface Logged {
  readonly msg?: unknown;
  readonly sink?: unknown;
  readonly err?: { readonly message?: unknown; readonly stack?: unknown };
  readonly [key: string]: unknown;
}

/** The journal's form of a message: a sentence, and the stack of an unexpected error. */
export interface Sentence {
  readonly text: string;
  readonly stack: readonly string[];
}

/**
 * A JSON line as a sentence: the message, and in brackets the values that it does not mention.
 *
 * @param line as pino writes it
 */
export function sentenceOf(line: string): Sentence {
  let logged: Logged;
  try {
    logged = JSON.parse(line) as Logged;
  } catch {
    return { text: line.trim(), stack: [] };
  }
  const message = oneLine(String(logged.msg ?? ''));
  const cause = oneLine(String(logged.err?.message ?? ''));
  const values = Object.entries(logged)
    .filter(([key, value]) => !SAID_ELSEWHERE.has(key) && isPlain(value) && !message.includes(String(value)))
    .map(([key, value]) => `${key.replaceAll('_', ' ')} ${oneLine(String(value)).slice(0, LONGEST_VALUE)}`);
  const more = cause === '' || message.includes(cause) ? values : [cause, ...values];
  const stack = typeof logged.err?.stack === 'string' ? logged.err.stack.split('\n').slice(1) : [];
  return { text: more.length === 0 ? message : `${message} (${more.join(', ')})`, stack };
}

function isPlain(value: unknown): boolean {
  return typeof value === 'string' || typeof value === 'number';
}

/** Joins lines, because the journal treats each line as a message of its own. */
function oneLine(text: string): string {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .join(' ');
}
