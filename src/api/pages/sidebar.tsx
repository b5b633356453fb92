import type { Ban } from '../../fail2ban/client.js';
import { groupedDigits } from '../../grouped-digits.js';
import type { Count } from '../../query/stats.js';
import type { LoopStatus } from '../../shipping/loop-status.js';
import { PAGE } from '../paths.js';
import { assessSink, countText } from './attack-verdict.js';
import { markInvisible } from './escape-invisible.js';
import { Ago } from './time-ago.js';
import { link, type View } from './view-url.js';

export interface BansProps {
  /** Null if fail2ban does not answer; `trouble` has the reason. */
  readonly bans: readonly Ban[] | null;
  readonly trouble: string | null;
  /** Bans that fail2ban did not report, so that they are missing from the entries. */
  readonly unrecorded: readonly string[];
  /** The value of the form's hidden field; null without the right to lift bans. */
  readonly csrf: string | null;
  readonly now: number;
  /** Where the browser goes after the form was sent. */
  readonly back: string;
}

const SHOWN = 20;

export function Bans({ bans, trouble, unrecorded, csrf, now, back }: BansProps) {
  return (
    <section class="card" id="bans" aria-labelledby="bans-title">
      <h2 id="bans-title">
        Banned now {bans === null ? null : <span class="number">{groupedDigits(bans.length)}</span>}
      </h2>
      {bans === null ? <p class="note">{markInvisible(trouble ?? 'Waiting for fail2ban.', 300)}</p> : null}
      {unrecorded.length === 0 ? null : (
        <p class="notice bad">
          {unrecorded.length === 1 ? 'A ban was' : `${groupedDigits(unrecorded.length)} bans were`} not
          reported by fail2ban and {unrecorded.length === 1 ? 'is' : 'are'} missing from the entries:{' '}
          {markInvisible(unrecorded.slice(0, 5).join(', '), 300)}. To see why, run: postern-auditd check
        </p>
      )}
      {bans !== null && bans.length === 0 ? <p class="empty small">Nobody is banned.</p> : null}
      {bans === null || bans.length === 0 ? null : (
        <ul class="rows">
          {bans.slice(0, SHOWN).map(({ address, since, until }) => (
            <li>
              <div>
                <span class="mono">{address}</span>
                <span class="second">
                  <Moment text={since} now={now} none="banned" />,{' '}
                  <Moment text={until} now={now} none="permanent" ends />
                </span>
              </div>
              {csrf === null ? null : (
                <form method="post" action={`${PAGE}/unban`}>
                  <input type="hidden" name="csrf" value={csrf} />
                  <input type="hidden" name="address" value={address} />
                  <input type="hidden" name="back" value={back} />
                  <button type="submit" class="small">
                    Unban<span class="sr"> {address}</span>
                  </button>
                </form>
              )}
            </li>
          ))}
        </ul>
      )}
      {bans !== null && bans.length > SHOWN ? (
        <p class="note">{groupedDigits(bans.length - SHOWN)} more. To list all, run: postern-auditd bans</p>
      ) : null}
    </section>
  );
}

/** A time from fail2ban, in the time zone of this host. */
function Moment({
  text,
  now,
  none,
  ends,
}: {
  text: string | null;
  now: number;
  none: string;
  ends?: boolean;
}) {
  const time = text === null ? Number.NaN : Date.parse(text.replace(' ', 'T'));
  if (Number.isNaN(time)) return <>{none}</>;
  return (
    <>
      {ends ? 'ends ' : <span class="sr">banned </span>}
      <Ago time={time} now={now} />
    </>
  );
}

export interface OffendersProps {
  readonly offenders: readonly Count[] | null;
  readonly banned: readonly string[];
  readonly title: string;
  readonly written: View['written'];
}

export function Offenders({ offenders, banned, title, written }: OffendersProps) {
  const most = Math.max(1, ...(offenders ?? []).map((each) => each.count));
  return (
    <section class="card" id="offenders" aria-labelledby="offenders-title">
      <h2 id="offenders-title">Top offending addresses</h2>
      <p class="note">Failed logins in {title}</p>
      {offenders === null ? <p class="empty small">Still counting.</p> : null}
      {offenders !== null && offenders.length === 0 ? <p class="empty small">No failed logins.</p> : null}
      <ol class="rows bars">
        {(offenders ?? []).map(({ name, count: failures }) => (
          <li>
            <a class="mono" href={link(written, { ip: name, action: 'auth.login_failure' })}>
              {markInvisible(name, 48)}
            </a>
            {banned.includes(name) ? <span class="badge">banned</span> : null}
            <span class="amount">
              {groupedDigits(failures)}
              <span class="sr"> failed logins</span>
            </span>
            <svg class="bar" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
              <rect class="track" width="100" height="4" />
              <rect class="fill" width={Math.max(1, (failures / most) * 100)} height="4" />
            </svg>
          </li>
        ))}
      </ol>
    </section>
  );
}

export interface SinksProps {
  readonly sinks: Readonly<Record<string, LoopStatus>>;
  /** The state of Postern's table; null until it is known. */
  readonly postern: { readonly state: string; readonly message: string } | null;
  readonly now: number;
}

const KINDS: Readonly<Record<string, string>> = {
  file: 'Log files',
  fail2ban: "fail2ban's log",
  syslog: 'SIEM (syslog)',
  http: 'Receiver (HTTP)',
  webhook: 'Messages (webhook)',
  jetstream: 'Fleet (JetStream)',
};

export function Sinks({ sinks, postern, now }: SinksProps) {
  return (
    <section class="card" id="health" aria-labelledby="health-title">
      <h2 id="health-title">Delivery</h2>
      {postern === null || postern.state === 'reading' ? null : (
        <p class="note warn">Postern's table: {markInvisible(postern.message, 300)}</p>
      )}
      <ul class="rows sinks">
        {Object.entries(sinks).map(([name, sink]) => {
          const { mood, state } = assessSink(sink, now);
          return (
            <li class={`mood-${mood}`}>
              <div>
                <span class="name">
                  <span class="dot" aria-hidden="true" />
                  {name}
                </span>
                <span class="state">{state}</span>
              </div>
              <span class="second">
                {KINDS[sink.type] ?? sink.type} · {sink.delivery_class}
                {sink.lag_events > 0
                  ? ` · ${countText(sink.lag_events, 'event')}, ${sink.lag_seconds} s behind`
                  : ''}
              </span>
              {sink.last_error === null ? null : (
                <p class="last-error">
                  Last error <Ago time={sink.last_error.at} now={now} />:{' '}
                  {markInvisible(sink.last_error.message, 240)}
                </p>
              )}
            </li>
          );
        })}
      </ul>
    </section>
  );
}
