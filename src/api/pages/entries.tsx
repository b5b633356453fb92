import type { Entry } from '../../query/entry.js';
import { changesOf, Diff } from './diff.js';
import { markInvisible } from './escape-invisible.js';
import { Json } from './json-view.js';
import { nounOf, severityOf, titleOf } from './labels.js';
import { Related } from './related.js';
import { Ago, exact } from './time-ago.js';
import { link, type View } from './view-url.js';

export interface EntriesProps {
  readonly entries: readonly Entry[];
  readonly written: View['written'];
  readonly now: number;
  /** Whether each entry shows its server. */
  readonly servers: boolean;
}

/** Characters of details on a page, for all entries together: a row may have megabytes. */
const DETAILS_OF_PAGE = 120_000;

export function Entries({ entries, written, now, servers }: EntriesProps) {
  if (entries.length === 0) {
    return (
      <p class="empty">
        No entry matches these filters. {written.from === undefined ? '' : 'Try a longer time range. '}
      </p>
    );
  }
  const budget = Math.max(600, Math.min(6_000, Math.floor(DETAILS_OF_PAGE / entries.length)));
  return (
    <div class={servers ? 'entries with-server' : 'entries'}>
      <div class="entry-grid head" aria-hidden="true">
        <span>Time (UTC)</span>
        <span>Event</span>
        <span>User</span>
        <span>Resource</span>
        <span>Address</span>
        {servers ? <span>Server</span> : null}
      </div>
      <ol>
        {entries.map((entry) => (
          <Row entry={entry} written={written} now={now} servers={servers} budget={budget} />
        ))}
      </ol>
    </div>
  );
}

interface RowProps extends Omit<EntriesProps, 'entries'> {
  readonly entry: Entry;
  readonly budget: number;
}

function Row({ entry, written, now, servers, budget }: RowProps) {
  const time = timeOf(entry.created_at);
  return (
    <li>
      <details
        class={`entry is-${entry.outcome} sev-${severityOf(entry.action)}`}
        id={`e-${entry.id.replace(':', '-')}`}
      >
        <summary class="entry-grid">
          <span class="c-time">
            <Label>Time</Label>
            {time === null ? (
              <Stranger text={entry.created_at} none="no time" limit={40} />
            ) : (
              <>
                <Ago time={time} now={now} />
                <span class="exact">{exact(time)}</span>
              </>
            )}
          </span>
          <EventCell entry={entry} />
          <UserCell user={entry.user} />
          <span class="c-resource">
            <Label>Resource</Label>
            <Stranger text={entry.resource_type} none="–" limit={40} />
            {entry.resource_id === null ? null : (
              <span class="second">
                #<bdi>{markInvisible(entry.resource_id, 40)}</bdi>
              </span>
            )}
          </span>
          <span class="c-address">
            <Label>Address</Label>
            <Stranger text={entry.ip_address} none="–" limit={48} />
          </span>
          {servers ? (
            <span class="c-server">
              <Label>Server</Label>
              <Stranger text={entry.server} none="–" limit={40} />
            </span>
          ) : null}
        </summary>
        <Body entry={entry} written={written} budget={budget} />
      </details>
    </li>
  );
}

function EventCell({ entry: { action, outcome } }: { entry: Entry }) {
  const title = titleOf(action);
  return (
    <span class="c-event">
      <Label>Event</Label>
      <span class="title">
        <bdi>{markInvisible(title, 80)}</bdi>
        {outcome === 'failure' && !/fail|refus|den/i.test(title) ? <span class="badge">failed</span> : null}
      </span>
      <span class="code">
        <bdi>{markInvisible(action, 80)}</bdi>
      </span>
    </span>
  );
}

function UserCell({ user: { id, name, email } }: Pick<Entry, 'user'>) {
  return (
    <span class="c-user">
      <Label>User</Label>
      <Stranger text={name ?? email ?? id} none="–" limit={60} />
      {email !== null && name !== null ? (
        <span class="second">
          <bdi>{markInvisible(email, 60)}</bdi>
        </span>
      ) : null}
    </span>
  );
}

