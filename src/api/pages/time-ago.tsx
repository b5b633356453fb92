const UNITS: ReadonlyArray<readonly [unit: string, ms: number]> = [
  ['y', 31_557_600_000],
  ['mo', 2_629_800_000],
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1_000],
];

/** `3 min`. The unit is the largest of which there are at least one and a half, so that little is lost to rounding; at least seconds. */
export function span(ms: number): string {
  const [unit, size] = UNITS.find(([, each]) => ms >= each * 1.5) ?? ['s', 1_000];
  return `${Math.round(ms / size)} ${unit}`;
}

/** `3 min ago`, `in 2 h`. */
function relative(time: number, now: number): string {
  const ms = now - time;
  if (Math.abs(ms) < 5_000) return 'just now';
  return ms > 0 ? `${span(ms)} ago` : `in ${span(-ms)}`;
}

/** `2026-11-22 20:21:00`, UTC. */
export function exact(time: number): string {
  return new Date(time).toISOString().slice(0, 19).replace('T', ' ');
}

/** How long ago, with the exact time as a tooltip; page.js updates it. */
export function Ago({ time, now }: { time: number; now: number }) {
  return (
    <time datetime={new Date(time).toISOString()} title={`${exact(time)} UTC`} data-relative>
      {relative(time, now)}
    </time>
  );
}
