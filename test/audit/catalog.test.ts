import { describe, expect, it } from 'vitest';
import { catalog } from '../../src/audit/catalog.js';

const HOST = ['create', 'update', 'delete', 'enable', 'disable'];

/** The table "What is logged" of the product's page. */
const PAGE: Readonly<Record<string, readonly string[]>> = {
  auth: ['login_success', 'login_failure', 'logout', 'token_create', 'token_delete'],
  proxy_host: HOST,
  redirection_host: HOST,
  stream: HOST,
  dead_host: HOST,
  certificate: ['create', 'upload', 'renew', 'delete'],
  access_list: ['create', 'update', 'delete'],
  port_forward: HOST,
  user: ['create', 'update', 'delete', 'password_change'],
  setting: ['update'],
  backup: ['download', 'restore'],
};

/** schemas/event.yml of ECS 8.17.0, `expected_event_types` of the categories that are used. */
const ECS: Readonly<Record<string, readonly string[]>> = {
  authentication: ['start', 'end', 'info'],
  configuration: ['access', 'change', 'creation', 'deletion', 'info'],
  database: ['access', 'change', 'info', 'error'],
  file: ['access', 'change', 'creation', 'deletion', 'info'],
  iam: ['admin', 'change', 'creation', 'deletion', 'group', 'info', 'user'],
  intrusion_detection: ['allowed', 'denied', 'info'],
  process: ['access', 'change', 'end', 'info', 'start'],
};

describe('the catalog', () => {
  it.each(Object.entries(PAGE))(
    'the catalog has every action that the product page lists for %s',
    (category, actions) => {
      const found = catalog.filter((type) => type.category === category).map(({ action }) => action);
      expect(found).toEqual(expect.arrayContaining(actions.map((action) => `${category}.${action}`)));
    },
  );

  it('the catalog has each name once, in snake case', () => {
    const names = catalog.map(({ action }) => action);
    expect(new Set(names).size).toBe(names.length);
    for (const { action, category } of catalog) {
      expect(action).toMatch(/^[a-z_]+\.[a-z_]+$/);
      expect(action.startsWith(`${category}.`)).toBe(true);
    }
  });

  it('every action of the catalog fits into a MSGID of syslog (RFC 5424: 32 characters)', () => {
    for (const { action } of catalog) expect(action.length).toBeLessThanOrEqual(32);
  });

  it('the categories and types of the catalog are allowed by ECS 8.17', () => {
    for (const { action, ecs } of catalog) {
      expect(ecs.category.length, action).toBeGreaterThan(0);
      const allowed = ecs.category.flatMap((category) => ECS[category] ?? []);
      for (const type of ecs.type) expect(allowed, `${action}: ${type}`).toContain(type);
    }
  });

  it('one action of the catalog is a failed login, and no other is a failure of a client', () => {
    const failures = catalog.filter(({ outcome }) => outcome === 'failure').map(({ action }) => action);
    expect(failures).toEqual([
      'auth.login_failure',
      'daemon.row_quarantined',
      'daemon.server_silent',
      'daemon.server_name_taken',
      'daemon.fleet_gap',
      'daemon.fleet_limit',
      'daemon.ban_report_unreadable',
      'daemon.failures_withheld',
      'daemon.rows_lost',
      'daemon.anchor_refuse',
      'daemon.hold_override',
      'daemon.own_events_missing',
      'daemon.rows_changed',
      'daemon.event_refused',
    ]);
  });
});
