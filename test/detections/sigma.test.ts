import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { catalog } from '../../src/audit/event-catalog.js';
import { formatEcs } from '../../src/formats/ecs.js';
import { readRow, type TestRow } from '../support/read-events.js';
import { type EcsLine, matches, milliseconds, SIGMA, type SigmaRule, sigmaRules } from './sigma.js';

const rules = sigmaRules();
const START = Date.UTC(2026, 11, 1, 3, 0, 0);

const VALIDATE = `
import json, sys
from jsonschema import Draft202012Validator, FormatChecker
schema, rules = json.load(sys.stdin)
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema, format_checker=FormatChecker())
json.dump([[list(map(str, e.path)) + [e.message] for e in validator.iter_errors(rule)] for rule in rules], sys.stdout)
`;

/** The errors of each rule by a published schema, as Python's jsonschema finds them. */
function errorsBy(schema: string, of: readonly unknown[]): unknown {
  const published = readFileSync(resolve(import.meta.dirname, `../data/sigma/${schema}.json`), 'utf8');
  const input = `[${published}, ${JSON.stringify(of)}]`;
  const { stdout, stderr } = spawnSync('/usr/bin/python3', ['-c', VALIDATE], { input, encoding: 'utf8' });
  if (stdout === '') throw new Error(`python3-jsonschema: ${stderr}`);
  return JSON.parse(stdout);
}

/** The line of a row, as the audit log has it. */
function line(seconds: number, row: TestRow, sequence: number): EcsLine {
  const created_at = new Date(START + seconds * 1_000).toISOString();
  return JSON.parse(formatEcs(readRow({ created_at, ...row }, { sequence }))) as EcsLine;
}

function log(rows: readonly (readonly [seconds: number, row: TestRow])[]): EcsLine[] {
  return rows.map(([seconds, row], at) => line(seconds, row, at + 1));
}

/** The names of the rules that match in a log; rules that only others refer to are left out. */
function found(lines: readonly EcsLine[]): string[] {
  return rules
    .filter((rule) => rule.level !== 'informational' && matches(rule, lines, rules).length > 0)
    .map(({ name }) => name.replace(/^postern_/, ''));
}

const ATTACKER = '203.0.113.7';
const ADMIN = { user_id: 1, user_name: 'ada', user_email: 'ada@example.net', ip_address: '198.51.100.9' };
const failure = (over: TestRow = {}): TestRow => ({
  action: 'auth.login_failure',
  user_email: 'ada@example.net',
  ip_address: ATTACKER,
  ...over,
});
const failures = (count: number, every: number, over: (n: number) => TestRow = () => ({})) =>
  Array.from({ length: count }, (_, n) => [n * every, failure(over(n))] as const);
const change = (action: string, resource_type: string, details: unknown = {}): TestRow => ({
  ...ADMIN,
  action,
  resource_type,
  resource_id: 7,
  details: JSON.stringify(details),
});
const success: TestRow = { ...ADMIN, action: 'auth.login_success', ip_address: ATTACKER };

const cases: readonly [
  what: string,
  rows: readonly (readonly [number, TestRow])[],
  expected: readonly string[],
][] = [
  ['four failed logins', failures(4, 10), []],
  ['five within ten minutes', failures(5, 100), ['brute_force']],
  ['five within an hour', failures(5, 700), []],
  ['five of one user from five addresses', failures(5, 10, (n) => ({ ip_address: `203.0.113.${n}` })), []],
  [
    'five users from one address',
    failures(5, 700, (n) => ({ user_email: `user${n}@example.net` })),
    ['password_spraying'],
  ],
  ['four users from one address', failures(4, 100, (n) => ({ user_email: `user${n}@example.net` })), []],
  [
    'a login after five failures',
    [...failures(5, 10), [60, success]],
    ['brute_force', 'login_after_failures'],
  ],
  [
    'a login from elsewhere',
    [...failures(5, 10), [60, { ...success, ip_address: '198.51.100.1' }]],
    ['brute_force'],
  ],
  ['a login before the failures', [[-5, success], ...failures(5, 10)], ['brute_force']],
  ['a login a quarter of an hour later', [...failures(5, 10), [1_000, success]], ['brute_force']],
  ['a login after four failures', [...failures(4, 10), [60, success]], []],
  ['failures in other words', failures(5, 10, () => ({ action: 'Login Failed' })), ['brute_force']],
  ['a new administrator', [[0, change('create', 'user', { roles: ['admin'] })]], ['administrator_created']],
  [
    'a user becomes one',
    [[0, change('update', 'user', { after: { is_admin: true } })]],
    ['administrator_created'],
  ],
  ['a new user without rights', [[0, change('create', 'user', { roles: ['viewer'] })]], []],
  ['a host whose role is admin', [[0, change('create', 'proxy_host', { role: 'admin' })]], []],
  ['an alert of the daemon', [[0, change('alert.deletions', 'alert')]], ['alert']],
  ['a new token', [[0, change('auth.token_create', 'token')]], ['token_created']],
  ['a revoked token', [[0, change('auth.token_delete', 'token')]], []],
  ['a changed setting', [[0, change('update', 'setting')]], ['audit_settings_changed']],
  ['the configuration read again', [[0, change('daemon.reload', 'daemon')]], ['audit_settings_changed']],
  ['a deleted certificate', [[0, change('delete', 'certificate')]], ['certificate_deleted']],
  ['a renewed certificate', [[0, change('renew', 'certificate')]], []],
  ['lost rows', [[0, change('daemon.rows_lost', 'daemon')]], ['audit_gap']],
  ['another history', [[0, change('daemon.timeline_change', 'daemon')]], ['audit_gap']],
  ['a silent server', [[0, change('daemon.server_silent', 'daemon')]], ['daemon_silent']],
  ['a server is back', [[0, change('daemon.server_back', 'daemon')]], []],
  [
    'details that name an action',
    [[0, change('update', 'stream', { event: { action: 'certificate.delete' } })]],
    [],
  ],
  ['a user name that is one', [[0, { ...ADMIN, action: 'auth.logout', user_name: 'daemon.rows_lost' }]], []],
];

