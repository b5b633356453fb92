import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiMetrics } from '../../src/api/metrics.js';
import { STATUS_METRICS } from '../../src/api/status-metrics.js';
import type { DaemonStatus } from '../../src/control/status.js';
import { expectGenerated } from '../config/generated.js';
import { ApiRig, freePort } from './api-fixture.js';

const there = spawnSync('promtool', ['--version']).status === 0;
if (!there && process.env.CI) throw new Error('promtool is missing: apt-get install prometheus');
if (!there) console.warn('SKIPPED: promtool is missing (apt-get install prometheus)');

const MONITORING = resolve(import.meta.dirname, '../../config/monitoring');
const alerts = readFileSync(join(MONITORING, 'alerts.yml'), 'utf8');
const dashboard = readFileSync(join(MONITORING, 'grafana-dashboard.json'), 'utf8');

const empty: DaemonStatus = {
  version: '0',
  pid: 1,
  started: new Date(0).toISOString(),
  config: null,
  config_refused: null,
  silence: null,
  state: '',
  source_id: null,
  sources: {},
  sinks: {},
  hung: [],
  bans: null,
  retention: null,
  alerts: null,
  fleet: null,
  api: { state: 'off', listen: null, error: null },
};

describe('docs/reference/METRICS.md', () => {
  it('METRICS.md lists every metric', async () => {
    const all = await new ApiMetrics(
      () => empty,
      () => 0,
    ).described();
    const labels = new Map(STATUS_METRICS.map((metric) => [metric.name, metric.labels]));
    const rows = all.map(({ name, type, help }) => {
      const own = labels.get(name) ?? [];
      return `| \`${name}\` | ${type} | ${own.map((label) => `\`${label}\``).join(', ')} | ${help.replaceAll('|', '\\|')} |`;
    });
    const table = ['| metric | type | labels | meaning |', '| --- | --- | --- | --- |', ...rows].join('\n');
    expectGenerated('docs/reference/METRICS.md', 'metrics', table);
  });

  it.each([
    ['alerts.yml', alerts],
    ['grafana-dashboard.json', dashboard],
  ])('%s uses only metrics that exist', async (_, text) => {
    const metrics = new ApiMetrics(
      () => empty,
      () => 0,
    );
    const known = (await metrics.described()).map(({ name }) => name);
    const asked = [...new Set(text.match(/\bpostern_auditd_\w+/g))].map((name) =>
      name.replace(/_bucket$/, ''),
    );
    expect(asked.length).toBeGreaterThan(8);
    expect(asked.filter((name) => !known.includes(name))).toEqual([]);
  });
});

describe.skipIf(!there)("with Debian's Prometheus", () => {
  let rig: ApiRig;
  let token: string;
  const directory = mkdtempSync(join(tmpdir(), 'postern-prometheus-'));

  beforeAll(async () => {
    rig = await ApiRig.start();
    token = await rig.token('prometheus');
    rig.daemon.append(30);
    await rig.daemon.shipped();
  });
  afterAll(async () => {
    await rig.close();
    rmSync(directory, { recursive: true, force: true });
  });

  it('the rules are valid, and each fires when it should and not before', () => {
    const checked = spawnSync('promtool', ['check', 'rules', join(MONITORING, 'alerts.yml')], {
      encoding: 'utf8',
    });
    expect([checked.status, checked.stderr]).toEqual([0, '']);
    const file = join(import.meta.dirname, 'alerts.test.yml');
    const tested = spawnSync('promtool', ['test', 'rules', file], { encoding: 'utf8' });
    expect([tested.status, tested.stderr]).toEqual([0, '']);
    const fired = readFileSync(file, 'utf8');
    for (const [, name = ''] of alerts.matchAll(/- alert: (\w+)/g)) expect(fired).toContain(`"${name}"`);
  });

  it('promtool accepts the metrics', async () => {
    const { text, headers } = await rig.ask('/metrics', token);
    expect(headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
      input: text,
      encoding: 'utf8',
    });
    expect([status, stdout, stderr]).toEqual([0, '', '']);
  });

  it('a real Prometheus scrapes it with the token from a file, and loads the rules', async () => {
    const port = await freePort();
    const at = (path: string) => join(directory, path);
    mkdirSync(at('data'));
    writeFileSync(at('token'), `${token}\n`, { mode: 0o600 });
    const scrape = readFileSync(join(MONITORING, 'scrape.yml'), 'utf8')
      .replaceAll('/etc/prometheus/postern-auditd.token', at('token'))
      .replace('127.0.0.1:8181', `127.0.0.1:${rig.port}`)
      .replace('/opt/postern-auditd/config/monitoring', MONITORING)
      .replace('15s', '1s\n    scrape_timeout: 1s');
    writeFileSync(at('prometheus.yml'), scrape);
    const args = [`--config.file=${at('prometheus.yml')}`, `--storage.tsdb.path=${at('data')}`];
    const child = spawn('prometheus', [...args, `--web.listen-address=127.0.0.1:${port}`], {
      stdio: 'ignore',
    });
    try {
      const query = async (text: string) => {
        const url = `http://127.0.0.1:${port}/api/v1/query?query=${encodeURIComponent(text)}`;
        const answer = (await (await fetch(url)).json()) as {
          data: { result: Array<{ value: [number, string] }> };
        };
        return answer.data.result.map(({ value }) => value[1]);
      };
      let found: string[] = [];
      for (let tries = 0; found.length === 0 && tries < 1_000; tries++) {
        await sleep(100);
        found = await query('postern_auditd_sink_delivered_events_total{sink="audit"}').catch(() => []);
      }
      const targets = await (await fetch(`http://127.0.0.1:${port}/api/v1/targets`)).text();
      expect(Number(found[0]), targets).toBeGreaterThanOrEqual(30);
      await expect.poll(() => query('up{job="postern-auditd"}')).toEqual(['1']);
      const rules = (await (await fetch(`http://127.0.0.1:${port}/api/v1/rules`)).json()) as {
        data: { groups: Array<{ rules: unknown[] }> };
      };
      expect(rules.data.groups[0]?.rules).toHaveLength(alerts.match(/- alert:/g)?.length ?? 0);
    } finally {
      const ended = new Promise((done) => child.once('exit', done));
      child.kill('SIGKILL');
      await ended;
    }
  });

  it('unknown paths create no new series', async () => {
    for (let n = 0; n < 30; n++) await rig.ask(`/nothing/${n}`, token);
    for (let n = 0; n < 30; n++) await rig.ask(`/api/audit-log/${n}`, token);
    const { text } = await rig.ask('/metrics', token);
    expect(text).toContain('postern_auditd_api_requests_total{method="GET",route="none",status="404"} 30');
    expect(text.match(/^postern_auditd_api_requests_total\{/gm)?.length).toBeLessThan(12);
  });
});

