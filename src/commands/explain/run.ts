import { createClassifier } from '../../audit/catalog.js';
import { type AuditEvent, publicId, type SourceName } from '../../audit/event.js';
import { createRedactor, type Redactor } from '../../audit/redaction.js';
import { toSafeJson } from '../../audit/unsafe-characters.js';
import { loadConfig } from '../../config/load.js';
import type { Config } from '../../config/schema.js';
import { AuditdError, asRoot } from '../../errors.js';
import type { BodyFormat } from '../../formats/body-formats.js';
import { SILENT_LOG } from '../../silent-log.js';
import { createOwnSource } from '../../source/auditd-source.js';
import { createPosternSource } from '../../source/postern-source.js';
import { QUARANTINED_PLACES, quarantinedIn } from '../../source/quarantine.js';
import type { AuditSource } from '../../source/source.js';
import { temporaryDirectory } from '../support/exit-cleanup.js';
import { openStateReader, type StateReader } from '../support/state-reader.js';
import { createPaint, wantsColour } from '../support/terminal.js';
import { timesFor, type UtcOption } from '../support/times.js';
import { pairProgress } from './fail2ban-progress.js';
import { filterVerdict } from './filter-check.js';
import { lineOf } from './line.js';
import { type Explanation, renderExplanation } from './render.js';
import { type SinkVerdict, verdictOf } from './sink-verdict.js';

export interface ExplainOptions extends UtcOption {
  readonly config?: string;
  readonly json?: boolean;
  readonly format?: BodyFormat;
}

/** Prints everything that is known about one event. @throws AuditdError `USAGE`, `NOT_FOUND`, `SOURCE_UNUSABLE` */
export async function runExplain(text: string, options: ExplainOptions): Promise<void> {
  const id = parseId(text);
  const { config } = loadConfig(options.config ?? null, process.env);
  const found = openStateReader(config.state);
  const ledger = 'why' in found ? null : found;
  try {
    const event = readEvent(id, config, ledger, 'why' in found ? found.why : '');
    if (options.format !== undefined) {
      process.stdout.write(`${lineOf(event, options.format)}\n`);
      return;
    }
    const explanation: Explanation = {
      event,
      idUnknown: 'why' in found ? found.why : null,
      ecs: JSON.parse(lineOf(event, 'ecs')) as unknown,
      sinks: verdicts(event, config, ledger),
      filter: await filterVerdict(event, config),
    };
    if (options.json === true) process.stdout.write(`${toSafeJson(forPrograms(explanation), 2)}\n`);
    else {
      const paint = createPaint(wantsColour(process.stdout, process.env));
      process.stdout.write(
        renderExplanation(explanation, Date.now(), paint, timesFor(process.stdout, options)),
      );
    }
  } finally {
    ledger?.close();
  }
}

interface EntryId {
  readonly source: SourceName;
  readonly sequence: number;
}

/** `postern:4711`, `auditd:3`, `4711`. @throws AuditdError `USAGE` */
export function parseId(text: string): EntryId {
  const [, source = 'postern', digits = ''] = /^(?:(postern|auditd):)?(\d{1,16})$/.exec(text) ?? [];
  const sequence = Number(digits);
  if (digits !== '' && Number.isSafeInteger(sequence)) {
    return { source: source === 'auditd' ? 'auditd' : 'postern', sequence };
  }
  throw new AuditdError('USAGE', `${JSON.stringify(text)} is not an id`, {
    next: 'Give it as postern:4711, auditd:3 or 4711',
  });
}

function readEvent(
  { source, sequence }: EntryId,
  config: Config,
  ledger: StateReader | null,
  why: string,
): AuditEvent {
  const { path: privateDirectory, remove } = temporaryDirectory('explain');
  try {
    const shared = {
      server: config.server ?? '',
      sourceId: ledger?.sourceId ?? '0'.repeat(32),
      classify: createClassifier(config.source.aliases),
      redact: redactorOf(config, ledger?.hmacKey ?? null),
      clock: Date.now,
      trustedProxies: config.source.trusted_proxies,
      ...(ledger === null ? {} : { quarantined: quarantinedIn(ledger.note(QUARANTINED_PLACES), source) }),
    };
    const log = SILENT_LOG;
    let from: AuditSource;
    if (source === 'postern') {
      const history = { fingerprintOf: () => null };
      from = createPosternSource({ ...shared, config: config.source, history, privateDirectory, log });
    } else if (ledger === null) {
      throw new AuditdError('SOURCE_UNUSABLE', `The daemon's own events can't be read: ${why}`, {
        next: `Run the command ${asRoot()}`,
      });
    } else {
      from = createOwnSource({ ...shared, db: ledger.db, table: 'audit_log' });
    }
    const event = from.row(sequence, ledger?.timelineOf(source) ?? 1);
    if (event !== null) return event;
    throw notFound(publicId({ source, sequence }), from);
  } finally {
    remove();
  }
}

/** Without the key, which only state.db has, secrets are masked. */
function redactorOf({ redact }: Config, hmacKey: Buffer | null): Redactor {
  return createRedactor(hmacKey === null ? { ...redact, mode: 'mask' } : { ...redact, hmacKey });
}

/** Why the event was not found: the table can't be read, or has no such row. */
function notFound(id: string, source: AuditSource): AuditdError {
  const mark = { timeline: 1, id: 0, fingerprint: null };
  const look = source.read({ mark, after: 0, maxRows: 1, maxBytes: 1 });
  if (look.state === 'reading') {
    const rows = look.maxId === 0 ? 'it has no rows' : `its highest is ${look.maxId}`;
    return new AuditdError('NOT_FOUND', `The table has no row ${id}: ${rows}`, {
      next: 'Search the archives for it: postern-auditd archive list',
    });
  }
  return look.state === 'replaced'
    ? new AuditdError('SOURCE_UNUSABLE', look.reason)
    : new AuditdError('SOURCE_UNUSABLE', look.what, { next: look.next });
}

function verdicts(event: AuditEvent, config: Config, ledger: StateReader | null): SinkVerdict[] {
  const now = Date.now();
  return Object.entries(config.sinks).map(([name, sink]) =>
    verdictOf(
      event,
      name,
      sink,
      config,
      sink.type === 'fail2ban' ? pairProgress(event, sink.directory, now) : progressOf(event, name, ledger),
      now,
    ),
  );
}

function progressOf(
  { source, sequence }: AuditEvent,
  sink: string,
  ledger: StateReader | null,
): SinkVerdict['progress'] {
  if (ledger === null) return null;
  if (sequence <= ledger.skippedTo(sink, source)) return 'skipped';
  const cursor = ledger.cursorOf(sink, source);
  return cursor !== null && sequence <= cursor ? 'delivered' : 'waiting';
}

function forPrograms({ event, idUnknown, ecs, sinks, filter }: Explanation): unknown {
  const { type, time, rawTime, address, rawAddress, user, resource, server, local } = event;
  return {
    id: publicId(event),
    event_id: idUnknown === null ? event.id : null,
    action: event.action,
    known: type.known,
    row: {
      time: time === null ? null : new Date(time).toISOString(),
      unreadable_time: rawTime,
      action: event.rawAction,
      address,
      unreadable_address: rawAddress,
      user,
      resource,
      server,
      local,
    },
    sinks,
    fail2ban:
      filter === null
        ? null
        : { filter: filter.filter, written: filter.written, counts: filter.counts, untried: filter.untried },
    ecs,
  };
}