describe('the Sigma rules', () => {
  it('are valid by the published schemas', () => {
    const [single, correlated] = [
      rules.filter(({ correlation }) => correlation === undefined),
      rules.filter(({ correlation }) => correlation !== undefined),
    ];
    expect(errorsBy('sigma-detection-rule-schema', single)).toEqual(single.map(() => []));
    expect(errorsBy('sigma-correlation-rules-schema', correlated)).toEqual(correlated.map(() => []));
    expect(correlated.length).toBeGreaterThan(2);
  });

  it('the schemas find a rule without a title, and a level that there is not', () => {
    const [rule] = rules;
    const broken = [
      { ...rule, title: undefined },
      { ...rule, level: 'severe' },
    ];
    expect(JSON.stringify(errorsBy('sigma-detection-rule-schema', broken))).toMatch(
      /title.*required.*severe/,
    );
  });

  it('have a name and an id of their own, and actions that the catalog knows', () => {
    expect(new Set(rules.map(({ name }) => name)).size).toBe(rules.length);
    expect(new Set(rules.map(({ id }) => id)).size).toBe(rules.length);
    expect(readdirSync(SIGMA).map((file) => file.replace(/\.yml$/, ''))).toEqual(
      rules.map(({ name }) => name),
    );
    const known = new Set(catalog.map(({ action }) => action));
    const actions = (search: unknown): string[] =>
      typeof search !== 'object' || search === null
        ? []
        : Object.entries(search).flatMap(([key, value]) =>
            key === 'event.action' ? [value].flat().map(String) : actions(value),
          );
    for (const { name, detection } of rules)
      for (const action of actions(detection)) expect(known.has(action), `${name}: ${action}`).toBe(true);
    for (const { name, correlation } of rules)
      if (correlation !== undefined) expect(milliseconds(correlation.timespan), name).toBeGreaterThan(0);
  });

  it.each(cases)('%s', (_, rows, expected) => {
    expect(found(log([...rows].sort(([a], [b]) => a - b)))).toEqual(expected);
  });

  it('each matches one of the logs above', () => {
    const shown = new Set(cases.flatMap(([, , expected]) => expected.map((name) => `postern_${name}`)));
    const all = rules.filter(({ level }) => level !== 'informational').map(({ name }) => name);
    expect(shown).toEqual(new Set(all));
  });
});

const threshold = (rule: string, of: 'count' | 'span') => {
  const { correlation } = rules.find(({ name }) => name === `postern_${rule}`) as SigmaRule;
  return of === 'span' ? (correlation?.timespan ?? '') : String(correlation?.condition?.gte ?? '');
};

describe('the queries of stores', () => {
  const queries = (['elastic', 'splunk'] as const).flatMap((store) => {
    const directory = resolve(SIGMA, '..', store);
    return readdirSync(directory).map(
      (name) => [`${store}/${name}`, readFileSync(join(directory, name), 'utf8')] as const,
    );
  });

  it.each(queries)('%s has the actions, count and time of its Sigma rule', (name, text) => {
    const rule = /\/postern_(\w+)\./.exec(name)?.[1] ?? '';
    const counted = rule === 'login_after_failures' ? 'brute_force' : rule;
    expect(text).toContain('auth.login_failure');
    expect(text.includes('auth.login_success')).toBe(rule === 'login_after_failures');
    expect(text).toMatch(new RegExp(`\\b${threshold(counted, 'count')}\\b`));
    expect(text).toMatch(new RegExp(`\\b${threshold(rule, 'span')}`));
  });

  it('exist for the first three rules', () => {
    expect(queries.map(([name]) => name.replace(/\.\w+$/, '')).sort()).toEqual(
      ['elastic', 'splunk'].flatMap((store) =>
        ['brute_force', 'login_after_failures', 'password_spraying'].map(
          (rule) => `${store}/postern_${rule}`,
        ),
      ),
    );
  });
});
