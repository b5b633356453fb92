import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Ending, ReplayWindow, type WindowLimits } from '../../../src/sinks/syslog/replay-window.js';
import { batch } from '../files/files-fixture.js';

const DEFAULT: WindowLimits = { events: 1_000, bytes: 16 * 2 ** 20, age: 60_000 };
const EVENTS_ONLY: WindowLimits = { events: 160, bytes: 0, age: 0 };

function rows(from: number, to: number, source: 'postern' | 'auditd' = 'postern', timeline = 1) {
  return batch(from, to, { source, timeline }).events.map(({ sequence }) => sequence);
}

/** Sends rows `from` to `to` in batches of ten, 100 bytes and 1 ms each. */
function send(window: ReplayWindow, from: number, to: number, size = 100): void {
  for (let at = from; at <= to; at += 10) {
    const events = rows(at, Math.min(to, at + 9));
    window.add('postern', 1, events, events.length * size);
    window.addConnectedTime(events.length);
  }
}

function resumed(window: ReplayWindow): Array<[string, number, number]> {
  return window.resume().map(({ source, timeline, upTo }) => [source, timeline, upTo]);
}

function held(window: ReplayWindow): Array<[string, number, number]> {
  return window.undelivered().map(({ source, timeline, upTo }) => [source, timeline, upTo]);
}

function again(limits: WindowLimits, window: ReplayWindow): ReplayWindow {
  return ReplayWindow.restore(limits, window.serialize());
}

