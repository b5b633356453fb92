import type { NewEntry } from '../../recorder/recorder.js';

/** Documentation addresses (RFC 5737): these are nobody's. */
const ADMIN = '192.0.2.10';
const ATTACKER = '203.0.113.66';
export const VICTIM = '198.51.100.7';

const HOUR = 3_600_000;
const anna = { id: 1, name: 'anna', email: 'anna@example.net' };

/** A day of an administrator that ends an hour before `now`. */
export function day(now: number): NewEntry[] {
  const at = (hoursAgo: number, entry: Omit<NewEntry, 'time'>): NewEntry => ({
    user: anna,
    address: ADMIN,
    ...entry,
    time: now - hoursAgo * HOUR,
  });
  return [
    at(25, { action: 'auth.login_success' }),
    at(24.5, {
      action: 'proxy_host.create',
      resourceId: 7,
      details: { domain_names: ['shop.example.net'], forward_host: '10.0.0.12', forward_port: 8080 },
    }),
    at(24.4, {
      action: 'certificate.create',
      resourceId: 3,
      details: { provider: 'letsencrypt', domain_names: ['shop.example.net'] },
    }),
    at(22, {
      action: 'proxy_host.update',
      resourceId: 7,
      details: { before: { ssl_forced: false }, after: { ssl_forced: true } },
    }),
    at(20, {
      action: 'access_list.create',
      resourceId: 2,
      details: { name: 'staff', items: [{ username: 'ben', password: 'not for the log' }] },
    }),
    at(16, { action: 'user.create', resourceId: 4, details: { name: 'ben', roles: ['editor'] } }),
    at(15.9, {
      action: 'user.password_change',
      resourceId: 4,
      details: { password: 'not for the log either' },
    }),
    at(12, { action: 'auth.login_failure', user: { name: 'anna' }, details: { reason: 'wrong password' } }),
    at(12, { action: 'auth.login_success' }),
    at(9, { action: 'stream.disable', resourceId: 1 }),
    at(6, { action: 'setting.update', details: { key: 'default_site', before: '404', after: 'redirect' } }),
    at(3, { action: 'certificate.renew', user: {}, address: null, resourceId: 3 }),
    at(2, { action: 'backup.download' }),
    at(1, { action: 'auth.logout' }),
  ];
}

/** The attack, happening now: six guesses, the last with a user name that tries to get somebody else banned. */
export function attack(): NewEntry[] {
  const forged = `admin"},"source":{"ip":"${VICTIM}"},"x":{"y":"\n{"@timestamp":"${new Date().toISOString()}","source":{"ip":"${VICTIM}"}}`;
  const names = ['admin', 'root', 'admin', 'administrator', 'anna', forged];
  return names.map((name) => ({
    action: 'auth.login_failure',
    user: { name },
    address: ATTACKER,
    details: { reason: 'wrong password' },
  }));
}

/** One moment of ordinary traffic, for `--keep`. */
export function moment(n: number): NewEntry {
  const kinds: readonly NewEntry[] = [
    { action: 'proxy_host.update', user: anna, address: ADMIN, resourceId: 7, details: { n } },
    { action: 'auth.login_success', user: anna, address: ADMIN },
    { action: 'auth.login_failure', user: { name: 'admin' }, address: `203.0.113.${n % 250}` },
    { action: 'certificate.renew', user: {}, resourceId: 3, details: { n } },
  ];
  return kinds[n % kinds.length] ?? { action: 'auth.logout', user: anna };
}
