import { afterEach, describe, expect, it } from 'vitest';
import { copyEvent } from '../../src/audit/event.js';
import { bsdTimestamp, createRfc3164Header, type Rfc3164Options } from '../../src/formats/rfc3164.js';
import { readBack } from '../support/read-events.js';
import { plainEvent } from './events.js';

const plain: Rfc3164Options = {
  facility: 'authpriv',
  appName: 'postern-auditd',
  procId: '4711',
  zone: 'utc',
};

describe('the header of RFC 3164', () => {
  const zone = process.env.TZ;
  afterEach(() => {
    if (zone === undefined) delete process.env.TZ;
    else process.env.TZ = zone;
  });

  it('the header of RFC 3164 has priority, time without a year, server and tag', () => {
    expect(createRfc3164Header(plain)(plainEvent)).toBe(
      '<86>Nov 22 20:21:00 pp1.example.net postern-auditd[4711]: ',
    );
  });

  it('the header of RFC 3164 pads the day with a space and the rest with zeros', () => {
    expect(bsdTimestamp(Date.UTC(2026, 0, 2, 3, 4, 5), 'utc')).toBe('Jan  2 03:04:05');
  });

  it("the header of RFC 3164 can have this host's zone, in summer and winter", () => {
    process.env.TZ = 'Europe/Warsaw';
    expect(bsdTimestamp(Date.UTC(2026, 10, 22, 23, 30), 'local')).toBe('Nov 23 00:30:00');
    expect(bsdTimestamp(Date.UTC(2026, 6, 1, 22, 30), 'local')).toBe('Jul  2 00:30:00');
    expect(bsdTimestamp(Date.UTC(2026, 10, 22, 23, 30), 'utc')).toBe('Nov 22 23:30:00');
  });

  it("the header of RFC 3164 has the time of reading if the row's time cannot be written", () => {
    for (const time of [null, 8.64e15, 1e300]) {
      expect(createRfc3164Header(plain)(copyEvent(plainEvent, { time }))).toMatch(/^<86>Nov 22 20:21:01 /);
    }
  });

  it('the header of RFC 3164 omits a missing tag or process id', () => {
    expect(createRfc3164Header({ ...plain, procId: null })(plainEvent)).toMatch(/ postern-auditd: $/);
    expect(createRfc3164Header({ ...plain, appName: null })(plainEvent)).toMatch(/ pp1\.example\.net $/);
  });

  it('server and tag have no character that would end them early', () => {
    const header = createRfc3164Header({ ...plain, appName: 'a[b]: c', procId: '1]' });
    expect(header(readBack(plainEvent, { server: 'x y\n' }))).toBe('<86>Nov 22 20:21:00 x_y_ a_b___c[1_]: ');
  });
});
