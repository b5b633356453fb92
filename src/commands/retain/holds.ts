import type { Command } from 'commander';
import { escapeUnsafe, toSafeJson } from '../../audit/unsafe-characters.js';
import { AuditdError } from '../../errors.js';
import type { LegalHoldStore, LegalStatus, ShownHold } from '../../retention/legal-hold-store.js';
import { contactsOf } from '../support/contacts.js';
import { byDaemonOrOffline, type ControlCall } from '../support/daemon-or-offline.js';
import { aligned } from '../support/terminal.js';
import { shownTime, type Times, timesFor, type UtcOption, withUtc } from '../support/times.js';
import { filterWords } from './render.js';

interface Options extends UtcOption {
  readonly config?: string;
  readonly json?: boolean;
}

interface HoldOptions extends Options {
  readonly user?: string;
  readonly from?: string;
  readonly to?: string;
  readonly resource?: string;
  readonly all?: boolean;
  readonly reason: string;
}

/** `hold`, `release` and `holds`, below `retain`. */
export function registerRetainHolds(retain: Command): void {
  for (const sub of [hold, release, holds]) sub(retain);
}

function hold(retain: Command): void {
  withPlace(
    retain
      .command('hold')
      .description('Create a legal hold, which keeps rows and archives until it is released')
      .option('--user <who>', 'user who acted: exact id, name or e-mail address')
      .option('--from <time>', 'first time, included: 2026-11-22, 2026-11-22T20:21:00Z or -7d')
      .option('--to <time>', 'last time, excluded, in the same forms')
      .option('--resource <type[/id]>', 'object that was changed: proxy_host, or proxy_host/12')
      .option('--all', 'every row')
      .requiredOption('--reason <text>', 'reason, which is recorded'),
  )
    .addHelpText(
      'after',
      `
A row is held when it matches every given option, as in query and export: try the filter there first. A row whose time can't be
read is held by every hold with --from or --to. Held rows stay in the table, whatever retention.keep, max_rows and max_size are. An
archive with a held row stays, and so do the archives after it. A hold covers no rotated log files, and does not keep Postern or its
owner from deleting rows: export them too.

The daemon creates the hold; when it is not running, the command does. The event is daemon.legal_hold_create. Versions of
postern-auditd without legal holds reject the archive directory from then on.

Exit codes: 0 the hold exists, 2 the filter is invalid.

Examples:
  $ sudo postern-auditd retain hold --user ann@example.net --from 2026-01-01 --reason 'case 4711'
  $ sudo postern-auditd retain hold --resource proxy_host/12 --reason 'incident of 22 November'
  $ sudo postern-auditd retain hold --all --reason 'until counsel has answered'`,
    )
    .action(async (_: unknown, command: Command) => {
      const options = command.optsWithGlobals<HoldOptions>();
      const body = { ...(await wantedOf(options)), reason: options.reason };
      const made = await ask<ShownHold>(
        options,
        { method: 'POST', path: '/retention/holds', body },
        (book, by) => book.hold(body, by),
      );
      print(options, made, `legal hold ${made.id}: ${filterWords(made, timesOf(options))} (${made.file})`);
    });
}

function release(retain: Command): void {
  withPlace(
    retain
      .command('release')
      .description('Release a legal hold')
      .argument('<id>', 'id of the hold, from retain holds')
      .requiredOption('--reason <text>', 'reason, which is recorded'),
  )
    .addHelpText(
      'after',
      `
Rows and archives that no other hold covers may be removed again. The hold and its release stay recorded, as files beside the
archives and as the event daemon.legal_hold_release.

Exit codes: 0 the hold is released, 1 no such hold is in force.

Examples:
  $ postern-auditd retain holds
  $ sudo postern-auditd retain release 1 --reason 'case 4711 is closed'`,
    )
    .action(async (id: string, _: unknown, command: Command) => {
      const options = command.optsWithGlobals<Options & { readonly reason: string }>();
      if (!/^\d{1,9}$/.test(id))
        throw new AuditdError('USAGE', `release: found ${JSON.stringify(id)}`, {
          next: 'Give a number that postern-auditd retain holds lists',
        });
      const body = { reason: options.reason };
      const path = `/retention/holds/${id}/release`;
      const released = await ask<ShownHold>(options, { method: 'POST', path, body }, (book, by) =>
        book.release(Number(id), body, by),
      );
      print(
        options,
        released,
        `legal hold ${released.id} is released: ${filterWords(released, timesOf(options))}`,
      );
    });
}

