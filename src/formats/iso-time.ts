const DAY_MS = 86_400_000;
const PAIRS = Array.from({ length: 100 }, (_, number) => String(number).padStart(2, '0'));

/**
 * Formats times as ISO 8601 in UTC, as `toISOString` does, for rows in the order of their times. Parts that neighbours share are cached
 * (their millisecond, their second, their day), so a Date is made once a day. Use one instance for each series of times.
 */
export class IsoTime {
  private time = Number.NaN;
  private text = '';
  private second = Number.NaN;
  private upToSecond = '';
  private day = Number.NaN;
  private upToDay = '';

  /** @param time whole milliseconds since the epoch */
  milliseconds(time: number): string {
    if (time === this.time) return this.text;
    const whole = this.beforeFraction(time);
    const rest = time - this.second * 1_000;
    this.time = time;
    this.text = `${whole}.${rest < 10 ? '00' : rest < 100 ? '0' : ''}${rest}Z`;
    return this.text;
  }

  seconds(time: number): string {
    return `${this.beforeFraction(time)}Z`;
  }

  private beforeFraction(time: number): string {
    const second = Math.floor(time / 1_000);
    if (second === this.second) return this.upToSecond;
    this.second = second;
    const day = Math.floor(time / DAY_MS);
    if (day !== this.day) {
      this.day = day;
      this.upToDay = new Date(day * DAY_MS).toISOString().slice(0, -13);
    }
    const seconds = second - day * (DAY_MS / 1_000);
    const minutes = Math.floor(seconds / 60);
    this.upToSecond = `${this.upToDay}${PAIRS[Math.floor(minutes / 60)]}:${PAIRS[minutes % 60]}:${PAIRS[seconds % 60]}`;
    return this.upToSecond;
  }
}
