// Creates docs/screenshots/ from the real daemon, with a week of a small company's events in a temporary directory, with
// Chromium. fail2ban's answers are fixed in this file, so that it needs neither root nor a jail.
//
//   npm run screenshots [-- DIRECTORY]      default: docs/screenshots; CHROMIUM names another browser than /usr/bin/chromium
import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromium } from 'playwright-core';
import Database from '../dist/load-sqlite.js';
import { createAuditTable, createRecorder } from '../dist/recorder/recorder.js';

const root = resolve(import.meta.dirname, '..');
const output = resolve(process.argv[2] ?? join(root, 'docs/screenshots'));
const HOUR = 3_600_000;
const MINUTE = 60_000;
const now = Date.now();

const anna = { id: 1, name: 'anna', email: 'anna@example.net' };
const ben = { id: 4, name: 'ben', email: 'ben@example.net' };
const office = '192.0.2.10';

/** Asks the daemon through its control socket. */
function controlRequest(socketPath, method, path, body) {
  return new Promise((done, failed) => {
    const headers = { 'content-type': 'application/json' };
    const call = request({ socketPath, method, path, headers }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part) => {
        text += part;
      });
      response.on('end', () => done(JSON.parse(text)));
    });
    call.on('error', failed);
    call.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** Random numbers that are the same in each run. */
let seed = 4711;
function random() {
  seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
  return seed / 2 ** 31;
}

const UPDATE = {
  action: 'proxy_host.update',
  user: anna,
  address: office,
  resourceId: 7,
  details: {
    before: { domain_names: ['shop.example.net'], ssl_forced: false, hsts: { enabled: false, max_age: 0 } },
    after: {
      domain_names: ['shop.example.net', 'www.shop.example.net'],
      ssl_forced: true,
      hsts: { enabled: true, max_age: 31_536_000 },
    },
  },
};

const ORDINARY = [
  UPDATE,
  UPDATE,
  { action: 'auth.login_success', user: anna, address: office },
  { action: 'auth.logout', user: anna, address: office },
  { action: 'auth.login_success', user: ben, address: '2001:db8:20::31' },
  {
    action: 'certificate.renew',
    user: {},
    resourceId: 3,
    details: { provider: 'letsencrypt', domain_names: ['shop.example.net'] },
  },
  {
    action: 'access_list.update',
    user: ben,
    address: '2001:db8:20::31',
    resourceId: 2,
    details: { before: { name: 'staff', satisfy_any: true }, after: { name: 'staff', satisfy_any: false } },
  },
  { action: 'stream.disable', user: ben, address: '2001:db8:20::31', resourceId: 1 },
  {
    action: 'setting.update',
    user: anna,
    address: office,
    details: { key: 'default_site', before: '404', after: 'redirect' },
  },
  {
    action: 'auth.login_failure',
    user: { name: 'anna' },
    address: office,
    details: { reason: 'wrong password' },
  },
  { action: 'backup.download', user: anna, address: office },
  {
    action: 'proxy_host.create',
    user: anna,
    address: office,
    resourceId: 9,
    details: { domain_names: ['wiki.example.net'], forward_host: '10.0.0.14', forward_port: 3000 },
  },
];

function guesses(address, count, hoursAgo) {
  const names = ['admin', 'root', 'administrator', 'test', 'postern'];
  return Array.from({ length: count }, (_, n) => ({
    action: 'auth.login_failure',
    user: { name: names[n % names.length] },
    address,
    details: { reason: 'unknown user' },
    time: now - hoursAgo * HOUR + n * 9_000,
  }));
}

function week() {
  const events = [];
  for (let hour = 7 * 24; hour > 0.3; hour -= random() * 1.1) {
    const time = now - hour * HOUR;
    const day = new Date(time).getUTCHours();
    if (random() > (day > 6 && day < 20 ? 0.9 : 0.2)) continue;
    events.push({ ...ORDINARY[Math.floor(random() * ORDINARY.length)], time });
  }
  const attacks = [
    ...guesses('203.0.113.66', 47, 0.6),
    ...guesses('198.51.100.24', 12, 0.35),
    ...guesses('203.0.113.9', 33, 91),
    ...guesses('2001:db8:bad::1', 9, 30),
  ];
  return [...events, ...attacks, { ...UPDATE, time: now - 3 * MINUTE }].sort((a, b) => a.time - b.time);
}