function holds(retain: Command): void {
  withPlace(
    retain
      .command('holds')
      .description('List the legal holds in force, and check their records')
      .option('--put-back', 'restore records that are missing beside the archives from state.db'),
  )
    .addHelpText(
      'after',
      `
Exit codes: 0 all records are valid, 1 a record is invalid: nothing is deleted, or a release does not count.

Examples:
  $ postern-auditd retain holds
  $ postern-auditd retain holds --json | jq '.in_force[].filter'
  $ sudo postern-auditd retain holds --put-back`,
    )
    .action(async (_: unknown, command: Command) => {
      const options = command.optsWithGlobals<Options & { readonly putBack?: boolean }>();
      if (options.putBack === true) {
        const path = '/retention/holds/put-back';
        const { files } = await ask<{ files: string[] }>(options, { method: 'POST', path }, (book) => ({
          files: book.putBack(),
        }));
        print(
          options,
          { files },
          files.length === 0 ? 'no record is missing' : `put back: ${files.join(', ')}`,
        );
        return;
      }
      const status = await ask<LegalStatus>(options, { method: 'GET', path: '/retention/holds' }, (book) =>
        book.list(),
      );
      print(options, status, renderHolds(status, timesOf(options)));
      if (status.trouble !== null) process.exitCode = 1;
    });
}

/** The holds as text. */
function renderHolds({ in_force: held, trouble }: LegalStatus, times: Times): string {
  const rows = held.map((one) => [
    String(one.id),
    shownTime(one.created, times),
    one.by ?? '',
    filterWords(one, times),
    one.reason,
  ]);
  const list =
    held.length === 0
      ? ['There are no legal holds.']
      : aligned([['ID', 'SINCE', 'BY', 'HOLDS', 'REASON'], ...rows]);
  return [...list, ...(trouble === null ? [] : [`wrong: ${trouble}`])].join('\n');
}

/** The filter to record. Relative times become absolute ones. */
async function wantedOf({
  user,
  from,
  to,
  resource,
  all,
}: HoldOptions): Promise<{ filter: object; all?: true }> {
  const { parseFilter } = await import('../../query/filter.js');
  const [, type, id] = /^([^/]*)(?:\/(.*))?$/.exec(resource ?? '') ?? [];
  if (resource !== undefined && (type === undefined || type === '' || id === ''))
    throw new AuditdError('USAGE', `--resource: found ${JSON.stringify(resource)}`, {
      next: 'Give a type such as proxy_host, or a type and an id such as proxy_host/12',
    });
  const parsed = parseFilter({ user, from, to, resource_type: type }, Date.now());
  const iso = (time: number | null) => (time === null ? undefined : new Date(time).toISOString());
  const filter = {
    user: parsed.user ?? undefined,
    from: iso(parsed.from),
    to: iso(parsed.to),
    resource_type: parsed.resourceType ?? undefined,
    resource_id: id,
  };
  const given = Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== undefined));
  return { filter: given, ...(all === true ? { all } : {}) };
}

async function ask<T>(
  options: Options,
  asked: ControlCall,
  without: (book: LegalHoldStore, by: string | null) => T,
): Promise<T> {
  return byDaemonOrOffline(await contactsOf(options.config, 'control'), asked, async (by) => {
    const [{ withLegalHoldStore }, { loadConfig }] = await Promise.all([
      import('../../control/offline-legal-holds.js'),
      import('../../config/load.js'),
    ]);
    return withLegalHoldStore(loadConfig(options.config ?? null, process.env).config, (book) =>
      without(book, by),
    );
  });
}

function timesOf(options: Options): Times {
  return timesFor(process.stdout, options);
}

/** `retain` has the same options and parses them in any position: hence `optsWithGlobals`. */
function withPlace(command: Command): Command {
  return withUtc(command)
    .option('--config <file>', 'configuration file (names the control socket and the state)')
    .option('--json', 'print JSON');
}

function print({ json }: Options, value: unknown, words: string): void {
  process.stdout.write(
    json === true ? `${toSafeJson(value, 2)}\n` : `${words.split('\n').map(escapeUnsafe).join('\n')}\n`,
  );
}