describe('the replay window', () => {
  it('the replay window is empty at the very first start', () => {
    expect(resumed(ReplayWindow.restore(DEFAULT, null))).toEqual([]);
    expect(ReplayWindow.restore(DEFAULT, null).undelivered()).toEqual([]);
  });

  it.each<[string, WindowLimits, number]>([
    ['events', { events: 160, bytes: 0, age: 0 }, 840],
    ['bytes', { events: 0, bytes: 16_000, age: 0 }, 840],
    ['age', { events: 0, bytes: 0, age: 161 }, 840],
    ['the largest of them', { events: 160, bytes: 1_600, age: 320 }, 680],
    ['all there is, where it is less', DEFAULT, 0],
  ])('the replay window covers %s, and at most a slice of a sixteenth more', (_, limits, upTo) => {
    const window = new ReplayWindow(limits);
    send(window, 1, 1_000);
    window.ended('lost');
    const [position] = window.resume();
    expect(position).toMatchObject({ source: 'postern', timeline: 1, found: [] });
    expect(position?.upTo).toBeLessThanOrEqual(upTo);
    expect(position?.upTo).toBeGreaterThanOrEqual(upTo - Math.max(20, (1_000 - upTo) / 8));
  });

  it('a replay window with all limits 0 replays nothing', () => {
    const window = new ReplayWindow({ events: 0, bytes: 0, age: 0 });
    send(window, 1, 100);
    window.ended('lost');
    expect(resumed(window)).toEqual([]);
  });

  it('the replay window is the same in a new process, which does not know how the old one stopped', () => {
    const window = new ReplayWindow(EVENTS_ONLY);
    send(window, 1, 1_000);
    const restored = again(EVENTS_ONLY, window);
    window.ended('lost');
    expect(resumed(restored)).toEqual(resumed(window));
    expect(held(again(EVENTS_ONLY, window))).toEqual(resumed(again(EVENTS_ONLY, window)));
  });

  it('the replay window does not age while there is no connection', () => {
    const window = new ReplayWindow({ events: 0, bytes: 0, age: 60_000 });
    send(window, 1, 10);
    window.ended('lost');
    expect(resumed(again({ events: 0, bytes: 0, age: 60_000 }, window))).toEqual([['postern', 1, 0]]);
  });

  it('the replay window keeps its beginning during a replay, and advances afterwards', () => {
    const window = new ReplayWindow(EVENTS_ONLY);
    send(window, 1, 1_000);
    window.ended('lost');
    const [[, , start = 0] = []] = resumed(window);
    send(window, start + 1, start + 50); // broken again in the middle
    window.ended('lost');
    expect(resumed(window)).toEqual([['postern', 1, start]]);
    send(window, start + 1, 2_000);
    window.ended('lost');
    const [[, , later = 0] = []] = resumed(window);
    expect(later).toBeGreaterThan(1_800);
  });

  it('the replay window advances although each connection breaks before the replay is complete', () => {
    // A collector that dies every 5 s under a backlog must not be sent the same minute for ever.
    const limits = { events: 0, bytes: 0, age: 60_000 };
    const window = new ReplayWindow(limits);
    const starts: number[] = [];
    let at = 0;
    for (let connection = 0; connection < 40; connection++) {
      for (let second = 0; second < 5; second++) {
        window.add('postern', 1, rows(at + 1, at + 10), 1_000);
        at += 10;
        window.addConnectedTime(1_000);
      }
      window.ended('lost');
      const [position] = window.resume();
      at = position?.upTo ?? at;
      starts.push(at);
    }
    expect(starts.at(-1)).toBeGreaterThan(starts[0] ?? 0);
  });

  it.each<[string, Ending[], boolean[]]>([
    ['lost each time', ['lost', 'lost', 'lost'], [true, true, true]],
    ['closed by the collector while idle', ['closed', 'closed', 'closed'], [true, false, false]],
    ['closed by us and read to the end', ['orderly', 'orderly'], [false, false]],
    ['lost after being closed', ['closed', 'closed', 'lost'], [true, false, true]],
  ])('whether the replay window is sent again: %s', (_, endings, expected) => {
    const window = new ReplayWindow({ ...DEFAULT, age: 1_000 });
    send(window, 1, 100);
    const replays = endings.map((ending) => {
      window.addConnectedTime(5_000);
      window.ended(ending);
      const replayed = window.replays;
      const [position] = window.resume();
      if (position !== undefined) send(window, position.upTo + 1, 100);
      return replayed;
    });
    expect(replays).toEqual(expected);
  });

  it.each<Ending>(['closed', 'orderly'])(
    'young rows are sent again, even if the connection was %s',
    (ending) => {
      const window = new ReplayWindow({ events: 0, bytes: 16_000, age: 1_000 });
      send(window, 1, 100);
      window.ended('closed');
      send(window, (window.resume()[0]?.upTo ?? 0) + 1, 100);
      window.addConnectedTime(60_000);
      send(window, 101, 200);
      window.ended(ending);
      const restored = again({ events: 0, bytes: 16_000, age: 1_000 }, window);
      expect(restored.resume().length).toBe(1);
    },
  );

  it('a connection that closed before the replay was complete does not count', () => {
    const window = new ReplayWindow({ ...DEFAULT, age: 0 });
    send(window, 1, 100);
    window.ended('closed');
    expect(resumed(window)).toEqual([['postern', 1, 0]]);
    send(window, 1, 50);
    window.ended('closed');
    expect(resumed(window)).toEqual([['postern', 1, 0]]);
  });

  it('the replay window keeps sources separate and in order', () => {
    const window = new ReplayWindow(DEFAULT);
    window.add('postern', 1, rows(11, 20), 1_000);
    window.add('auditd', 1, rows(1, 3, 'auditd'), 300);
    window.add('postern', 1, rows(21, 30), 1_000);
    window.ended('lost');
    expect(resumed(window)).toEqual([
      ['postern', 1, 10],
      ['auditd', 1, 0],
    ]);
  });

  it('a replay window with two timelines covers the later one from its beginning', () => {
    const window = new ReplayWindow(DEFAULT);
    window.add('postern', 1, rows(991, 1_000), 1_000);
    window.add('postern', 2, rows(31, 40, 'postern', 2), 1_000);
    window.ended('lost');
    expect(resumed(window)).toEqual([
      ['postern', 1, 990],
      ['postern', 2, 0],
    ]);
  });

  it.each(['', 'null', '{}', '{"v":2}', '{"v":1,"up":0,"ends":{},"slices":[1]}', 'x'])(
    'the replay window starts empty from a note like %j',
    (saved) => {
      expect(ReplayWindow.restore(DEFAULT, saved).events).toBe(0);
    },
  );

  it('the replay window keeps its saved state small for any sequence of events', () => {
    const window = new ReplayWindow(DEFAULT);
    let at = 0;
    for (let n = 0; n < 20_000; n++) {
      window.add('postern', 1, rows(at + 1, at + 1), 700);
      at++;
      window.addConnectedTime(2_000);
      if (n % 3 === 0) {
        window.ended('closed');
        window.resume();
        window.add('postern', 1, rows(at, at), 700);
      }
    }
    expect(window.serialize().length).toBeLessThan(2_000);
  });

  it('the replay window covers its limits after any sequence of events and endings', () => {
    const step = fc.oneof(
      fc.record({ send: fc.integer({ min: 1, max: 40 }), size: fc.integer({ min: 1, max: 300 }) }),
      fc.record({ pass: fc.integer({ min: 0, max: 500 }) }),
      fc.record({ end: fc.constantFrom<Ending>('lost', 'closed', 'orderly') }),
      fc.record({ restart: fc.constant(true) }),
    );
    const limits = { events: 50, bytes: 5_000, age: 1_000 };
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        let window = new ReplayWindow(limits);
        let at = 0;
        /** Every first sending: row, bytes, connected time. */
        const sent: Array<{ id: number; size: number; time: number }> = [];
        let up = 0;
        for (const s of steps) {
          if ('send' in s) {
            const sequences = rows(at + 1, at + s.send);
            window.add('postern', 1, sequences, s.send * s.size);
            for (const sequence of sequences) {
              if (sequence > (sent.at(-1)?.id ?? 0)) sent.push({ id: sequence, size: s.size, time: up });
            }
            at += s.send;
          } else if ('pass' in s) {
            window.addConnectedTime(s.pass);
            up += s.pass;
          } else {
            if ('end' in s) window.ended(s.end);
            else window = ReplayWindow.restore(limits, window.serialize());
            const lost = 'restart' in s || s.end === 'lost';
            const upTo = window.resume()[0]?.upTo ?? at;
            if (lost) {
              const after = sent.filter(({ id }) => id > upTo);
              const before = sent.filter(({ id }) => id <= upTo);
              const bytes = after.reduce((sum, { size }) => sum + size, 0);
              const youngest = before.at(-1);
              if (youngest !== undefined) {
                expect(after.length).toBeGreaterThanOrEqual(limits.events);
                expect(bytes).toBeGreaterThanOrEqual(limits.bytes - sent.length); // halves of bytes are rounded
                expect(up - youngest.time).toBeGreaterThanOrEqual(limits.age);
              }
            }
            at = upTo;
          }
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('what retention must keep for the replay window', () => {
  it.each<[string, number, number]>([
    ['one a second', 1_000, 60],
    ['one in five minutes', 300_000, 1],
  ])(
    "retention keeps rows sent within the window's age over an open connection, on a quiet system: %s",
    (_, every, kept) => {
      const window = new ReplayWindow(DEFAULT);
      for (let id = 1; id <= 500; id++) {
        window.add('postern', 1, rows(id, id), 400);
        window.addConnectedTime(every);
      }
      expect(window.events).toBe(500);
      const upTo = window.undelivered()[0]?.upTo ?? 500;
      expect(500 - upTo).toBeLessThanOrEqual(kept + kept / 8);
      expect(500 - upTo).toBeGreaterThanOrEqual(kept - 1);
      window.addConnectedTime(60_000);
      expect(window.undelivered()).toEqual([]);
    },
  );

  it.each<[Ending, number | null]>([
    ['lost', 0],
    ['closed', 0],
    ['orderly', null],
  ])('retention keeps the rows that the next connection begins with: %s', (ending, upTo) => {
    const window = new ReplayWindow(DEFAULT);
    send(window, 1, 500);
    window.addConnectedTime(60_000);
    window.ended(ending);
    expect(held(window)).toEqual(upTo === null ? [] : [['postern', 1, upTo]]);
    expect(held(window)).toEqual(held(again(DEFAULT, window)));
    expect(held(window)).toEqual(resumed(window));
  });

  it('retention keeps rows that were sent again until they reach the age', () => {
    const window = new ReplayWindow(DEFAULT);
    send(window, 1, 500);
    window.addConnectedTime(3_600_000);
    window.ended('lost');
    window.resume();
    window.addConnectedTime(3_600_000);
    expect(held(window)).toEqual([['postern', 1, 0]]);
    send(window, 1, 500);
    window.addConnectedTime(59_000);
    expect(held(window)).toEqual([['postern', 1, 0]]);
    window.addConnectedTime(1_000);
    expect(held(window)).toEqual([]);
  });

  it('retention keeps the whole window without a limit of age', () => {
    const window = new ReplayWindow(EVENTS_ONLY);
    send(window, 1, 1_000);
    window.addConnectedTime(3_600_000);
    const before = held(window);
    window.ended('lost');
    expect(before).toEqual(resumed(window));
    expect(before).toHaveLength(1);
  });
});