/** Writes a stand-in for fail2ban-client, with its output format. */
function stubFail2ban(directory) {
  const text = (ms) =>
    new Date(ms - new Date(ms).getTimezoneOffset() * MINUTE).toISOString().slice(0, 19).replace('T', ' ');
  const ban = (address, minutes) =>
    `${address} \t${text(now - minutes * MINUTE)} + 3600 = ${text(now - minutes * MINUTE + HOUR)}`;
  const list = ['203.0.113.66', '198.51.100.24'];
  const script = `#!/bin/sh
case $1 in
  get) printf '%s\\n' '${ban(list[0], 34)}' '${ban(list[1], 19)}' ;;
  *) printf '%s\\n' '   |- Currently failed: 0' '   |- Total failed: 59' '   |- File list: -' '   |- Total banned: 2' '   \`- Banned IP list: ${list.join(' ')}' ;;
esac
`;
  writeFileSync(join(directory, 'fail2ban-client'), script);
  chmodSync(join(directory, 'fail2ban-client'), 0o755);
}

/** A collector that accepts everything. */
function collector() {
  return new Promise((done) => {
    const server = createServer((socket) => socket.resume());
    server.listen(0, '127.0.0.1', () => done(server));
  });
}

const directory = mkdtempSync(join(tmpdir(), 'postern-screenshots-'));
const siem = await collector();
const free = await collector();
const port = free.address().port;
await new Promise((done) => free.close(done));
const db = new Database(join(directory, 'posternproxy.db'));
db.pragma('journal_mode = WAL');
createAuditTable(db);
const recorder = createRecorder(db);
db.transaction(() => {
  for (const event of week()) recorder.record(event);
})();
stubFail2ban(directory);
const config = join(directory, 'config.yml');
const control = join(directory, 'control.sock');
writeFileSync(
  config,
  `server: gate.example.net
source: { database: ${directory}/posternproxy.db }
state: ${directory}/state
control: ${control}
log: { level: warn }
min_free: 1M
sinks:
  audit: { type: file, directory: ${directory}/audit, group: null }
  auth: { type: fail2ban, directory: ${directory}/auth, group: null }
  siem: { type: syslog, transport: tcp, targets: ["127.0.0.1:${siem.address().port}"], start: beginning }
fail2ban: { bans: ${directory}/bans.log }
api: { listen: "127.0.0.1:${port}" }
`,
);
const env = { ...process.env, PATH: `${directory}:${process.env.PATH}` };
const daemon = spawn(process.execPath, [join(root, 'dist/cli.js'), 'run', '--config', config], {
  env,
  stdio: 'inherit',
});

async function settled() {
  for (let tries = 0; tries < 200; tries++) {
    await sleep(100);
    try {
      const { sinks } = await controlRequest(control, 'GET', '/status');
      if (
        Object.values(sinks).every(
          ({ lag_events, cursors }) => lag_events === 0 && cursors.postern !== undefined,
        )
      )
        return;
    } catch {
      // not yet
    }
  }
  throw new Error('the daemon does not ship');
}

const PICTURES = [
  { name: 'light', scheme: 'light', width: 1440, height: 1080 },
  {
    name: 'dark',
    scheme: 'dark',
    width: 1440,
    height: 1080,
    path: '/audit-log?action=proxy_host.update&from=-7d',
    open: 0,
  },
  { name: 'phone', scheme: 'light', width: 390, height: 2_350, scale: 1.2 },
];

let browser;
try {
  await settled();
  const { token } = await controlRequest(control, 'POST', '/api/tokens', {
    name: 'laptop of anna',
    scope: 'admin',
    expires: null,
  });
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
  mkdirSync(output, { recursive: true });
  for (const { name, scheme, width, height, scale = 1, path = '/audit-log', open } of PICTURES) {
    const context = await browser.newContext({
      baseURL: `http://127.0.0.1:${port}`,
      colorScheme: scheme,
      viewport: { width, height },
      deviceScaleFactor: scale,
    });
    const page = await context.newPage();
    await page.goto(`/audit-log/login?next=${encodeURIComponent(path)}`);
    await page.getByLabel('Access token').fill(token);
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.waitForURL(`**${path}`);
    if (open !== undefined) await page.locator('details.entry').nth(open).locator('summary').first().click();
    await page.mouse.move(0, 0);
    await page.evaluate('scrollTo(0, 0); document.activeElement?.blur()');
    await page.screenshot({ path: join(output, `${name}.png`) });
    await context.close();
    console.log(join(output, `${name}.png`));
  }
} finally {
  await browser?.close();
  siem.close();
  siem.closeAllConnections?.();
  db.close();
  daemon.kill();
  await new Promise((done) => daemon.once('exit', done));
  rmSync(directory, { recursive: true, force: true });
}
process.exit(0);
