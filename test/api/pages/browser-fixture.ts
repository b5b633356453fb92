import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BrowserContext, chromium, type Page } from 'playwright-core';
import { controlRequest } from '../../../src/control/client.js';
import type { NewEntry } from '../../../src/recorder/recorder.js';
import { PrivateFail2ban } from '../../commands/private-fail2ban.js';
import { DaemonRig } from '../../daemon/daemon-fixture.js';

export const CHROMIUM = '/usr/bin/chromium';

/** The real daemon with a fail2ban of its own, and what people see of it in Chromium. */
export class Site {
  private readonly profiles: string[] = [];
  private readonly contexts: BrowserContext[] = [];

  private constructor(
    readonly rig: DaemonRig,
    readonly fail2ban: PrivateFail2ban,
    readonly url: string,
  ) {}

  /** @param entries are in the table before the daemon starts */
  static async open(entries: readonly NewEntry[]): Promise<Site> {
    const listen = `127.0.0.1:${await freePort()}`;
    const fail2ban = new PrivateFail2ban();
    const rig = new DaemonRig({ api: `{ listen: "${listen}" }` });
    rig.db.transaction(() => {
      for (const entry of entries) rig.record(entry);
    })();
    const path = process.env.PATH;
    process.env.PATH = fail2ban.path;
    await rig.start();
    process.env.PATH = path;
    await rig.shipped();
    return new Site(rig, fail2ban, `http://${listen}`);
  }

  /** Makes a token; its text. */
  async token(name: string, scope: 'read' | 'admin'): Promise<string> {
    const made = await controlRequest(this.rig.control, 'POST', '/api/tokens', {
      name,
      scope,
      expires: null,
    });
    return (made as { token: string }).token;
  }

  /** A browser with a profile of its own. */
  async browser(
    options: { javaScript?: boolean; dark?: boolean; phone?: boolean } = {},
  ): Promise<{ page: Page; complaints: string[] }> {
    const profile = mkdtempSync(join(tmpdir(), 'postern-chromium-'));
    this.profiles.push(profile);
    const context = await chromium.launchPersistentContext(profile, {
      executablePath: CHROMIUM,
      headless: true,
      args: ARGUMENTS,
      baseURL: this.url,
      acceptDownloads: true,
      javaScriptEnabled: options.javaScript ?? true,
      colorScheme: options.dark === true ? 'dark' : 'light',
      viewport: options.phone === true ? { width: 390, height: 844 } : { width: 1440, height: 900 },
    });
    context.setDefaultTimeout(20_000);
    this.contexts.push(context);
    const page = context.pages()[0] ?? (await context.newPage());
    const complaints: string[] = [];
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('console', (message) => {
      if (message.type() === 'error') complaints.push(message.text());
    });
    page.on('dialog', (dialog) => {
      complaints.push(`a dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    return { page, complaints };
  }

  banned(): string[] {
    return this.fail2ban
      .client('get', 'posternproxy', 'banip')
      .split(/\s+/)
      .filter((word) => word !== '');
  }

  async close(): Promise<void> {
    for (const context of this.contexts) await context.close();
    for (const profile of this.profiles) rmSync(profile, { recursive: true, force: true });
    await this.rig.close();
    this.fail2ban.close();
  }
}

const ARGUMENTS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export async function logIn(page: Page, token: string): Promise<void> {
  await page.goto('/audit-log/login');
  await page.getByLabel('Access token').fill(token);
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.waitForURL('**/audit-log');
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const address = server.address();
  await new Promise((done) => server.close(done));
  return typeof address === 'object' && address !== null ? address.port : 0;
}
