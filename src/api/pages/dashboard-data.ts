import { messageOf } from '../../errors.js';
import type { Ban } from '../../fail2ban/client.js';
import { EVERYTHING } from '../../query/filter.js';
import type { Stats } from '../../query/stats.js';
import type { ApiDeps } from '../deps.js';
import { StaleCache } from './stale-cache.js';
import { inputOf, type View } from './view-url.js';

const HOUR_MS = 3_600_000;
const STATS_FRESH_MS = 5_000;
const BANS_FRESH_MS = 3_000;
/** An older answer may be from before an attack began, so none is shown. */
const OLDEST_MS = 60_000;
/** The page omits what is not loaded by then. */
const PATIENCE_MS = 1_500;
const TOP = 8;

export interface TimeWindow {
  readonly from: number;
  readonly to: number;
  /** `the last 7 days`. */
  readonly title: string;
}

interface OverviewDeps {
  readonly queries: Pick<ApiDeps['queries'], 'stats'>;
  readonly bans: Pick<ApiDeps['bans'], 'list'>;
  readonly clock: () => number;
}

/** The statistics and bans around the entries. Each costs more than a page of entries, so all clients share them for a few seconds. */
export class DashboardData {
  private readonly stats: StaleCache<Stats>;
  private readonly bans: StaleCache<readonly Ban[]>;

  constructor(private readonly deps: OverviewDeps) {
    this.stats = new StaleCache(STATS_FRESH_MS, OLDEST_MS, deps.clock);
    this.bans = new StaleCache(BANS_FRESH_MS, OLDEST_MS, deps.clock);
  }

  /** Statistics of the last hour, without the filter; null while they are counted or if that fails. */
  async lastHour(): Promise<Stats | null> {
    const load = () =>
      this.deps.queries.stats({ ...EVERYTHING, from: this.deps.clock() - HOUR_MS }, { top: 100 });
    return (await this.stats.get('last hour', load, PATIENCE_MS)).value;
  }

  /** Statistics of the filtered entries within the window; null while they are counted or if that fails. */
  async window({ filter, written }: View, { from, to }: TimeWindow): Promise<Stats | null> {
    const load = () => this.deps.queries.stats({ ...filter, from, to }, { top: TOP });
    return (await this.stats.get(JSON.stringify(inputOf(written)), load, PATIENCE_MS)).value;
  }

  async banned(): Promise<{ readonly list: readonly Ban[] | null; readonly trouble: string | null }> {
    const { value, error } = await this.bans.get('', () => this.deps.bans.list(), PATIENCE_MS);
    return { list: value, trouble: error === null ? null : messageOf(error) };
  }

  /** To be called after a ban was lifted. */
  forgetBans(): void {
    this.bans.forget('');
  }
}

const WEEK_MS = 7 * 24 * HOUR_MS;
const SPANS: Readonly<Record<string, string>> = {
  '-1h': 'the last hour',
  '-24h': 'the last 24 hours',
  '-7d': 'the last 7 days',
  '-30d': 'the last 30 days',
};

/** The time range of the chart: that of the filter, or one week if the filter has no start. */
export function windowOf({ filter, written }: View, now: number): TimeWindow {
  const to = filter.to ?? now;
  const from = filter.from ?? to - WEEK_MS;
  const end = written.until ?? written.to;
  if (written.from === undefined) {
    return { from, to, title: end === undefined ? 'the last 7 days' : `the 7 days until ${end}` };
  }
  const begin = SPANS[written.from] ?? `the time since ${written.from}`;
  return {
    from,
    to: Math.max(to, from + 1),
    title: end === undefined ? begin : `the time from ${written.from} until ${end}`,
  };
}
