import { parentPort, workerData } from 'node:worker_threads';
import { createClassifier } from '../audit/catalog.js';
import { AuditdError } from '../errors.js';
import { RowReader } from '../source/row-to-event.js';
import { AUDITD_TABLE } from '../source/table-schema.js';
import type { Removal } from './archive/anchor.js';
import { signingKey } from './archive/signing-key.js';
import type { RowIdentity } from './archive/table-rows.js';
import { DeliveredRows } from './changes-since-delivery.js';
import { createRead } from './database-reader.js';
import { toErrorParts } from './error-parts.js';
import { readLegalHolds } from './legal-holds.js';
import { planRun } from './plan.js';
import { openPurger, PURGE_SOCKET, type Purger } from './purge/client.js';
import type { Purged, RowToDelete } from './purge/protocol.js';
import { ArchiveReader } from './purge/read-archive.js';
import { rowHash } from './purge/row-hash.js';
import { RowEligibility } from './row-eligibility.js';
import { runRetention, type Target } from './run.js';
import type { FromThread, RunData, RunOutcome, ToThread } from './thread-protocol.js';

// A run reads the table and writes archives in its own thread, so that shipping waits for neither.

/** Progress is shown to people. */
const PROGRESS_MS = 100;

const data = workerData as RunData;
/** The daemon's clock. */
const begin = performance.now();
const clock = () => data.now + (performance.now() - begin);
const stopping = new AbortController();
let ownAnswer: (purged: Purged) => void = () => undefined;
let begunAnswer: () => void = () => undefined;
let expireAnswer: (removal: Removal | null) => void = () => undefined;
let lastProgress = 0;
const ownArchives = new ArchiveReader({
  directory: data.config.retention.archive.directory,
  source: 'auditd',
  table: AUDITD_TABLE,
});

function send(said: FromThread): void {
  parentPort?.postMessage(said);
}

parentPort?.on('message', (told: ToThread) => {
  if ('own' in told) ownAnswer(told.own);
  else if ('begun' in told) begunAnswer();
  else if ('expire' in told) expireAnswer(told.expire);
  else stopping.abort(new AuditdError('PURGE_FAILED', told.stop));
});

function targets(): Target[] {
  const { config } = data;
  const classify = createClassifier(config.source.aliases);
  return data.targets.map(({ source, timeline, holds, limit, file }) => {
    const own = source === 'auditd';
    const hub = !own && config.fleet.role === 'hub';
    const table = own ? AUDITD_TABLE : { ...config.source, read: data.columnsRead };
    const reader = new RowReader({
      name: source,
      sourceId: data.sourceId,
      server: config.server,
      classify,
      redact: () => null,
    });
    return {
      source,
      timeline,
      table,
      // The size limit of Postern's table does not apply to our own.
      retention: own ? { ...config.retention, max_rows: null, max_size: null } : config.retention,
      read: createRead(own ? data.stateDatabase : config.source.database, file),
      rows: hub ? hubIdentity(reader) : reader,
      eligibility: new RowEligibility(table, classify),
      holds,
      limit,
      delivered: new DeliveredRows({
        read: createRead(data.stateDatabase),
        source,
        timeline,
        onBaseline: (baseline) => send({ baseline, source, timeline }),
      }),
      purger: async () =>
        own
          ? ownPurger
          : openPurger({ configPath: data.configPath, env: hub ? withoutUnit() : data.env, file }),
    };
  });
}

/** In the hub's table each row keeps the id that its server assigned. */
function hubIdentity(reader: RowReader): RowIdentity {
  return { eventIdColumn: 'event_id', identify: (row, place) => reader.identify(row, place) };
}

/** The hub's table belongs to the daemon. The purge unit may not write it; a child of this process may. */
function withoutUnit(): NodeJS.ProcessEnv {
  return { ...data.env, [PURGE_SOCKET]: '' };
}

/** Only the main thread writes our own table. */
const ownPurger: Purger = {
  probe: () => Promise.resolve(),
  async purge(piece) {
    const rows = ownArchives.read(piece);
    const named = rows.filter(({ id }) => id < piece.below).map((row): RowToDelete => [row.id, rowHash(row)]);
    const purged = await new Promise<Purged>((resolve) => {
      ownAnswer = resolve;
      send({ own: named });
    });
    return { ...purged, held: rows.length - named.length };
  },
  shrink: async () => ({ auto_vacuum: 'none', free_bytes: 0, lock_ms: 0 }),
  close: () => ownArchives.close(),
};

async function runDry(): Promise<RunOutcome> {
  const found = [];
  let reference: number | null | undefined;
  for (const { source, read, table, eligibility, retention, holds, limit } of targets()) {
    const options = {
      read,
      table,
      eligibility,
      retention,
      holds,
      legal: readLegalHolds(data.config.retention.archive.directory, data.legal),
      limit,
      clock: Date.now(),
      ...(source === 'auditd' && reference !== undefined ? { latest: reference } : {}),
      signal: stopping.signal,
    };
    const {
      months: _months,
      moment,
      present: _present,
      ...plan
    } = await planRun({
      ...options,
      onProgress: (done) => progress({ phase: 'looking', source, month: null, done, of: 1 }),
    });
    if (source === 'postern') reference = moment.reference;
    found.push({ ...plan, source, reference: moment.reference });
  }
  return { kind: 'dry', targets: found };
}

async function run(): Promise<RunOutcome> {
  const { retention, min_free: minFree } = data.config;
  const result = await runRetention({
    targets: targets(),
    archive: retention.archive,
    minFree,
    sourceId: data.sourceId,
    run: new Date(clock()).toISOString(),
    sign: retention.archive.sign === null ? null : signingKey(retention.archive.sign),
    purged: data.purged,
    unsettled: data.unsettled,
    removals: data.removals,
    legal: data.legal,
    clock,
    signal: stopping.signal,
    onProgress: progress,
    onArchived: (archived) => send({ archived }),
    onDeleted: (source, deleted) => send({ deleted, source }),
    onPurged: (purged) => send({ purged }),
    onPurging: (purging) =>
      new Promise<void>((resolve) => {
        begunAnswer = resolve;
        send({ purging });
      }),
    onSettled: (settled, note) => send({ settled, note }),
    onAnchor: (anchor) => send({ anchor }),
    onExpired: (expired, holds) =>
      new Promise((resolve) => {
        expireAnswer = resolve;
        send({ expired, holds });
      }),
  });
  return { kind: 'run', ...result };
}

function progress(at: Extract<FromThread, { progress: unknown }>['progress']): void {
  const now = performance.now();
  if (now - lastProgress < PROGRESS_MS) return;
  lastProgress = now;
  send({ progress: at });
}

try {
  send({ outcome: await (data.dry ? runDry() : run()) });
} catch (error) {
  send({ failed: toErrorParts(error) });
} finally {
  parentPort?.close();
}
