import { setTimeout as sleep } from 'node:timers/promises';
import { NetworkSet } from '../../audit/address.js';
import { catalog, createClassifier } from '../../audit/catalog.js';
import { loadConfig } from '../../config/load.js';
import type { Config } from '../../config/schema.js';
import { AuditdError, codeOf } from '../../errors.js';
import { daemonCommand } from '../../next-steps.js';
import { unknownAction } from '../../query/unknown-names.js';
import { printNote } from '../support/filter-options.js';
import { createPaint, escapeUnsafe, wantsColour } from '../support/terminal.js';
import { timesFor } from '../support/times.js';
import { LogFollower } from './follower.js';
import { type LineFilter, parseLine, passes, renderLine } from './line.js';

export interface TailOptions {
  readonly config?: string;
  readonly sink?: string;
  readonly lines: number;
  readonly follow: boolean;
  readonly action?: readonly string[];
  readonly outcome?: string;
  readonly ip?: readonly string[];
  readonly json?: boolean;
  readonly utc?: boolean;
}

const POLL_MS = 200;

/** Prints the last events and then new ones, until it is interrupted. @throws AuditdError */
export async function runTail(options: TailOptions): Promise<void> {
  const { config } = loadConfig(options.config ?? null, process.env);
  const directory = directoryOf(config, options.sink ?? null);
  const filter = filterOf(options, config);
  const paint = createPaint(wantsColour(process.stdout, process.env));
  const render = { paint, times: timesFor(process.stdout, options), server: config.server };
  const shown = (text: string): string | null => {
    const line = parseLine(text);
    if (line === null) return options.json === true ? null : paint.dim(escapeUnsafe(text.slice(0, 500)));
    if (!passes(line, filter)) return null;
    return options.json === true ? text : renderLine(line, render);
  };
  const follower = new LogFollower(directory);
  await guarded(directory, async () => {
    follower.toEnd();
    const last: string[] = [];
    if (options.lines > 0) {
      for (const text of follower.backwards()) {
        const line = shown(text);
        if (line !== null) last.push(line);
        if (last.length >= options.lines) break;
      }
    }
    await print(last.reverse());
    if (follower.numbers().length === 0) notThere(directory, options.follow);
    process.once('SIGINT', () => process.exit(0));
    while (options.follow) {
      const lines = follower.read();
      if (lines.length === 0) await sleep(POLL_MS);
      else await print(lines.map(shown).filter((line) => line !== null));
    }
  });
}

function notThere(directory: string, follow: boolean): void {
  const what = `There are no log files in ${directory} yet`;
  if (!follow) {
    throw new AuditdError('NOT_FOUND', what, {
      next: `See whether the daemon is running: ${daemonCommand('status')}`,
    });
  }
  process.stderr.write(`postern-auditd: ${what}; waiting\n`);
}

/** Waits for a slow reader instead of buffering without limit. */
async function print(lines: readonly string[]): Promise<void> {
  if (lines.length === 0) return;
  await new Promise((resolve) => process.stdout.write(`${lines.join('\n')}\n`, resolve));
}

async function guarded(directory: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (codeOf(error) !== 'EACCES') throw error;
    const next = "Run the command with sudo, or join the files' group: sudo adduser $USER adm";
    throw new AuditdError('NOT_FOUND', `This user may not read the log files in ${directory}`, {
      next,
      cause: error,
    });
  }
}

function directoryOf(config: Config, name: string | null): string {
  const files = Object.entries(config.sinks).flatMap(([each, sink]) =>
    sink.type === 'file' ? [{ name: each, directory: sink.directory }] : [],
  );
  const found = name === null ? files[0] : files.find((file) => file.name === name);
  if (found !== undefined) return found.directory;
  const names = files.map((file) => file.name).join(', ');
  throw new AuditdError(
    name === null ? 'NOT_FOUND' : 'USAGE',
    files.length === 0
      ? 'There is no sink of type file to read from'
      : `There is no sink of type file called ${name}`,
    {
      next:
        files.length === 0 ? 'Add one under sinks, such as "audit: { type: file }"' : `Name one of: ${names}`,
    },
  );
}

function filterOf({ action, outcome, ip }: TailOptions, config: Config): LineFilter {
  return {
    actions: action?.flatMap((names) => names.split(',')).map((name) => actionOf(name, config)) ?? null,
    outcome: outcome ?? null,
    networks: ip === undefined ? null : networksOf(ip.flatMap((each) => each.split(','))),
  };
}

/** Any spelling of an action, a category, or an unknown word that rows may have. */
function actionOf(name: string, config: Config): string {
  const bare = name.replace(/\.\*?$/, '');
  const categories = new Set(catalog.map(({ category }) => category));
  if (categories.has(bare)) return bare;
  const type = createClassifier(config.source.aliases)(bare, null);
  if (type.known) return type.action;
  // Postern may write words that the catalog does not have.
  printNote(unknownAction(bare));
  return name;
}

function networksOf(entries: readonly string[]): NetworkSet {
  try {
    return new NetworkSet(entries);
  } catch (error) {
    const next = 'Give --ip as 203.0.113.7 or 203.0.113.0/24';
    throw new AuditdError('USAGE', `${escapeUnsafe(entries.join(', '))} is not an address or a network`, {
      next,
      cause: error,
    });
  }
}
