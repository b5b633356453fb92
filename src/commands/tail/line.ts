import { type Paint, visibleUpTo } from '../support/terminal.js';
import type { Times } from '../support/times.js';

/** What is shown of a line of the log; anything may lack in a line that somebody else wrote. */
export interface LogLine {
  readonly '@timestamp'?: unknown;
  readonly 'log.level'?: unknown;
  readonly event?: { readonly action?: unknown; readonly outcome?: unknown };
  readonly source?: { readonly ip?: unknown };
  readonly user?: { readonly name?: unknown; readonly email?: unknown };
  readonly postern?: {
    readonly action?: unknown;
    readonly server?: unknown;
    readonly resource?: { readonly type?: unknown; readonly id?: unknown };
  };
}

/** Null for what is no JSON object. */
export function parseLine(text: string): LogLine | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as LogLine) : null;
  } catch {
    return null;
  }
}

export interface LineFilter {
  /** Canonical names, categories, or words as they stand in rows. */
  readonly actions: readonly string[] | null;
  readonly outcome: string | null;
  readonly networks: { contains(address: string): boolean } | null;
}

/** True if all that is asked for holds. */
export function passes(line: LogLine, { actions, outcome, networks }: LineFilter): boolean {
  const action = String(line.event?.action ?? '');
  const raw = line.postern?.action;
  if (
    actions !== null &&
    !actions.some((name) => name === action || name === raw || action.startsWith(`${name}.`))
  ) {
    return false;
  }
  if (outcome !== null && line.event?.outcome !== outcome) return false;
  const ip = line.source?.ip;
  return networks === null || (typeof ip === 'string' && networks.contains(ip));
}

const WIDTHS = { action: 24, address: 15 };
const LONGEST_NAME = 60;

export interface TailRenderOptions {
  readonly paint: Paint;
  readonly times: Times;
  /** Named only where it is another one. */
  readonly server: string;
}

/** One line for people: when, how it ended, what, from where, who, to what. */
export function renderLine(line: LogLine, { paint, times, server }: TailRenderOptions): string {
  const time = Date.parse(String(line['@timestamp']));
  const outcome = text(line.event?.outcome);
  const action = text(line.event?.action).padEnd(WIDTHS.action);
  const address = text(line.source?.ip, '-').padEnd(WIDTHS.address);
  const { type, id } = line.postern?.resource ?? {};
  const resource = text(id) === '' ? [] : [text(type), text(id)];
  const at = text(line.postern?.server);
  return [
    paint.dim(Number.isNaN(time) ? '?'.padEnd(20) : times(time)),
    colourOf(outcome, line['log.level'], paint)(outcome.padEnd(7)),
    paint.bold(action),
    paint.cyan(address),
    text(line.user?.name ?? line.user?.email, '-'),
    ...(resource.length > 0 ? [resource.join(' ')] : []),
    ...(at === '' || at === server ? [] : [paint.dim(`on ${at}`)]),
  ].join('  ');
}

function colourOf(outcome: string, level: unknown, paint: Paint): (text: string) => string {
  if (outcome === 'failure' || level === 'error' || level === 'critical' || level === 'alert')
    return paint.red;
  return level === 'warn' || level === 'notice' ? paint.yellow : paint.green;
}

function text(value: unknown, otherwise = ''): string {
  if (value === undefined || value === null || value === '') return otherwise;
  return visibleUpTo(String(value), LONGEST_NAME);
}
