import { groupedDigits } from '../../grouped-digits.js';
import type { Stats } from '../../query/stats.js';
import { countText } from './attack-verdict.js';
import { exact } from './time-ago.js';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const STEPS = [HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 7 * DAY, 30 * DAY, 365 * DAY];
const MOST_BARS = 60;

export interface TimelineBar {
  /** Start of the bar, milliseconds since the epoch. */
  readonly time: number;
  readonly count: number;
  readonly failedLogins: number;
}

/** Counts per bar. All bars have the same length, the shortest with which at most 60 cover the window. */
export function barsOf(stats: Stats, from: number, to: number): { step: number; bars: TimelineBar[] } {
  const days = stats.days.map(({ name, count: number }) => ({
    time: Date.parse(name),
    count: number,
    failedLogins: 0,
  }));
  const hours = stats.hours.map(({ name, count: number, failed_logins: failedLogins }) => ({
    time: Date.parse(name),
    count: number,
    failedLogins,
  }));
  const counted = hours.length > 0 ? hours : days;
  const least = stats.hours.length > 0 ? HOUR : DAY;
  const step = STEPS.find((each) => each >= least && (to - from) / each <= MOST_BARS) ?? 365 * DAY;
  const first = Math.floor(from / step);
  const number = Math.max(1, Math.ceil(to / step) - first);
  const bars = Array.from({ length: Math.min(number, 1_000) }, (_, at) => ({
    time: (first + at) * step,
    count: 0,
    failedLogins: 0,
  }));
  for (const each of counted) {
    const bar = bars[Math.floor(each.time / step) - first];
    if (bar === undefined) continue;
    bar.count += each.count;
    bar.failedLogins += each.failedLogins;
  }
  return { step, bars };
}

const LENGTHS = new Map([
  [HOUR, 'hour'],
  [3 * HOUR, '3 hours'],
  [6 * HOUR, '6 hours'],
  [12 * HOUR, '12 hours'],
  [DAY, 'day'],
  [7 * DAY, 'week'],
  [30 * DAY, '30 days'],
  [365 * DAY, 'year'],
]);

export interface TimelineProps {
  readonly stats: Stats | null;
  readonly from: number;
  readonly to: number;
  /** `the last 7 days`. */
  readonly title: string;
}

const HEIGHT = 100;
const WIDTH = 10;
const GAP = 2;

/** The smallest round number (1, 2 or 5 times a power of ten) that is at least `most`. */
export function ceiling(most: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, most)));
  return [1, 2, 5, 10].map((each) => each * power).find((each) => each >= most) ?? most;
}

export function Timeline({ stats, from, to, title }: TimelineProps) {
  if (stats === null) {
    return <p class="empty">Still counting: this many entries take a while. Reload the page in a moment.</p>;
  }
  if (stats.total === 0) return <p class="empty">No entries in {title}.</p>;
  const { step, bars } = barsOf(stats, from, to);
  const top = ceiling(Math.max(1, ...bars.map((bar) => bar.count)));
  const peak = bars.reduce((a, b) => (b.count > a.count ? b : a));
  const length = LENGTHS.get(step) ?? 'step';
  const words = `${countText(stats.total, 'event')}, ${countText(stats.failed_logins, 'failed login')} in ${title}; most in one ${length}: ${groupedDigits(peak.count)}, starting ${label(peak.time, step)} UTC.`;
  return (
    <figure class="timeline">
      <figcaption>
        <span class="legend">
          <span class="key key-all" /> {countText(stats.total, 'event')}
        </span>
        <span class="legend">
          <span class="key key-failed" /> {countText(stats.failed_logins, 'failed login')}
        </span>
        <span class="per">per {length}, UTC</span>
      </figcaption>
      <div class="plot">
        <span class="axis-top" aria-hidden="true">
          {groupedDigits(top)}
        </span>
        <Bars bars={bars} step={step} top={top} words={words} />
        <svg class="ticks" aria-hidden="true" focusable="false">
          {ticksOf(bars, step).map((at) => (
            <text x={`${(100 * at) / bars.length}%`} y="14">
              {tick(bars[at]?.time ?? 0, step)}
            </text>
          ))}
        </svg>
      </div>
      <Numbers bars={bars} step={step} />
    </figure>
  );
}

interface BarsProps {
  readonly bars: readonly TimelineBar[];
  readonly step: number;
  /** The count at the upper edge. */
  readonly top: number;
  /** The chart in words, for screen readers. */
  readonly words: string;
}

function Bars({ bars, step, top, words }: BarsProps) {
  const columnOf = (kind: 'all' | 'failed', at: number, count: number) => {
    const height = Math.max(1.5, (count / top) * HEIGHT);
    return (
      <rect class={kind} x={at * WIDTH + GAP / 2} y={HEIGHT - height} width={WIDTH - GAP} height={height} />
    );
  };
  return (
    <svg
      viewBox={`0 0 ${bars.length * WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={words}
    >
      <path class="grid" d={`M0 .5H${bars.length * WIDTH}M0 ${HEIGHT / 2}H${bars.length * WIDTH}`} />
      {bars.map((bar, at) =>
        bar.count === 0 ? null : (
          <g>
            <title>{`${label(bar.time, step)}: ${countText(bar.count, 'event')}, ${countText(bar.failedLogins, 'failed login')}`}</title>
            <rect class="hit" x={at * WIDTH} y={0} width={WIDTH} height={HEIGHT} />
            {columnOf('all', at, bar.count)}
            {bar.failedLogins === 0 ? null : columnOf('failed', at, bar.failedLogins)}
          </g>
        ),
      )}
    </svg>
  );
}

function Numbers({ bars, step }: Pick<BarsProps, 'bars' | 'step'>) {
  return (
    <details class="numbers">
      <summary>As a table</summary>
      <table>
        <thead>
          <tr>
            <th scope="col">From (UTC)</th>
            <th scope="col">Events</th>
            <th scope="col">Failed logins</th>
          </tr>
        </thead>
        <tbody>
          {bars
            .filter((bar) => bar.count > 0)
            .map((bar) => (
              <tr>
                <th scope="row">{label(bar.time, step)}</th>
                <td>{groupedDigits(bar.count)}</td>
                <td>{groupedDigits(bar.failedLogins)}</td>
              </tr>
            ))}
        </tbody>
      </table>
    </details>
  );
}

function label(time: number, step: number): string {
  return step < DAY ? exact(time).slice(0, 16) : exact(time).slice(0, 10);
}

/** A short label, as several are side by side. */
function tick(time: number, step: number): string {
  if (step === HOUR) return exact(time).slice(11, 16);
  const month = new Date(time).toLocaleString('en', { month: 'short', timeZone: 'UTC' });
  const year = step >= 30 * DAY ? ` ${new Date(time).getUTCFullYear()}` : '';
  return `${new Date(time).getUTCDate()} ${month}${year}`;
}

const MOST_TICKS = 7;

/** The bars with a label below: at most seven, and only starts of days if bars are shorter than a day. */
export function ticksOf(bars: readonly TimelineBar[], step: number): number[] {
  const all = bars.flatMap(({ time }, at) => (step > HOUR && step < DAY && time % DAY !== 0 ? [] : [at]));
  const stride = Math.ceil(all.length / MOST_TICKS);
  // A label below the last bars would not fit.
  return all.filter((at, n) => n % stride === 0 && at <= bars.length * 0.9);
}
