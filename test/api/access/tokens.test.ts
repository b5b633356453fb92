import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TokenStore } from '../../../src/api/access/tokens.js';
import { AuditdError } from '../../../src/errors.js';
import { createRecorder } from '../../../src/recorder/recorder.js';
import { State } from '../../../src/shipping/state.js';

let directory: string;
let state: State;
let tokens: TokenStore;
let now = Date.UTC(2026, 10, 1);

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'postern-tokens-'));
  state = new State(directory);
  tokens = new TokenStore({ db: state.db, clock: () => now, recorder: createRecorder(state.db) });
});
afterEach(() => {
  state.close();
  rmSync(directory, { recursive: true });
});

const make = (name: string, expiresAt: number | null = null) =>
  tokens.create({ name, scope: 'read', expiresAt, by: 'ada' });

const events = () =>
  state.db.prepare('SELECT action, resource_id, user_name, details FROM audit_log ORDER BY id').all();

describe('tokens', () => {
  it('tokens have 256 random bits, and their text is not stored', () => {
    const { text } = make('one');
    expect(text).toMatch(/^pat_[0-9a-f]{12}_[\w-]{43}$/);
    expect(make('two').text).not.toBe(text);
    state.db.pragma('wal_checkpoint(TRUNCATE)');
    const secret = text.split('_').slice(2).join('_');
    expect(readFileSync(state.path).includes(secret)).toBe(false);
    expect(readFileSync(state.path).includes(Buffer.from(secret, 'base64url'))).toBe(false);
  });

  it('tokens are valid exactly as shown', () => {
    const { text, token } = make('one');
    const other = make('other').text;
    expect(tokens.verify(text)).toMatchObject({
      state: 'valid',
      token: { id: token.id, name: 'one', scope: 'read' },
    });
    const last = text.endsWith('A') ? 'B' : 'A';
    const wrong = [
      '',
      text.slice(0, -1),
      `${text.slice(0, -1)}${last}`,
      `${text} `,
      text.toUpperCase(),
      `${text.slice(0, 16)}${other.slice(16)}`,
      `pat_000000000000_${text.slice(17)}`,
      "pat_' OR 1=1 --",
      'x'.repeat(100_000),
    ];
    for (const each of wrong) expect(tokens.verify(each), each.slice(0, 80)).toEqual({ state: 'unknown' });
  });

  it('tokens expire, which is reported differently from a wrong token', () => {
    const { text, token } = make('short', now + 1_000);
    expect(tokens.verify(text).state).toBe('valid');
    now += 1_000;
    expect(tokens.verify(text).state).toBe('expired');
    expect(tokens.get(token.id)).toBeNull();
  });

  it('tokens are rejected while the clock is years ahead, and valid again afterwards: none is deleted', () => {
    const { text } = make('one', now + 86_400_000);
    now += 2_950 * 86_400_000;
    expect(tokens.verify(text).state).toBe('expired');
    make('two');
    now -= 2_950 * 86_400_000;
    expect(tokens.verify(text).state).toBe('valid');
    expect(tokens.list()).toHaveLength(2);
  });

  it('tokens are invalid once revoked, by name or by id', () => {
    const [one, two] = [make('one'), make('two')];
    tokens.revoke('one', 'ada');
    tokens.revoke(two.token.id, null);
    expect([tokens.verify(one.text).state, tokens.verify(two.text).state]).toEqual(['unknown', 'unknown']);
    expect(tokens.list()).toEqual([]);
    expect(() => tokens.revoke('one', null)).toThrow(AuditdError);
  });

  it('tokens are recorded when created and revoked, without their text', () => {
    const { text, token } = make('one', now + 86_400_000);
    tokens.revoke('one', 'eve');
    expect(events()).toMatchObject([
      { action: 'token_create', resource_id: token.id, user_name: 'ada' },
      { action: 'token_delete', resource_id: token.id, user_name: 'eve' },
    ]);
    expect(JSON.stringify(events())).not.toContain(text.slice(17));
  });

  it('tokens store their last use to the minute, with one write a minute', () => {
    const { text } = make('one');
    const before = state.db.prepare('SELECT total_changes()').pluck().get() as number;
    const begin = now;
    for (let n = 0; n < 600; n++) {
      now = begin + n * 200; // two minutes
      tokens.verify(text);
    }
    expect(tokens.list()[0]?.last_used_at).toBeGreaterThan(now - 61_000);
    expect((state.db.prepare('SELECT total_changes()').pluck().get() as number) - before).toBeLessThanOrEqual(
      3,
    );
  });

  it.each(['', ' x', 'a\nb', 'x'.repeat(65), '-x', '<b>'])('tokens reject the name %j', (name) => {
    expect(() => make(name)).toThrow(/is not a valid token name/);
  });

  it('tokens have unique names', () => {
    make('one');
    expect(() => make('one')).toThrow('A token named one exists already');
  });
});
