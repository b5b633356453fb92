import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { banHistory, renderPast } from '../../src/commands/bans/history.js';
import { utcTime } from '../../src/commands/support/times.js';
import { parseConfig } from '../../src/config/load.js';
import { createRecorder } from '../../src/recorder/recorder.js';
import { State } from '../../src/shipping/state.js';

const directory = mkdtempSync(join(tmpdir(), 'postern-auditd-history-'));
afterEach(() => rmSync(directory, { recursive: true, force: true }));

it('the history of bans has the last bans and unbans that the daemon recorded', () => {
  const config = { ...parseConfig(`state: ${directory}`, 'c.yml'), server: 'here' };
  expect(banHistory(config)).toEqual([]);
  const state = new State(directory);
  expect(state.sourceId).toHaveLength(32);
  const recorder = createRecorder(state.db);
  const time = Date.UTC(2026, 10, 22, 20, 21, 0);
  const ban = (n: number, event: string, more: object) =>
    recorder.record({
      action: `ban.${event}`,
      time: time + n * 1_000,
      address: `203.0.113.${n}`,
      resourceId: `203.0.113.${n}`,
      details: { jail: 'posternproxy', ...more },
    });
  for (let n = 0; n < 20; n++) ban(n, 'ban', { failures: 5, ban_time_seconds: 3_600 });
  recorder.record({ action: 'daemon.start' });
  ban(20, 'unban', { failures: 0, ban_time_seconds: 3_600 });
  ban(21, 'ban', { failures: 0, ban_time_seconds: null });
  const history = banHistory(config);
  state.close();
  expect(history.map(({ address }) => address)).toEqual(
    [12, 13, 14, 15, 16, 17, 18, 19, 20, 21].map((n) => `203.0.113.${n}`),
  );
  expect(history.slice(-3).map((past) => renderPast(past, utcTime).slice(1))).toEqual([
    ['banned', '203.0.113.19', 'after 5 failures, for 60 min'],
    ['unbanned', '203.0.113.20'],
    ['banned', '203.0.113.21', 'by hand, for ever'],
  ]);
  expect(history.at(-1)).toMatchObject({ id: 'auditd:23', time: '2026-11-22T20:21:21.000Z', event: 'ban' });
});