describe('the health checks', () => {
  it('health checks need no token, and name a sink that is down', async () => {
    const rig = await ApiRig.start();
    try {
      expect((await rig.ask('/healthz', null)).json()).toEqual({ status: 'ok', failing: [] });
      for (let tries = 0; (await rig.ask('/readyz', null)).status !== 200 && tries < 50; tries++)
        await sleep(50);
      expect((await rig.ask('/readyz', null)).json()).toEqual({ status: 'ok', failing: [] });
      rig.daemon.configure('');
      const path = rig.daemon.configPath;
      const bad = '\n  siem: { type: syslog, transport: tcp, targets: ["127.0.0.1:1"] }';
      writeFileSync(path, readFileSync(path, 'utf8').replace('\nsinks:', `\nsinks:${bad}`));
      rig.daemon.child?.kill('SIGHUP');
      let answer = await rig.ask('/readyz', null);
      for (let tries = 0; answer.json().failing.join() !== 'sink siem' && tries < 200; tries++) {
        await sleep(50);
        answer = await rig.ask('/readyz', null);
      }
      expect([answer.status, answer.json()]).toEqual([503, { status: 'failing', failing: ['sink siem'] }]);
      expect((await rig.ask('/healthz', null)).status).toBe(200);
    } finally {
      await rig.close();
    }
  });
});
