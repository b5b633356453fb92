import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NewEntry } from '../../../src/recorder/recorder.js';
import { hasFail2ban } from '../../commands/private-fail2ban.js';
import { CHROMIUM, logIn, Site } from './browser-fixture.js';

const there = existsSync(CHROMIUM) && hasFail2ban();
const MISSING = 'chromium or fail2ban is not installed (test/packages.sh)';
if (!there) console.warn(`SKIPPED the page in a browser: ${MISSING}`);
if (!there && process.env.CI !== undefined) throw new Error(MISSING);

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const MINUTE = 60_000;
const now = Date.now();
const anna = { id: 1, name: 'anna', email: 'anna@example.net' };
const HOSTILE = '<script>window.pwned=1</script><img src=x onerror="window.pwned=1">\u202Egnp\u2028x';

/** 60 updates, 60 failed logins, one of each kind of trouble; the newest last. */
function rows(): NewEntry[] {
  const updates = Array.from({ length: 60 }, (_, n) => ({
    action: 'proxy_host.update',
    user: anna,
    address: '192.0.2.10',
    resourceId: n,
    details: { before: { ssl_forced: false, port: 80 }, after: { ssl_forced: true, port: 80 } },
    time: now - (180 - n) * MINUTE,
  }));
  const failures = Array.from({ length: 60 }, (_, n) => ({
    action: 'auth.login_failure',
    user: { name: 'admin' },
    address: '203.0.113.66',
    details: { reason: 'wrong password' },
    time: now - (70 - n) * MINUTE,
  }));
  const hostile: NewEntry[] = [
    {
      action: 'auth.login_failure',
      user: { name: HOSTILE },
      address: '203.0.113.9',
      details: { agent: HOSTILE, big: 'A'.repeat(1_000_000) },
    },
    {
      action: 'user.update',
      user: { name: HOSTILE, email: HOSTILE },
      resourceId: HOSTILE,
      details: { before: { [HOSTILE]: HOSTILE }, after: {} },
    },
  ];
  return [...updates, ...failures, ...hostile.map((entry) => ({ ...entry, time: now - 5 * MINUTE }))];
}

const entries = (page: Page) => page.locator('#entries details.entry');

/** Until the page has all of it: what takes longer than 1.5 s it leaves out, and has the next time. */
async function show(page: Page, url: string, ...parts: readonly string[]): Promise<void> {
  const isShown = async () => {
    await page.goto(url);
    const counts = await Promise.all(parts.map((part) => page.locator(part).count()));
    return counts.every((count) => count > 0);
  };
  await expect.poll(isShown, { interval: 500 }).toBe(true);
}

