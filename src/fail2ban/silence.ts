import { parseAddress } from '../audit/address.js';
import type { AuditEvent } from '../audit/event.js';
import type { Withheld } from '../sinks/files/ban-eligibility.js';

/** Why all or most failed logins are kept from fail2ban, so that nobody can be banned. `never_ban` is not one of these reasons: it is wanted. */
export type SilentReason = Exclude<Withheld, 'never_ban'>;

export const SILENT_REASONS: readonly SilentReason[] = [
  'no_address',
  'unreadable',
  'future',
  'old',
  'other_server',
];

/** Recent decisions about failed logins. */
export interface RecentFailures {
  readonly written: number;
  readonly withheld: Readonly<Partial<Record<Withheld, number>>>;
  /** The other servers that rows name. With several of them, the table belongs to several servers. */
  readonly servers: readonly string[];
}

export interface Silence {
  readonly reason: SilentReason;
  /** For this reason. */
  readonly withheld: number;
  /** All failed logins that were not of addresses in never_ban. */
  readonly total: number;
}

/** Fewer are ignored: a single row may have a typing error. */
const FEWEST = 3;

/**
 * Whether all or most failed logins are kept from fail2ban, for a reason that a key can correct. Other servers' failures are such a reason
 * only if no row belongs to this server and all rows name the same other server: that is probably this one under another name.
 *
 * @param isHub the table has the events of other servers: none of its rows belongs to this one
 */
export function silenceOf({ written, withheld, servers }: RecentFailures, isHub = false): Silence | null {
  const counts = SILENT_REASONS.map((reason) => [reason, withheld[reason] ?? 0] as const);
  const ofHere = written + (withheld.never_ban ?? 0);
  const foreign = withheld.other_server ?? 0;
  const here = counts.filter(([reason]) => reason !== 'other_server');
  const mended = here.reduce((sum, [, count]) => sum + count, 0);
  if (foreign > 0 && ofHere + mended === 0) {
    const isOne = servers.length === 1 && !isHub && foreign >= FEWEST;
    return isOne ? { reason: 'other_server', withheld: foreign, total: foreign } : null;
  }
  const total = written + mended;
  if (mended < FEWEST || mended * 2 <= total) return null;
  const [reason, count] = here.reduce((most, each) => (each[1] > most[1] ? each : most));
  return { reason, withheld: count, total };
}

/** How often the sink gave a verdict within the last ten minutes and within the last hour. */
export type RecentVerdicts = Readonly<
  Partial<Record<string, { readonly ten_minutes: number; readonly hour: number }>>
>;

/**
 * The same for the decisions of the running sink. The last hour counts. If most failures of the last ten minutes were written, the problem
 * is over. Late failures count only if they continue: rows that an import adds at once are old, which is not a fault.
 */
export function silenceOfVerdicts(
  verdicts: RecentVerdicts,
  servers: readonly string[],
  isHub = false,
): Silence | null {
  const within = (span: 'ten_minutes' | 'hour'): RecentFailures => {
    const count = (verdict: string) => verdicts[verdict]?.[span] ?? 0;
    const withheld: Partial<Record<Withheld, number>> = { never_ban: count('never_ban') };
    for (const reason of SILENT_REASONS) withheld[reason] = count(reason);
    const late = verdicts.old;
    if (late !== undefined && (late.ten_minutes === 0 || late.hour === late.ten_minutes)) withheld.old = 0;
    return { written: count('written'), withheld, servers };
  };
  const [now, hour] = [within('ten_minutes'), within('hour')];
  const lately = SILENT_REASONS.reduce((sum, reason) => sum + (now.withheld[reason] ?? 0), 0);
  return now.written > lately ? null : silenceOf(hour, isHub);
}

/** Values of the newest withheld failure of a reason, which show people what is wrong. */
export interface Clue {
  readonly rawAddress: string | null;
  readonly rawTime: string | null;
  readonly server: string;
  /** How far its time is ahead of its reading, milliseconds; null where it can't be read. */
  readonly aheadMs: number | null;
}

export function clueOf({ rawAddress, rawTime, server, time, ingested }: AuditEvent): Clue {
  return { rawAddress, rawTime, server, aheadMs: time === null ? null : time - ingested };
}

