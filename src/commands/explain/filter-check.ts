import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AuditEvent } from '../../audit/event.js';
import type { Config } from '../../config/schema.js';
import { messageOf } from '../../errors.js';
import { testFilter } from '../../fail2ban/client.js';
import { SILENT_LOG } from '../../silent-log.js';
import { PAIR } from '../../sinks/files/fail2ban-files.js';
import { createFail2banSink } from '../../sinks/files/fail2ban-sink.js';
import { filterInUse } from '../check/fail2ban.js';
import { temporaryDirectory } from '../support/exit-cleanup.js';
import { lineOf } from './line.js';

/** How fail2ban's filter treats an event. */
export interface FilterVerdict {
  readonly filter: string;
  /** The line that was tried: what the fail2ban sink writes; for other events that of the other files, which must never match. */
  readonly line: string;
  readonly written: boolean;
  /** The address or network that the failure counts against; null if none, or if the filter could not be tried. */
  readonly counts: string | null;
  /** Why it could not be tried. */
  readonly untried: string | null;
}

/** Tries the filter on the exact line, which the sink itself writes into a temporary directory. */
export async function filterVerdict(event: AuditEvent, config: Config): Promise<FilterVerdict | null> {
  const sink = Object.values(config.sinks).find(({ type }) => type === 'fail2ban');
  if (sink?.type !== 'fail2ban') return null;
  const { path: directory, remove } = temporaryDirectory('explain');
  try {
    const writer = createFail2banSink({ ...sink, directory, group: null }, config.fail2ban, {
      name: 'explain',
      clock: () => event.time ?? event.ingested,
      minFree: 0,
      log: SILENT_LOG,
    });
    const { source, timeline, sequence } = event;
    await writer.open(null);
    await writer.deliver({ source, timeline, events: [event], upTo: sequence }, new AbortController().signal);
    await writer.close();
    const written = PAIR.flatMap((name) => readFileSync(join(directory, name), 'utf8').split('\n')).find(
      (text) => text.includes(`"sequence":${sequence},`),
    );
    const { filter } = filterInUse();
    // Its line in the other files would match: they are not fail2ban's to read.
    if (written === undefined && event.action === 'auth.login_failure') {
      return { filter, line: '', written: false, counts: null, untried: null };
    }
    const about = { filter, line: written ?? lineOf(event, 'ecs'), written: written !== undefined };
    try {
      const [counts] = await testFilter(`${about.line}\n`, filter);
      return { ...about, counts: counts ?? null, untried: null };
    } catch (error) {
      return { ...about, counts: null, untried: messageOf(error) };
    }
  } finally {
    remove();
  }
}