function Body({ entry, written, budget }: { entry: Entry; written: View['written']; budget: number }) {
  const changes = changesOf(entry.details);
  const href = `/api/audit-log/${encodeURIComponent(entry.id)}`;
  return (
    <div class="entry-body">
      <Facts entry={entry} />
      <div class="payload">
        {changes === null ? null : <Diff changes={changes} />}
        {entry.details === null ? <p class="note">No details.</p> : null}
        {entry.details === null || changes !== null ? null : (
          <Json value={entry.details} href={href} budget={budget} />
        )}
        {entry.details === null || changes === null ? null : (
          <details class="all" id={`j-${entry.id.replace(':', '-')}`}>
            <summary>All details, as JSON</summary>
            <Json value={entry.details} href={href} budget={budget} />
          </details>
        )}
        {entry.versions === undefined ? null : <Versions of={entry.versions} budget={budget} />}
        <Related entry={entry} />
        <Links entry={entry} written={written} href={href} />
      </div>
    </div>
  );
}

function Facts({ entry }: { entry: Entry }) {
  const { user } = entry;
  const facts: ReadonlyArray<readonly [string, string | null]> = [
    ['Entry', entry.id],
    ['Time', entry.created_at],
    ['Action', entry.action],
    ['Outcome', entry.outcome],
    ['User', [user.name, user.email].filter((text) => text !== null).join(', ') || null],
    ['User ID', user.id],
    ['Resource', entry.resource_type === null ? null : `${entry.resource_type} ${entry.resource_id ?? ''}`],
    ['Address', entry.ip_address],
    ['Server', entry.server],
  ];
  return (
    <dl class="facts">
      {facts.map(([name, text]) =>
        text === null ? null : (
          <div>
            <dt>{name}</dt>
            <dd>
              <bdi>{markInvisible(text, 300)}</bdi>
            </dd>
          </div>
        ),
      )}
    </dl>
  );
}

/** Links to views of similar entries, and to the entry itself. */
function Links({ entry, written, href }: { entry: Entry; written: View['written']; href: string }) {
  const { user } = entry;
  const who = user.name ?? user.email ?? user.id;
  const only: ReadonlyArray<readonly [string, string | null, string]> = [
    ['this user', who, link(written, { user: who })],
    ['this address', entry.ip_address, link(written, { ip: entry.ip_address })],
    ['this action', entry.action, link(written, { action: entry.action })],
    ['this resource type', entry.resource_type, link(written, { resource_type: entry.resource_type })],
  ];
  return (
    <p class="only">
      Show only{' '}
      {only
        .filter(([, value]) => value !== null && value.length <= 200)
        .map(([name, , to]) => (
          <a href={to}>{name}</a>
        ))}
      <a href={href}>this entry as JSON</a>
    </p>
  );
}

/** The versions of an edited row, the current one included; the entry above shows the current one. */
function Versions({ of, budget }: { of: readonly Entry[]; budget: number }) {
  return (
    <details class="all" id={`v-${of[0]?.id.replace(':', '-')}`}>
      <summary>{of.length === 1 ? 'Edited once' : `Edited ${of.length} times`}</summary>
      <ol>
        {of.map((version) => (
          <li>
            <p>
              <bdi>{markInvisible(version.id, 40)}</bdi>: <bdi>{markInvisible(version.action, 80)}</bdi>,{' '}
              <bdi>{markInvisible(version.ip_address ?? 'no address', 60)}</bdi>
            </p>
            {version.details === null ? null : (
              <Json
                value={version.details}
                href={`/api/audit-log/${encodeURIComponent(version.id)}`}
                budget={budget}
              />
            )}
          </li>
        ))}
      </ol>
    </details>
  );
}

/** The column's title, for screen readers. */
function Label({ children }: { children: string }) {
  return <span class="sr">{children}: </span>;
}

function Stranger({ text, none, limit }: { text: string | null; none: string; limit: number }) {
  if (text === null || text === '') return <span class="none">{none === '–' ? <Nothing /> : none}</span>;
  return (
    <bdi class="value" title={text.length > 24 ? markInvisible(text, limit) : undefined}>
      {markInvisible(text, limit)}
    </bdi>
  );
}

function Nothing() {
  return (
    <>
      <span aria-hidden="true">–</span>
      <span class="sr">none</span>
    </>
  );
}

/** Null for text that is not a time; the page shows it as it is in the row. */
function timeOf(text: string | null): number | null {
  if (text === null || !/^[+-]?\d{4,6}-\d\d-\d\dT/.test(text)) return null;
  const time = Date.parse(text);
  return Number.isNaN(time) ? null : time;
}

/** `Proxy host` for `proxy_host`. */
export function resourceTitle(type: string): string {
  return /^[a-z_]{1,30}$/.test(type) ? nounOf(type) : markInvisible(type, 40);
}
