/** ISO 8601, UTC. Neighbours share their second, so it is made once. */
export class Stamp {
  private time = Number.NaN;
  private text = '';
  private second = Number.NaN;
  private whole = '';

  milliseconds(time: number): string {
    if (time === this.time) return this.text;
    const whole = this.upToSecond(time);
    const rest = time - this.second * 1_000;
    this.time = time;
    this.text = `${whole}.${rest < 10 ? '00' : rest < 100 ? '0' : ''}${rest}Z`;
    return this.text;
  }

  seconds(time: number): string {
    return `${this.upToSecond(time)}Z`;
  }

  private upToSecond(time: number): string {
    const second = Math.floor(time / 1_000);
    if (second === this.second) return this.whole;
    this.second = second;
    this.whole = new Date(second * 1_000).toISOString().slice(0, -5);
    return this.whole;
  }
}
