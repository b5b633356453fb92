import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { expect } from 'vitest';
import type { AuditEvent } from '../../../src/audit/event.js';
import { type SyslogSinkConfig, syslogSink } from '../../../src/config/syslog.js';
import { createFormatter } from '../../../src/formats/syslog-message.js';
import type { Batch, Sink } from '../../../src/sinks/sink.js';
import { createSyslogSink } from '../../../src/sinks/syslog/syslog-sink.js';
import { deliverEvents } from '../../support/deliver.js';
import { failure } from '../files/files-fixture.js';

function configOf(config: Record<string, unknown>): SyslogSinkConfig {
  return syslogSink.parse({ type: 'syslog', ...config });
}

export function syslog(config: Record<string, unknown>, format?: (event: AuditEvent) => string): Sink {
  const deps = { name: 'test', clock: Date.now, minFree: 0, log: pino({ level: 'silent' }) };
  return format === undefined
    ? createSyslogSink(configOf(config), deps)
    : createSyslogSink(configOf(config), deps, format);
}

/** Failed logins whose details differ in size and script. */
export function events(from: number, to: number): AuditEvent[] {
  return Array.from({ length: to - from + 1 }, (_, n) => {
    const id = from + n;
    return failure(id, { details: JSON.stringify({ reason: 'złe hasło', n: id, pad: 'x'.repeat(id % 97) }) });
  });
}

/** What the sink sends for events, without the framing. */
export function messages(list: readonly AuditEvent[], config: Record<string, unknown>): string[] {
  const sink = configOf(config);
  const format = createFormatter({
    format: sink.format,
    envelope: sink.envelope,
    facility: sink.facility,
    appName: sink.app_name,
    procId: String(process.pid),
    structuredDataId: sink.structured_data.id,
    bom: sink.bom,
    maxMessageSize: sink.max_message_size,
  });
  return list.map(format);
}

/** Ships all of a list without a failure and waits until a receiver has it, in order and byte by byte. */
export async function expectToArrive(
  list: readonly AuditEvent[],
  config: Record<string, unknown>,
  lines: () => readonly string[],
): Promise<void> {
  const before = lines().length;
  const sink = syslog(config);
  const shipping = new Shipping(sink, list);
  await shipping.until(list.at(-1)?.sequence ?? 0);
  await sink.close();
  await expect.poll(() => lines().length - before, { timeout: 60_000, interval: 50 }).toBe(list.length);
  expect(lines().slice(before)).toEqual(messages(list, config));
  expect(shipping.errors).toEqual([]);
}

const PAGE = 2_000;

/**
 * Ships a list of events as the loop in src/shipping does it: pages from the cursor on, `open` again after whatever was thrown, cursors
 * corrected by what it returns, the note kept with the cursor.
 */
export class Shipping {
  cursor = 0;
  saved: string | null = null;
  readonly errors: string[] = [];
  private opened = false;
  private stopping = false;

  constructor(
    public sink: Sink,
    private readonly list: readonly AuditEvent[],
    private readonly pauseMs = 20,
  ) {}

  /** Until the cursor stands at `upTo`. */
  async until(upTo: number, signal: AbortSignal = new AbortController().signal): Promise<void> {
    this.stopping = false;
    while (this.cursor < upTo && !this.stopping && !signal.aborted) await this.step(upTo, signal);
  }

  /** Lets `until` end after the step it is at. */
  stop(): void {
    this.stopping = true;
  }

  /** One delivery, or one `open`, or one `tick` where nothing is left. */
  async step(upTo: number, signal: AbortSignal = new AbortController().signal): Promise<void> {
    try {
      if (!this.opened) await this.open();
      const page = this.list.slice(this.cursor, Math.min(this.cursor + PAGE, upTo));
      const last = page.at(-1);
      if (last === undefined) {
        this.saved = (await this.sink.tick?.()) ?? this.saved;
        return;
      }
      const batch: Batch = { source: 'postern', timeline: 1, events: page, upTo: last.sequence };
      const delivered = await deliverEvents(this.sink, batch, signal);
      this.cursor = delivered.upTo;
      this.saved = delivered.saved ?? this.saved;
      await this.sink.tick?.();
    } catch (error) {
      this.opened = false;
      this.errors.push(error instanceof Error ? error.message : String(error));
      await sleep(this.pauseMs);
    }
  }

  async open(): Promise<void> {
    const resume = await this.sink.open(this.saved);
    for (const position of resume?.positions ?? []) this.cursor = Math.min(this.cursor, position.upTo);
    this.opened = true;
  }

  /** Ends the process, as far as a sink can tell, and begins another. */
  async restart(sink: Sink, way: 'close' | 'die'): Promise<void> {
    if (way === 'close') {
      await this.sink.close();
      this.saved = this.sink.finalState?.() ?? this.saved;
    }
    this.sink = sink;
    this.opened = false;
  }
}
