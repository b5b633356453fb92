import { describe, expect, it } from 'vitest';
import {
  confirmClock,
  countUptime,
  EXPIRY_WAIT_MS,
  type ExpiryNote,
  mayGoUpTo,
  recordExpired,
  type UptimeLook,
} from '../../src/retention/expiry.js';
import { NOW } from './retention-fixture.js';

const H = 3_600_000;
const archives = [1, 2, 3].map((sequence) => ({ sequence, sha256: String(sequence) }));

function look(wall: number, ran: number, boot: string | null = null): UptimeLook {
  return { wall: NOW + wall * H, ran: ran * H, boot };
}

function counted(...looks: readonly UptimeLook[]): ExpiryNote {
  return looks.reduce<ExpiryNote | null>((note, one) => countUptime(note, one), null) as ExpiryNote;
}

describe('the running time of the machine', () => {
  it('running time is summed over boots, independent of the clock, and never overstated', () => {
    expect(counted(look(0, 10), look(50_000, 12)).total).toBe(2 * H);
    expect(counted(look(0, 10), look(1, 0.5), look(-900, 3)).total).toBe(3 * H);
    expect(counted(look(0, 10, 'a'), look(1, 11, 'b')).total).toBe(11 * H);
    expect(counted(look(0, 10), look(1, 11)).total).toBe(H); // possibly another boot, with an uptime of 11 h
  });
});

describe('an archive past its age', () => {
  it('an expired archive is removed 24 h of running time after it was recorded, and is dropped if no longer expired', () => {
    let note = recordExpired(counted(look(0, 10)), '/a', archives.slice(0, 2));
    note = recordExpired(countUptime(note, look(1, 20)), '/a', archives);
    expect(mayGoUpTo(note)).toBe(0);
    note = recordExpired(countUptime(note, look(9_000, 33.9)), '/a', archives);
    expect(mayGoUpTo(note)).toBe(0);
    note = recordExpired(countUptime(note, look(2, 34)), '/a', archives);
    expect(mayGoUpTo(note)).toBe(2);
    note = recordExpired(note, '/a', []);
    expect(mayGoUpTo(recordExpired(note, '/a', archives))).toBe(0);
    const old = recordExpired(countUptime(note, look(0, 34)), '/a', archives);
    const later = countUptime(old, look(0, 34 + EXPIRY_WAIT_MS / H));
    expect(mayGoUpTo(recordExpired(later, '/b', archives))).toBe(0);
    expect(mayGoUpTo(recordExpired(later, '/a', [{ sequence: 1, sha256: 'another' }]))).toBe(0);
    expect(mayGoUpTo(recordExpired(later, '/a', archives))).toBe(3);
  });
});

describe('a clock that the operator has confirmed', () => {
  it('a confirmed clock is trusted until it is set, at once or gradually, or the machine was off for over an hour', () => {
    const note = confirmClock(counted(look(0, 10)));
    const known = (...looks: readonly UptimeLook[]) =>
      looks.reduce<ExpiryNote>((one, next) => countUptime(one, next), note).confirmed !== null;
    expect(known(look(100, 110))).toBe(true);
    expect(known(look(2, 10))).toBe(false);
    expect(known(look(-2, 10))).toBe(false);
    expect(known(look(0.9, 10), look(1.8, 10))).toBe(false);
    expect(known(look(0.5, 0.2))).toBe(true);
    expect(known(look(70_800, 0.1))).toBe(false);
    expect(known(look(70_800, 0.1), look(1, 1))).toBe(false);
  });
});
