import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { expect, it, onTestFinished, vi } from 'vitest';
import { SilentServersState } from '../../src/fleet/silent-servers-state.js';
import { State } from '../../src/shipping/state.js';

const log = pino({ level: 'silent' });

it('the hub remembers the silent servers after a restart', () => {
  const directory = mkdtempSync(join(tmpdir(), 'postern-silent-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const state = new State(directory);
  expect(new SilentServersState(state, log).read()).toEqual([]);
  new SilentServersState(state, log).save(['a', 'b-2']);
  state.close();
  const again = new State(directory);
  expect(new SilentServersState(again, log).read()).toEqual(['a', 'b-2']);
  new SilentServersState(again, log).save([]);
  expect(new SilentServersState(again, log).read()).toEqual([]);
  again.close();
});

it('the hub logs that the silent servers can not be saved, and keeps running', () => {
  const error = vi.spyOn(log, 'error');
  const full = () => {
    throw new Error('database or disk is full');
  };
  new SilentServersState({ note: () => null, setNote: full }, log).save(['a']);
  expect(error.mock.calls[0]?.[1]).toBe(
    "can't save which servers are silent: database or disk is full; a restart reports them again",
  );
});
