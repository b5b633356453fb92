/** A timer may fire so much before its time: the loop's clock, from which timers count, lags behind while a callback runs. */
const EARLY_MS = 2;
/** The longest that a timer of Node.js can be. */
const MOST_MS = 2 ** 31 - 1;

/** Work that is done again and again. */
export interface PeriodicTask {
  close(): void;
}

export interface TaskOptions {
  /** False: the process may end although this task goes on. */
  readonly keepsAlive?: boolean;
}

interface Task {
  readonly period: number;
  readonly run: () => void;
  readonly keepsAlive: boolean;
  /** Milliseconds of `performance.now()`. */
  due: number;
}

/**
 * Runs periodic tasks in one phase. All periods count from the same origin, so what is done each second, each 5 s and each minute is done at
 * the same moment: an idle process wakes once, where timers of their own would wake it once for each task.
 *
 * The clock is the monotonic one, so setting the system's clock changes nothing. After a pause (a suspended machine, a busy thread) a task
 * runs once, not once for each period that was missed. A task that throws stops no other task; its error is thrown afterwards.
 */
export class Ticker {
  private readonly tasks = new Set<Task>();
  private timer: NodeJS.Timeout | null = null;
  private armedFor = Number.POSITIVE_INFINITY;
  private isRunning = false;

  /** Runs `run` at each multiple of `period` ms, for the first time within `period` ms from now. */
  every(period: number, run: () => void, { keepsAlive = true }: TaskOptions = {}): PeriodicTask {
    const task: Task = { period, run, keepsAlive, due: nextMultiple(period, performance.now()) };
    this.tasks.add(task);
    this.arm();
    return {
      close: () => {
        if (this.tasks.delete(task)) this.arm();
      },
    };
  }

  /** One timer, for the task that is due first. */
  private arm(): void {
    if (this.isRunning) return; // it arms once all are done
    let due = Number.POSITIVE_INFINITY;
    let keepsAlive = false;
    for (const task of this.tasks) {
      due = Math.min(due, task.due);
      keepsAlive ||= task.keepsAlive;
    }
    if (due !== this.armedFor) {
      if (this.timer !== null) clearTimeout(this.timer);
      this.timer = null;
      this.armedFor = due;
      if (due === Number.POSITIVE_INFINITY) return;
      const delay = Math.ceil(due - performance.now());
      this.timer = setTimeout(() => this.runDue(), Math.min(MOST_MS, Math.max(0, delay)));
    }
    if (keepsAlive) this.timer?.ref();
    else this.timer?.unref();
  }

  private runDue(): void {
    this.timer = null;
    this.armedFor = Number.POSITIVE_INFINITY;
    const now = performance.now();
    const due = [...this.tasks].filter((task) => task.due <= now + earlyOf(task.period));
    for (const task of due) task.due = nextMultiple(task.period, now);
    const errors: unknown[] = [];
    this.isRunning = true;
    for (const task of due) {
      if (!this.tasks.has(task)) continue; // closed by one that ran before it
      try {
        task.run();
      } catch (error) {
        errors.push(error);
      }
    }
    this.isRunning = false;
    this.arm();
    if (errors.length > 0) throw errors[0];
  }
}

/** The multiple of `period` that comes next, where one that is only just ahead counts as now. */
function nextMultiple(period: number, now: number): number {
  return (Math.floor((now + earlyOf(period)) / period) + 1) * period;
}

function earlyOf(period: number): number {
  return Math.min(EARLY_MS, period / 10);
}

/** All periodic work of this process. */
export const ticker = new Ticker();
