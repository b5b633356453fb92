import type { Ban } from '../../fail2ban/client.js';
import type { Advice } from '../../fail2ban/silence.js';
import type { PageResult } from '../../query/page.js';
import type { Stats } from '../../query/stats.js';
import type { FeedStatus } from '../../shipping/feed-status.js';
import type { LoopStatus } from '../../shipping/loop-status.js';
import { PAGE } from '../paths.js';
import { type AttackVerdict, assessAttack, assessDelivery } from './attack-verdict.js';
import { Entries } from './entries.js';
import { markInvisible } from './escape-invisible.js';
import { Filters } from './filters.js';
import { Icon, type IconName } from './icons.js';
import { Layout, type LayoutProps, type Person } from './layout.js';
import { Pager } from './pager.js';
import { Bans, Offenders, Sinks } from './sidebar.js';
import { exact } from './time-ago.js';
import { Timeline } from './timeline.js';
import { link, type View } from './view-url.js';

/** Everything that the page shows. */
export interface PageData {
  readonly now: number;
  readonly server: string;
  readonly assets: LayoutProps['assets'];
  readonly person: Person;
  readonly view: View;
  /** Null if the page's URL is invalid or the query failed; `trouble` has the reason. */
  readonly result: PageResult | null;
  readonly trouble: string | null;
  /** Counts of the filtered entries in the window; null while they are being counted. */
  readonly stats: Stats | null;
  readonly window: { readonly from: number; readonly to: number; readonly title: string };
  /** Counts of all entries in the last hour; null while they are being counted. */
  readonly lastHour: Stats | null;
  readonly bans: {
    readonly list: readonly Ban[] | null;
    readonly trouble: string | null;
    readonly unrecorded: readonly string[];
  };
  readonly sinks: Readonly<Record<string, LoopStatus>>;
  readonly sources: Readonly<Partial<Record<string, FeedStatus>>>;
  /** Failures of one address that lead to a ban. */
  readonly banLimit: number;
  /** Why failed logins don't reach fail2ban; null while they do. */
  readonly silence: Advice | null;
  /** The result of the last change. */
  readonly notice: { readonly good: boolean; readonly text: string } | null;
}

export function AuditLogPage(data: PageData) {
  const { now, view, person, stats, lastHour, bans, sinks } = data;
  const banned = bans.list?.map(({ address }) => address) ?? null;
  const attack = assessAttack(lastHour, banned, data.banLimit);
  const delivery = assessDelivery(sinks, now);
  const servers = [...new Set([data.server, ...(stats?.servers ?? []).map(({ name }) => name)])].sort(
    (a, b) => (a < b ? -1 : 1),
  );
  const multi = servers.length > 1 || view.written.server !== undefined;
  const here = link(view.written, { page: view.page });
  return (
    <Layout title="Audit Log · Postern Proxy" person={person} assets={data.assets}>
      <Head server={multi ? null : data.server} now={now} here={here} />
      <p class="sr" role="status" aria-live="polite" id="said" />
      <Notices notice={data.notice} silence={data.silence} />
      <div class="verdicts" data-live id="verdicts">
        <Answer question="Am I under attack?" verdict={attack} icon="shield" href="#offenders" />
        <Answer question="Is the SIEM up to date?" verdict={delivery} icon="send" href="#health" />
      </div>
      <Filters
        view={view}
        users={(stats?.users ?? []).map(({ name }) => name).filter(plain)}
        servers={servers}
      />
      <div class="columns">
        <div class="main">
          <section class="card" aria-labelledby="timeline-title" data-live id="timeline">
            <h2 id="timeline-title">Events and failed logins, {data.window.title}</h2>
            <Timeline stats={stats} from={data.window.from} to={data.window.to} title={data.window.title} />
          </section>
          <EntryList data={data} servers={multi} />
        </div>
        <div class="rail" data-live id="rail">
          <Bans
            bans={bans.list}
            trouble={bans.trouble}
            unrecorded={bans.unrecorded}
            now={now}
            csrf={person.scope === 'admin' ? person.csrf : null}
            back={here}
          />
          <Offenders
            offenders={stats?.offenders ?? null}
            banned={banned ?? []}
            title={data.window.title}
            written={view.written}
          />
          <Sinks sinks={sinks} postern={data.sources.postern ?? null} now={now} />
        </div>
      </div>
    </Layout>
  );
}

interface HeadProps {
  /** Null: entries of several servers. */
  readonly server: string | null;
  readonly now: number;
  /** The URL of this view. */
  readonly here: string;
}

function Head({ server, now, here }: HeadProps) {
  return (
    <div class="head">
      <div>
        <h1>Audit Log</h1>
        <p class="second">
          Every login, configuration change and administrative action on{' '}
          {server === null ? 'all servers' : <bdi>{markInvisible(server, 60)}</bdi>}
        </p>
      </div>
      <div class="live">
        <span class="second" data-live id="as-of">
          As of {exact(now)} UTC
        </span>
        <button type="button" id="live" aria-pressed="false" hidden>
          <Icon name="live" />
          <span>Live</span>
        </button>
        <noscript>
          <a class="button" href={here}>
            Refresh
          </a>
        </noscript>
      </div>
    </div>
  );
}

function Notices({ notice, silence }: Pick<PageData, 'notice' | 'silence'>) {
  return (
    <>
      {notice === null ? null : (
        <p class={notice.good ? 'notice good' : 'notice bad'} role="status">
          {markInvisible(notice.text, 300)}
        </p>
      )}
      {silence === null ? null : (
        <p class="notice bad" role="alert" id="silence">
          {markInvisible(`${sentence(silence.what)} Next: ${silence.next}.`, 800)}
        </p>
      )}
    </>
  );
}

function EntryList({ data, servers }: { data: PageData; servers: boolean }) {
  return (
    <section class="list" aria-labelledby="entries-title" data-live id="entries">
      <h2 id="entries-title">Entries</h2>
      {data.trouble === null ? null : (
        <p class="notice bad" role="alert">
          {markInvisible(data.trouble, 400)} <a href={PAGE}>Show everything</a>
        </p>
      )}
      {data.result?.incomplete === undefined ? null : (
        <p class="notice bad" role="alert">
          Entries are missing: {markInvisible(data.result.incomplete, 400)}.
        </p>
      )}
      {data.result?.note === undefined ? null : <p class="notice">{markInvisible(data.result.note, 400)}</p>}
      {data.result === null ? null : (
        <>
          <Entries
            entries={data.result.entries}
            written={data.view.written}
            now={data.now}
            servers={servers}
          />
          <Pager view={data.view} result={data.result} />
        </>
      )}
    </section>
  );
}

interface AnswerProps {
  readonly question: string;
  readonly verdict: AttackVerdict;
  readonly icon: IconName;
  readonly href: string;
}

const ICONS: Readonly<Record<AttackVerdict['mood'], IconName>> = {
  good: 'check',
  note: 'clock',
  bad: 'alert',
};

function Answer({ question, verdict: { mood, headline, because }, href }: AnswerProps) {
  return (
    <section class={`verdict mood-${mood}`} aria-label={question}>
      <span class="sign">
        <Icon name={ICONS[mood]} />
      </span>
      <div>
        <p class="question">{question}</p>
        <p class="headline">{headline}</p>
        <p class="because">
          {markInvisible(because, 260)} <a href={href}>Details</a>
        </p>
      </div>
    </section>
  );
}

/** Whether a name is short and printable enough to be proposed as it is. */
function plain(name: string): boolean {
  return name.length <= 80 && markInvisible(name) === name;
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}