/** What axe says is wrong, for WCAG 2.2 AA and its own best practices. */
async function violations(page: Page): Promise<string[]> {
  await page.evaluate(AXE);
  return page.evaluate(async () => {
    const { axe } = globalThis as unknown as {
      axe: { run(): Promise<{ violations: Array<{ id: string; nodes: Array<{ html: string }> }> }> };
    };
    const { violations: found } = await axe.run();
    return found.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 150)).join(' | ')}`);
  });
}

describe.skipIf(!there)('the page Audit Log, in Chromium', () => {
  let site: Site;
  let admin: string;
  let reader: string;
  let page: Page;
  let complaints: string[];

  beforeAll(async () => {
    site = await Site.open(rows());
    admin = await site.token('laptop of anna', 'admin');
    reader = await site.token('wall screen', 'read');
    site.fail2ban.client('set', 'posternproxy', 'banip', '203.0.113.66', '203.0.113.7', '2001:db8::66');
    ({ page, complaints } = await site.browser());
  });
  afterAll(() => site?.close());

  it('the page admits only users with a token', async () => {
    await page.goto('/audit-log?user=anna');
    expect(new URL(page.url()).pathname).toBe('/audit-log/login');
    expect(await violations(page)).toEqual([]);
    await page.getByLabel('Access token').fill('pat_000000000000_wrong');
    await page.getByRole('button', { name: 'Log in' }).click();
    expect(await page.getByRole('alert').textContent()).toContain('not valid');
    await page.getByLabel('Access token').fill(admin);
    await page.getByRole('button', { name: 'Log in' }).click();
    // It goes where one wanted to go.
    await page.waitForURL('**/audit-log?user=anna');
    expect(
      await page.getByRole('link', { name: 'Audit Log', exact: true }).getAttribute('aria-current'),
    ).toBe('page');
  });

  it('the page answers at once whether there is an attack and whether the SIEM is up to date', async () => {
    await show(page, '/audit-log', '#timeline svg[role=img]', '#bans form');
    expect(await page.getByRole('region', { name: 'Am I under attack?' }).textContent()).toContain(
      'Attack blocked',
    );
    expect(await page.getByRole('region', { name: 'Is the SIEM up to date?' }).textContent()).toContain(
      'No SIEM is set up',
    );
    expect(await page.locator('#offenders').textContent()).toContain('203.0.113.66');
    expect(await page.locator('#health').textContent()).toMatch(/audit.*up to date/);
    expect(await page.locator('#timeline svg[role=img]').getAttribute('aria-label')).toMatch(
      /^12\d events, 62 failed logins/,
    );
  });

  it('the page shows 50 entries, newest first, and pages', async () => {
    expect(await entries(page).count()).toBe(50);
    const times = await entries(page)
      .locator('summary time')
      .evaluateAll((all) => all.map((each) => each.getAttribute('datetime') ?? ''));
    expect(times).toEqual([...times].sort((a, b) => (a > b ? -1 : 1)));
    await page.getByRole('link', { name: 'Next' }).click();
    await page.waitForURL('**page=2');
    expect(await page.locator('.pager').textContent()).toMatch(/51–100 of 12\d/);
    await page.getByRole('link', { name: 'First' }).click();
    await page.waitForURL('**/audit-log');
  });

  it('the page filters, keeps the filters in the URL, and removes them one by one', async () => {
    await page.getByLabel('Resource type', { exact: true }).selectOption('proxy_host');
    await page.getByLabel('User', { exact: true }).fill('anna');
    await page.getByRole('button', { name: 'Apply' }).click();
    await page.waitForURL('**resource_type=proxy_host**user=anna**');
    expect(await page.locator('.pager').textContent()).toContain('of 60');
    expect(await page.getByLabel('User', { exact: true }).inputValue()).toBe('anna');
    await page.getByRole('link', { name: 'Remove the filter User: anna' }).click();
    await page.waitForURL((url) => !url.search.includes('user'));
    await page.goto('/audit-log?ip=not-an-address&until=tomorrow');
    expect(await page.getByRole('alert').textContent()).toMatch(/^until: found "tomorrow"/);
    expect(await violations(page)).toEqual([]);
    expect(await page.getByLabel('Server', { exact: true }).count()).toBe(0); // one server alone
  });

  it('the page opens details by keyboard: the changes, and all of them', async () => {
    await page.goto('/audit-log?action=proxy_host.update');
    const first = entries(page).first();
    await first.locator('summary').first().focus();
    await page.keyboard.press('Enter');
    expect(await first.locator('table.diff tbody tr').allTextContents()).toEqual(['ssl_forcedfalsetrue']);
    expect(await first.getByRole('link', { name: 'this user' }).getAttribute('href')).toBe(
      '/audit-log?action=proxy_host.update&user=anna',
    );
  });

  it('the page shows new entries in live mode, and keeps open entries open', async () => {
    await page.goto('/audit-log');
    const second = entries(page).nth(1);
    const id = await second.getAttribute('id');
    await second.locator('summary').first().click();
    await page.getByRole('button', { name: 'Live' }).click();
    await page.locator('#live[aria-pressed=true]').waitFor();
    await page.waitForTimeout(300); // the stream is open, and the first look has begun
    site.rig.record({ action: 'backup.download', user: { name: 'ben' }, address: '192.0.2.31' });
    await entries(page).filter({ hasText: 'Backup' }).first().waitFor();
    expect(await page.locator(`#${id}`).getAttribute('open')).not.toBeNull();
    // Another one while the page is being fetched: it comes at the next second, not at the next idle look.
    const fetched = page.waitForRequest((call) => call.resourceType() === 'fetch');
    site.rig.record({ action: 'setting.update', user: { name: 'ben' }, details: { first: true } });
    await fetched;
    site.rig.record({ action: 'dead_host.create', user: { name: 'ben' }, resourceId: 77 });
    await entries(page).filter({ hasText: 'dead_host' }).first().waitFor({ timeout: 10_000 });
    await page.locator('#said', { hasText: /new entr/ }).waitFor({ state: 'attached' });
    await page.getByRole('button', { name: 'Live' }).click();
  });

  it.each([
    ['CSV', /^id,/],
    ['NDJSON', /^\{"id":/],
  ])('the page exports the matching entries as %s', async (name, begin) => {
    await page.goto('/audit-log?action=proxy_host.update&from=-7d');
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('link', { name, exact: true }).click(),
    ]);
    const text = readFileSync(await download.path(), 'utf8');
    expect(text).toMatch(begin);
    expect(text.match(/proxy_host\.update/g)).toHaveLength(60);
    expect(text).not.toContain('login_failure');
  });

  it('the page shows text of attackers harmlessly', async () => {
    await page.goto(`/audit-log?from=-6m&user=${encodeURIComponent(HOSTILE)}`);
    const said = complaints.length;
    await page.goto('/audit-log');
    for (const entry of await entries(page).filter({ hasText: 'window.pwned' }).all())
      await entry.locator('summary').first().click();
    const text = await page.locator('#entries').textContent();
    expect(text).toContain('<script>window.pwned=1</script>');
    expect(text).toContain('⟨U+202E⟩gnp⟨U+2028⟩x');
    expect(text).toContain('Too long to show here.');
    expect(await page.evaluate(() => 'pwned' in globalThis)).toBe(false);
    expect(await page.locator('#entries').locator('script, img, iframe').count()).toBe(0);
    expect((await page.content()).length).toBeLessThan(400_000);
    expect(complaints.slice(said)).toEqual([]);
  });

  it('the page lifts a ban of the real fail2ban', async () => {
    await show(page, '/audit-log?action=auth.logout', '#bans form');
    await page.getByRole('button', { name: 'Unban 203.0.113.7', exact: true }).click();
    await page.waitForURL('**/audit-log?action=auth.logout');
    expect(await page.locator('.notice[role=status]').textContent()).toBe('203.0.113.7 is no longer banned.');
    expect(site.banned()).not.toContain('203.0.113.7');
    expect(await page.locator('#bans').textContent()).not.toContain('203.0.113.7 ');
    await page.reload();
    expect(await page.locator('.notice[role=status]').count()).toBe(0);
  });

  it('the page lifts no ban for a page of another origin, nor without the CSRF token', async () => {
    const post = (headers: Record<string, string>, form: Record<string, string>) =>
      page.request.post('/audit-log/unban', {
        headers,
        form: { address: '203.0.113.66', ...form },
        maxRedirects: 0,
      });
    const csrf = (await page.locator('#bans input[name=csrf]').first().getAttribute('value')) ?? '';
    expect((await post({ origin: site.url }, {})).status()).toBe(403);
    expect((await post({ origin: 'https://evil.example' }, { csrf })).status()).toBe(403);
    expect(site.banned()).toContain('203.0.113.66');
  });

  it.each(['light', 'dark'] as const)('the page passes axe in %s mode', async (scheme) => {
    await page.emulateMedia({ colorScheme: scheme });
    await page.goto('/audit-log');
    for (const at of [0, 1, 3]) await entries(page).nth(at).locator('summary').first().click();
    await page.locator('#timeline summary').click();
    await page.locator('.more > summary').click();
    expect(await violations(page)).toEqual([]);
    await page.goto('/audit-log?user=anna&action=proxy_host.update&from=-7d&page=2');
    await entries(page).first().locator('summary').first().click();
    await entries(page).first().locator('.all summary').click();
    expect(await violations(page)).toEqual([]);
  });

  it('the page keeps the chosen theme after a reload', async () => {
    await page.emulateMedia({ colorScheme: 'light' });
    await page.goto('/audit-log');
    const colour = () => page.evaluate<string>('getComputedStyle(document.body).backgroundColor');
    const light = await colour();
    await page.getByRole('button', { name: /^Theme/ }).click();
    await page.getByRole('button', { name: 'Theme: light' }).click();
    expect(await colour()).not.toBe(light);
    await page.reload();
    expect(await page.getByRole('button', { name: 'Theme: dark' }).count()).toBe(1);
    expect(await colour()).not.toBe(light);
  });

  it('the page works by keyboard alone', async () => {
    await page.goto('/audit-log');
    await page.keyboard.press('Tab');
    expect(await page.evaluate('document.activeElement.textContent.trim()')).toBe('Skip to the content');
    await page.keyboard.press('Enter');
    expect(await page.evaluate('document.activeElement.id')).toBe('main');
  });

  it('fits on a phone', async () => {
    await page.setViewportSize({ width: 360, height: 740 });
    await page.goto('/audit-log');
    await entries(page).nth(1).locator('summary').first().click();
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(360);
    expect(await violations(page)).toEqual([]);
    await page.setViewportSize({ width: 1440, height: 900 });
  });

  it('the page has a filter for servers if there are several', async () => {
    site.rig.record({ action: 'auth.logout', user: anna, server: 'gate-2' });
    await site.rig.shipped();
    await expect
      .poll(
        async () => {
          await page.goto('/audit-log');
          return page.getByLabel('Server', { exact: true }).count();
        },
        { timeout: 20_000, interval: 500 },
      )
      .toBe(1);
    await page.getByLabel('Server', { exact: true }).selectOption('gate-2');
    await page.getByRole('button', { name: 'Apply' }).click();
    await page.waitForURL('**server=gate-2**');
    expect(await page.locator('.pager').textContent()).toContain('of 1');
  });

  it('the page logs out', async () => {
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.waitForURL('**/audit-log/login');
    await page.goto('/audit-log');
    expect(new URL(page.url()).pathname).toBe('/audit-log/login');
    const ours = complaints.filter((text) => !/status of 40[03]/.test(text)); // those were asked for
    expect(ours).toEqual([]);
  });

  it('the page works without scripts: log in, filter, page, open details, unban; a read token lifts no ban', async () => {
    const { page: plain } = await site.browser({ javaScript: false });
    await logIn(plain, reader);
    expect(await plain.getByRole('button', { name: 'Live' }).isVisible()).toBe(false);
    expect(await plain.getByRole('link', { name: 'Refresh' }).isVisible()).toBe(true);
    await plain.getByLabel('Action', { exact: true }).selectOption('proxy_host.update');
    await plain.getByRole('button', { name: 'Apply' }).click();
    await plain.waitForURL('**action=proxy_host.update**');
    await plain.getByRole('link', { name: 'Next' }).click();
    await plain.waitForURL('**page=2');
    await entries(plain).first().locator('summary').first().click();
    expect(await entries(plain).first().locator('table.diff').isVisible()).toBe(true);
    expect(await plain.locator('#bans').textContent()).toContain('203.0.113.66');
    expect(await plain.getByRole('button', { name: /^Unban/ }).count()).toBe(0);
    const csrf = (await plain.locator('input[name=csrf]').first().getAttribute('value')) ?? '';
    await plain.request.post('/audit-log/unban', {
      headers: { origin: site.url },
      form: { csrf, address: '203.0.113.66' },
    });
    expect(site.banned()).toContain('203.0.113.66');
    await plain.getByRole('button', { name: 'Log out' }).click();
    await plain.waitForURL('**/audit-log/login');

    await logIn(plain, admin);
    await show(plain, '/audit-log', '#bans form');
    await plain.getByRole('button', { name: 'Unban 2001:db8::66' }).click();
    await plain.waitForURL('**/audit-log');
    expect(await plain.locator('.notice[role=status]').textContent()).toBe(
      '2001:db8::66 is no longer banned.',
    );
    expect(site.banned()).not.toContain('2001:db8::66');
  });
});
