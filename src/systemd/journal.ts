import { fstatSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { type DestinationStream, type Logger, multistream, pino } from 'pino';
import { escapeUnsafe, safeJson } from '../audit/unsafe-characters.js';
import { AuditdError } from '../errors.js';
import { loadPart } from '../installation.js';
import { sentenceOf } from './log-sentence.js';

/** sd-daemon(3) priorities by pino level: the journal files each line under its own. */
const PRIORITIES: ReadonlyArray<readonly [number, string]> = [
  [60, '<2>'],
  [50, '<3>'],
  [40, '<4>'],
  [30, '<6>'],
  [0, '<7>'],
];

export interface LogOptions {
  readonly level: string;
  /** Default: sentences if the output is systemd's journal, else JSON. */
  readonly format?: 'journal' | 'json' | undefined;
  /** A rolled file besides stdout; null for none. Its directory should hold nothing else (pino-roll counts all numbered files). */
  readonly file: string | null;
  readonly env: NodeJS.ProcessEnv;
}

/** Logs the daemon's own messages to stdout, which systemd's journal reads, and as lines of JSON to a rolled file if one is configured. */
export async function createLog({ level, format, file, env }: LogOptions): Promise<Logger> {
  const options = {
    level,
    base: null,
    redact: ['*.password', '*.secret', '*.token', '*.credentials', '*.key'],
    // An expected error has a description and needs no stack.
    serializers: {
      err: (error: unknown) =>
        error instanceof AuditdError
          ? { type: error.name, code: error.code, message: error.message }
          : pino.stdSerializers.err(error as Error),
    },
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
  };
  const isJournal = isJournalStream(env);
  const out = pino.destination({ dest: 1, sync: true });
  const sentences = (format ?? (isJournal ? 'journal' : 'json')) === 'journal';
  const stdout = sentences ? sentenceStream(out, isJournal) : safeStream(isJournal ? prefixed(out) : out);
  if (file === null) return pino(options, stdout);
  mkdirSync(dirname(file), { recursive: true, mode: 0o750 });
  // sync: true, so that a line written before a SIGKILL is in the file (measured).
  const { default: pinoRoll } = await loadPart('log.file', () => import('pino-roll'));
  const rolled = await pinoRoll({
    file,
    size: '10m',
    limit: { count: 5, removeOtherLogFiles: true },
    sync: true,
    mode: 0o640,
  });
  rolled.on('error', () => undefined); // a failing log must not stop the daemon
  return pino(
    options,
    multistream([
      { stream: stdout, level: 'trace' },
      { stream: safeStream(rolled), level: 'trace' },
    ]),
  );
}

/** Messages contain foreign text: from collectors, SQLite, host names. */
function safeStream(stream: DestinationStream): DestinationStream {
  return { write: (line) => stream.write(safeJson(line)) };
}

function prefixed(out: DestinationStream): DestinationStream {
  return { write: (line) => out.write(`${priorityOf(line)}${line}`) };
}

/** A message is one line. The stack of an unexpected error follows as a debug message. */
function sentenceStream(out: DestinationStream, isJournal: boolean): DestinationStream {
  return {
    write(line) {
      const { text, stack } = sentenceOf(line);
      const [said, more] = isJournal ? [priorityOf(line), '<7>'] : ['', ''];
      out.write(
        [`${said}${escapeUnsafe(text)}`, ...stack.map((each) => `${more}${escapeUnsafe(each)}`), ''].join(
          '\n',
        ),
      );
    },
  };
}

function priorityOf(line: string): string {
  const level = Number(/"level":(\d+)/.exec(line)?.[1] ?? 30);
  return PRIORITIES.find(([from]) => level >= from)?.[1] ?? '';
}

/** Whether stdout or stderr is the stream that systemd named. The variable alone is not enough, as a child inherits it. */
function isJournalStream({ JOURNAL_STREAM: named = '' }: NodeJS.ProcessEnv): boolean {
  return [1, 2].some((fd) => {
    try {
      const { dev, ino } = fstatSync(fd, { bigint: true });
      return named === `${dev}:${ino}`;
    } catch {
      return false; // the stream is closed
    }
  });
}
