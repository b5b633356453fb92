import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { entry as entrySchema, page as pageSchema } from '../../src/api/response-schemas.js';
import { installed } from '../support/installed.js';
import { ApiRig, freePort } from './api-fixture.js';

const missing = !installed('nginx', 'nginx') || !installed('curl', 'curl');
const DOCS = readFileSync(resolve(import.meta.dirname, '../../docs/reference/API.md'), 'utf8');

/** The block of the page on the API, as readers copy it. */
function documented(language: string, holding: string): string {
  const blocks = [...DOCS.matchAll(/```(\w+)\n([\s\S]*?)```/g)];
  const found = blocks.find(([, name, text]) => name === language && text?.includes(holding));
  if (found?.[2] === undefined) throw new Error(`docs/reference/API.md has no ${language} with ${holding}`);
  return found[2];
}

/** Debian's nginx with the recipe, and beside it what might be Postern's own page. */
class Nginx {
  readonly directory = mkdtempSync(join(tmpdir(), 'postern-nginx-'));
  private readonly child: ChildProcess;

  /** @param upstream the line of the recipe that leads to the API */
  constructor(
    readonly port: number,
    upstream: string,
  ) {
    const recipe = documented('nginx', 'location ~').replace(/proxy_pass [^;]*;/, upstream);
    const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
      .map((name) => `${name}_temp_path ${this.directory}/${name};`)
      .join(' ');
    writeFileSync(
      join(this.directory, 'nginx.conf'),
      `daemon off; pid ${this.directory}/pid; error_log ${this.directory}/error.log; worker_processes 1;
      ${process.getuid?.() === 0 ? 'user root;' : ''}
      events { worker_connections 256; }
      http { access_log off; ${paths}
        server { listen 127.0.0.1:${port}; location / { return 200 "postern"; }
${recipe} } }`,
    );
    const path = `${process.env.PATH}:/usr/sbin`;
    this.child = spawn('nginx', ['-c', join(this.directory, 'nginx.conf'), '-p', this.directory], {
      env: { ...process.env, PATH: path },
      stdio: 'ignore',
    });
  }

  url(path: string): string {
    return `http://127.0.0.1:${this.port}${path}`;
  }

  async ready(): Promise<void> {
    for (let tries = 0; tries < 200; tries++) {
      const answer = await fetch(this.url('/healthz')).catch(() => null);
      if ((await answer?.text()) === 'postern') return;
      await sleep(50);
    }
    throw new Error(`nginx did not start: ${readFileSync(join(this.directory, 'error.log'), 'utf8')}`);
  }