/** A column that looks like an address or a time and that no key of source.columns names. */
export interface Proposal {
  readonly key: 'ip_address' | 'created_at';
  readonly column: string;
  /** A value of it. */
  readonly example: string;
}

export interface Advice {
  readonly what: string;
  readonly next: string;
}

const SHOWN = 80;

/** Describes what is wrong and which key to set. */
export function adviceOn(
  { reason, withheld, total }: Silence,
  clue: Clue | null,
  proposals: readonly Proposal[] = [],
): Advice {
  const share = withheld === total ? `all ${total}` : `${withheld} of ${total}`;
  const start = `fail2ban receives too few failed logins to ban anybody: ${share} recent ones`;
  switch (reason) {
    case 'no_address':
      return addressAdvice(start, clue, proposals);
    case 'unreadable': {
      const what = `${start} have a time that can't be read${clue?.rawTime == null ? '' : `, such as ${quote(clue.rawTime)}`}`;
      const [first] = of('created_at', proposals);
      const next =
        first === undefined
          ? 'name the column with the time under source.columns.created_at; docs/internals/SOURCE.md lists the formats that are read'
          : `set ${mapping(first)}`;
      return { what, next };
    }
    case 'future':
    case 'old': {
      const off = clue?.aheadMs == null ? '' : `, by ${spanOf(Math.abs(clue.aheadMs))}`;
      const what = `${start} have a time ${reason === 'future' ? 'ahead of' : 'behind'} this host's clock${off}`;
      const next =
        "if Postern writes local times, set source.time_zone, such as Europe/Berlin; else compare the clocks of Postern's host and this one (date -u), and see whether the daemon lags (postern-auditd status)";
      return { what, next };
    }
    case 'other_server': {
      const name = clue?.server ?? '';
      const what = `${start} name the server ${quote(name)}, and none names this one`;
      const isContainer = /^[0-9a-f]{12}$/.test(name);
      const next = isContainer
        ? `give the container a fixed host name and set server: to it in the configuration: this name is a container's id, which changes with each new container`
        : `if that is this server, set server: ${quote(name)} in the configuration`;
      return { what, next };
    }
  }
}

function addressAdvice(start: string, clue: Clue | null, proposals: readonly Proposal[]): Advice {
  const raw = clue?.rawAddress ?? null;
  if (raw !== null && isAddressList(raw)) {
    return {
      what: `${start} have a list of addresses, ${quote(raw)}, none of which is trusted as the client's`,
      next: 'name your proxies under source.trusted_proxies: the last address that is not a proxy counts as the client; or make Postern write the client alone',
    };
  }
  const [first, ...rest] = of('ip_address', proposals);
  const found =
    raw === null ? 'have no client address' : `have ${quote(raw)} as the address, which is not an IP address`;
  if (first === undefined) {
    return {
      what: `${start} ${found}`,
      next: 'set source.columns.ip_address to the column with the client address (postern-auditd check looks for it)',
    };
  }
  const more = rest.length === 0 ? '' : `, or one of ${rest.map(({ column }) => column).join(', ')}`;
  return {
    what: `${start} ${found}, but column ${quote(first.column)} has ${quote(first.example)}`,
    next: `set ${mapping(first)}${more}`,
  };
}

/** `203.0.113.7, 172.18.0.1`, as X-Forwarded-For has it. */
export function isAddressList(text: string): boolean {
  const parts = text.split(',').map((part) => part.trim());
  return parts.length > 1 && parts.length <= 20 && parts.every((part) => parseAddress(part) !== null);
}

function of(key: Proposal['key'], proposals: readonly Proposal[]): Proposal[] {
  return proposals.filter((proposal) => proposal.key === key);
}

function mapping({ key, column }: Proposal): string {
  const name = /^[A-Za-z_]\w*$/.test(column) ? column : quote(column);
  return `source.columns.${key}: ${name}`;
}

function quote(text: string): string {
  return JSON.stringify(text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text);
}

function spanOf(ms: number): string {
  const minutes = Math.round(ms / 60_000);
  if (minutes < 1) return `${Math.round(ms / 1_000)} s`;
  if (minutes < 180) return `${minutes} min`;
  return minutes < 2_880 ? `${Math.round(minutes / 6) / 10} h` : `${Math.round(minutes / 1_440)} days`;
}
