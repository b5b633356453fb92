import type { SyslogTarget } from '../../config/syslog.js';
import type { AuditdError } from '../../errors.js';
import { sinkFailed } from '../sink-failed.js';
import { collectorError } from './collector-error.js';
import type { ConnectOptions } from './tcp.js';

/** A connection and the target it was made to. */
export interface Connected<T> {
  readonly index: number;
  readonly connection: T;
}

/** All targets together get no longer than this to answer; the untried ones are first the next time. */
const ROUND_MS = 40_000;
/** A connection to a target that is not the first is kept for so long before an earlier one is tried again. */
const STAY_MS = 60_000;

/** The targets of a sink: which to try, in which order, and when to go back to an earlier one. */
export class FailoverTargets<T> {
  private health: TargetHealth[];

  /** @param connect makes a connection, or throws what the user is to read */
  constructor(
    private readonly targets: readonly SyslogTarget[],
    private readonly timeoutMs: number,
    private readonly connect: (target: SyslogTarget, options: ConnectOptions) => Promise<T>,
  ) {
    this.health = targets.map(() => HEALTHY);
  }

  /** Tries the targets in turn. @throws AuditdError with what each of them did */
  async open(signal: AbortSignal): Promise<Connected<T>> {
    const started = performance.now();
    const errors: AuditdError[] = [];
    for (const index of tryOrder(this.health, started)) {
      if (errors.length > 0 && (signal.aborted || performance.now() - started > ROUND_MS)) break;
      try {
        return await this.connectTo(index, signal);
      } catch (error) {
        errors.push(collectorError(this.targets[index]?.text ?? '', error));
      }
    }
    throw allFailed(errors);
  }

  /** True if an earlier target may be tried again, with a connection to this one for so long. */
  mayFailBack(index: number, connectedMs: number): boolean {
    return connectedMs >= STAY_MS && earlierTargets(this.health, index, performance.now()).length > 0;
  }

  /** Tries the targets before this one; null if none of them is back. */
  async failBack(index: number, signal: AbortSignal): Promise<Connected<T> | null> {
    for (const earlier of earlierTargets(this.health, index, performance.now())) {
      try {
        return await this.connectTo(earlier, signal);
      } catch {
        // counted in its health; the present connection stays
      }
    }
    return null;
  }

  /** A connection has ended. One that held was a good one: the target is tried first again. */
  ended(index: number, connectedMs: number, stalled: boolean): void {
    if (connectedMs >= PROVEN_MS && !stalled) this.health[index] = HEALTHY;
    else this.failed(index);
  }

  private async connectTo(index: number, signal: AbortSignal): Promise<Connected<T>> {
    const target = this.targets[index];
    if (target === undefined) throw sinkFailed('no target is configured', 'Name one under targets');
    try {
      const options = { timeoutMs: this.timeoutMs, startedAt: performance.now(), signal };
      return { index, connection: await this.connect(target, options) };
    } catch (error) {
      if (!signal.aborted) this.failed(index);
      throw error;
    }
  }

  private failed(index: number): void {
    const before = this.health[index] ?? HEALTHY;
    this.health[index] = afterFailure(before, performance.now());
  }
}

/** What each of the targets did, and what to do about it. */
function allFailed(errors: readonly AuditdError[]): AuditdError {
  const [first] = errors;
  if (first !== undefined && errors.length === 1) return first;
  const steps = new Set(errors.map(({ next }) => next).filter((next) => next !== null));
  return sinkFailed(errors.map(({ what }) => what).join('; '), [...steps].join('. ') || null, errors.at(-1));
}

/** What is remembered of a target that has failed. */
export interface TargetHealth {
  /** Failures in a row. */
  readonly failures: number;
  /** Until then the others are tried before it, ms. */
  readonly avoidedUntil: number;
}

export const HEALTHY: TargetHealth = { failures: 0, avoidedUntil: Number.NEGATIVE_INFINITY };

const FIRST_MS = 10_000;
const CAP_MS = 300_000;

/** A connection that held for so long was a working one. */
const PROVEN_MS = 60_000;

/** A target that failed is avoided for 10 s, doubling up to 5 minutes. */
export function afterFailure(before: TargetHealth, now: number): TargetHealth {
  const failures = before.failures + 1;
  return { failures, avoidedUntil: now + Math.min(CAP_MS, FIRST_MS * 2 ** Math.min(failures - 1, 10)) };
}

/**
 * The order in which targets are tried, as indexes: those in good health as they are configured, then the avoided
 * ones, the one whose time is up first in front. All are tried: with every collector down none is better than another.
 */
export function tryOrder(health: readonly TargetHealth[], now: number): number[] {
  const all = health.map(({ avoidedUntil }, index) => ({ index, until: avoidedUntil }));
  const good = all.filter(({ until }) => until <= now);
  const avoided = all
    .filter(({ until }) => until > now)
    .sort((a, b) => a.until - b.until || a.index - b.index);
  return [...good, ...avoided].map(({ index }) => index);
}

/** The targets before the one in use to which a connection may go back now. */
export function earlierTargets(health: readonly TargetHealth[], current: number, now: number): number[] {
  return tryOrder(health, now).filter(
    (index) => index < current && (health[index]?.avoidedUntil ?? now) <= now,
  );
}