  async close(): Promise<void> {
    const ended = new Promise((done) => this.child.once('exit', done));
    this.child.kill('SIGTERM');
    await ended;
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** The two ways that the docs know: nginx reaches the API by its port, or by a unix socket. */
const WAYS = ['port', 'unix socket'] as const;

describe.skipIf(missing).each(WAYS)('behind nginx, set up as the docs say, at the %s', (way) => {
  const directory = mkdtempSync(join(tmpdir(), 'postern-upstream-'));
  const socket = join(directory, 'api.sock');
  let rig: ApiRig;
  let nginx: Nginx;
  let token: string;
  let cookie = '';
  let csrf = '';
  const addresses = async () => {
    const headers = { authorization: `Bearer ${token}` };
    const answer = await fetch(nginx.url('/api/audit-log?action=auth.login_failure'), { headers });
    const { entries } = (await answer.json()) as { entries: Array<{ ip_address: string }> };
    return entries.map(({ ip_address: address }) => address);
  };

  /** The daemon with the YAML of the docs, and the line of nginx that leads to it. */
  async function start(): Promise<string> {
    if (way === 'unix socket') {
      const yaml = documented('yaml', 'unix:');
      const [, more = ''] = /listen: \S+, (.*) \}/.exec(yaml) ?? [];
      const [, listen = ''] = /listen: "(\S+)"/.exec(yaml) ?? [];
      expect(documented('nginx', 'http://unix:')).toContain(`http://${listen};`);
      rig = await ApiRig.start(more.replace('www-data', 'root'), '', `unix:${socket}`);
      return documented('nginx', 'http://unix:').replace(listen, `unix:${socket}`);
    }
    const [, trusted = ''] =
      /(trusted_proxies: \[.*\])/.exec(documented('yaml', 'trusted_proxies: ["')) ?? [];
    rig = await ApiRig.start(trusted);
    return `proxy_pass http://127.0.0.1:${rig.port};`;
  }

  beforeAll(async () => {
    const upstream = await start();
    for (let n = 1; n <= 60; n++)
      rig.daemon.record({ action: n % 2 === 0 ? 'proxy_host.update' : 'user.update', resourceId: n });
    await rig.daemon.shipped();
    token = await rig.token('reader', 'admin');
    nginx = new Nginx(await freePort(), upstream);
    await nginx.ready();
  });
  afterAll(async () => {
    await nginx?.close();
    await rig?.close();
    rmSync(directory, { recursive: true, force: true });
  });

  it.each([
    [
      'curl -H "Authorization: Bearer <token>" \\\n     "http://your-server:81/api/audit-log?page=1&limit=50"',
      50,
    ],
    [
      'curl -H "Authorization: Bearer <token>" \\\n     "http://your-server:81/api/audit-log?resource_type=proxy_host"',
      30,
    ],
    [
      'curl -H "Authorization: Bearer <token>" \\\n     "http://your-server:81/api/audit-log?limit=0" > audit-export.json',
      61,
    ],
  ])('the command of the product page works: %s', (command, least) => {
    const here = command.replace('http://your-server:81', nginx.url('')).replace('<token>', token);
    const script = here.replace(/^curl/, 'curl -sS --fail-with-body');
    const output = join(nginx.directory, 'audit-export.json');
    const text = execFileSync('sh', ['-c', script], { encoding: 'utf8', cwd: nginx.directory });
    const page = pageSchema.parse(
      JSON.parse(command.includes('> audit') ? readFileSync(output, 'utf8') : text),
    );
    expect(page.entries.length).toBeGreaterThanOrEqual(least);
    for (const each of page.entries) entrySchema.parse(each);
  });

  it('the login and every link of the page work', async () => {
    const origin = nginx.url('');
    const login = await fetch(nginx.url('/audit-log/login'), {
      method: 'POST',
      redirect: 'manual',
      headers: { origin },
      body: new URLSearchParams({ token, next: '/audit-log' }),
    });
    expect([login.status, login.headers.get('location')]).toEqual([303, '/audit-log']);
    cookie = login.headers.getSetCookie()[0]?.split(';')[0] ?? '';
    const html = await (await fetch(nginx.url('/audit-log'), { headers: { cookie } })).text();
    csrf = /name="csrf" value="([\w-]+)"/.exec(html)?.[1] ?? '';
    const all = [...html.matchAll(/(?:href|src|action)="([^"#]*)/g)].map(([, path = '']) => path);
    const ours = [...new Set(all)]
      .filter((path) => path.startsWith('/'))
      .map((path) => path.replaceAll('&amp;', '&'));
    expect(ours.length).toBeGreaterThan(8);
    for (const path of ours) {
      if (/\/(unban|logout)$/.test(path)) continue;
      const answer = await fetch(nginx.url(path), { headers: { cookie } });
      expect([path, answer.status]).toEqual([path, 200]);
      expect(await answer.text(), path).not.toBe('postern');
    }
  });

  it('forms are accepted only from the own origin', async () => {
    const unban = (origin: string) =>
      fetch(nginx.url('/audit-log/unban'), {
        method: 'POST',
        redirect: 'manual',
        headers: { cookie, origin },
        body: new URLSearchParams({ csrf, address: '203.0.113.1', back: '/audit-log?page=2' }),
      });
    const taken = await unban(nginx.url(''));
    expect([taken.status, taken.headers.get('location')]).toEqual([303, '/audit-log?page=2']);
    for (const origin of ['http://evil.example', rig.url(''), nginx.url('').replace('http:', 'https:')])
      expect((await unban(origin)).status).toBe(403);
  });

  it('live events arrive at once', async () => {
    const stop = new AbortController();
    const answer = await fetch(nginx.url('/api/audit-log/stream'), {
      headers: { cookie },
      signal: stop.signal,
    });
    const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
    let text = (await reader?.read())?.value ?? '';
    rig.daemon.record({ action: 'backup.restore', details: { mark: 'live-through-nginx' } });
    const begin = performance.now();
    while (!text.includes('live-through-nginx')) text += (await reader?.read())?.value ?? '';
    expect(performance.now() - begin).toBeLessThan(10_000);
    stop.abort();
  });

  it('every host name that nginx forwards is accepted', async () => {
    const command = ['-sS', '-o', '/dev/null', '-w', '%{http_code}', '-H', 'Host: audit.example.net'];
    expect(execFileSync('curl', [...command, nginx.url('/audit-log/login')], { encoding: 'utf8' })).toBe(
      '200',
    );
  });

  it('the client is the peer of nginx, whatever it writes into the header; without nginx, only this host is trusted', async () => {
    const guess = (url: string, forwarded: string) =>
      fetch(url, { headers: { authorization: 'Bearer x', 'x-forwarded-for': forwarded } });
    expect((await guess(nginx.url('/api/audit-log'), '203.0.113.50, 203.0.113.51')).status).toBe(401);
    if (way === 'unix socket') {
      expect(await addresses()).toEqual(['127.0.0.1']);
      return;
    }
    const headers = { authorization: 'Bearer x', 'x-forwarded-for': '203.0.113.52' };
    expect((await rig.raw('/api/audit-log', headers, '127.0.0.2')).status).toBe(401);
    expect(await addresses()).toEqual(['127.0.0.2', '127.0.0.1']);
  });
});
