import { type AuditEvent, publicId } from '../../audit/event.js';
import { toSafeJson } from '../../audit/unsafe-characters.js';
import { renewJail } from '../../next-steps.js';
import { aligned, escapeUnsafe, formatAge, type Paint, visibleUpTo } from '../support/terminal.js';
import type { Times } from '../support/times.js';
import type { FilterVerdict } from './filter-check.js';
import type { SinkVerdict } from './sink-verdict.js';

/** Everything that is known about an event. */
export interface Explanation {
  readonly event: AuditEvent;
  /** Null: `event.id` is known. */
  readonly idUnknown: string | null;
  readonly ecs: unknown;
  readonly sinks: readonly SinkVerdict[];
  readonly filter: FilterVerdict | null;
}

const LONGEST = 200;

/** The explanation as text: the row, the sinks, fail2ban, the line. */
export function renderExplanation(explanation: Explanation, now: number, paint: Paint, times: Times): string {
  const { event, ecs } = explanation;
  const known = event.type.known ? event.type.title : 'not in the catalog: an informational event';
  return [
    `${paint.bold(publicId(event))}  ${colourOf(event, paint)(escapeUnsafe(event.action))}  ${escapeUnsafe(known)}`,
    ...aligned(row(explanation, now, times), '  '),
    '',
    paint.bold('Sinks'),
    ...sinks(explanation.sinks, paint),
    '',
    paint.bold('fail2ban'),
    ...filter(explanation, paint),
    '',
    paint.bold('The line'),
    ...pretty(ecs).map((line) => `  ${escapeUnsafe(line)}`),
    '',
  ].join('\n');
}

/** JSON on several lines, but a list of one element on one line. Newlines in strings are escaped, so the match is never inside a value. */
function pretty(value: unknown): string[] {
  return toSafeJson(value, 2)
    .replace(/\[\n\s+("(?:[^"\\]|\\.)*")\n\s+\]/g, '[$1]')
    .split('\n');
}

function colourOf({ type }: AuditEvent, paint: Paint): (text: string) => string {
  if (type.outcome === 'failure') return paint.red;
  return type.outcome === 'success' ? paint.green : paint.yellow;
}

function row({ event, idUnknown }: Explanation, now: number, times: Times): string[][] {
  const { type, user, resource } = event;
  const time =
    event.time === null
      ? `can't be read: ${text(event.rawTime)}`
      : `${times(event.time)} (${event.time <= now ? `${formatAge(now - event.time)} ago` : `in ${formatAge(event.time - now)}`})`;
  const raw =
    event.rawAddress === null
      ? ''
      : `${event.address === null ? 'not an address: ' : ', from '}${text(event.rawAddress)}`;
  const who = [user.name, user.email, user.id === null ? null : `id ${user.id}`].filter(
    (part) => part !== null,
  );
  const what = [resource.type, resource.id].filter((part) => part !== null);
  return [
    ['time', time],
    ['action', `${type.outcome}, ${type.severity}; the row says "${text(event.rawAction)}"`],
    ['address', `${event.address ?? ''}${raw}` || 'none'],
    ['user', who.map(text).join(', ') || 'none'],
    ['resource', what.map(text).join(' ') || 'none'],
    ['server', `${text(event.server)} (${event.local ? 'this one' : 'another'})`],
    ['timeline', String(event.timeline)],
    ['id', idUnknown === null ? event.id : `not known: ${idUnknown}`],
  ];
}

function text(value: string | null): string {
  return visibleUpTo(value ?? '', LONGEST);
}

const PROGRESS = {
  delivered: 'delivered',
  waiting: 'not yet delivered',
  withheld: 'withheld',
  skipped: 'skipped: it was there before the sink first started (start: now)',
} as const;

function sinks(verdicts: readonly SinkVerdict[], paint: Paint): string[] {
  if (verdicts.length === 0) return ['  none configured'];
  const rows = verdicts.map(({ sink, type, verdict, why, progress }) => {
    const colour = { takes: paint.green, withholds: paint.yellow, 'does not take': paint.dim }[verdict];
    const taken = verdict !== 'takes' || progress === null ? [] : [PROGRESS[progress]];
    const more = [...taken, ...(why === null ? [] : [why])].join('; ');
    return [sink, type, `${colour(`${verdict} it`)}${more === '' ? '' : `: ${escapeUnsafe(more)}`}`];
  });
  return aligned(rows, '  ');
}

function filter({ filter: verdict, event, sinks }: Explanation, paint: Paint): string[] {
  if (verdict === null) return ['  no sink of type fail2ban is configured'];
  const { counts, untried, written } = verdict;
  const withheld = sinks.find(({ type, verdict: word }) => type === 'fail2ban' && word === 'withholds');
  if (withheld !== undefined) return [`  ${paint.yellow('no line is written for it')}: ${withheld.why}`];
  if (untried !== null) return [`  the filter was not tried: ${escapeUnsafe(untried)}`];
  if (counts !== null && written)
    return [`  the filter ${paint.red('matches')}: it counts against ${counts}`];
  if (counts !== null) {
    return [
      `  ${paint.red(`the filter matches a line that fail2ban must not see (${counts})`)}: ${renewJail()}`,
    ];
  }
  if (written) return [`  ${paint.red('the filter does not match')}: ${renewJail()} to install it`];
  const isFailure = event.action === 'auth.login_failure';
  return [
    `  the filter ${paint.green('does not match')}: ${isFailure ? 'no line is written for it' : 'it is not a failed login'}`,
  ];
}
