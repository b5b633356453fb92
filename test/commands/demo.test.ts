import { spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const ROOT = resolve(import.meta.dirname, '../..');

/** A directory that a shell takes apart where it is not quoted. */
const place = mkdtempSync(join(tmpdir(), "postern demo's "));
const clone = join(place, 'clone');
/** A newcomer has no `postern-auditd` in his PATH, and nothing to be asked; no HOME, so that npm has no configuration of his. */
const env = { PATH: process.env.PATH, HOME: place, TMPDIR: place, npm_config_update_notifier: 'false' };

interface Step {
  readonly command: string;
  readonly what: string;
}

function stepsOf(text: string): Step[] {
  const [, next = ''] = text.split(/^Where to look next.*\n/m);
  return [...next.matchAll(/^ {5}(\S.*)\n {7}(\S.*)$/gm)].map(([, command = '', what = '']) => ({
    command,
    what,
  }));
}

/** Runs what was printed as it was printed. */
function type(command: string): { code: number | null; out: string; err: string } {
  const { status, stdout, stderr } = spawnSync('sh', ['-c', command], {
    cwd: clone,
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return { code: status, out: stdout, err: stderr };
}

function stepWith(steps: readonly Step[], word: string): string {
  const found = steps.filter(({ command }) => command.includes(word));
  expect(found, word).toHaveLength(1);
  return found[0]?.command ?? '';
}

beforeAll(() => {
  mkdirSync(clone);
  // What is in the repository and nothing else, but for what `npm ci` and the build make of it.
  const script = `git -c safe.directory='*' -C "$1" archive HEAD | tar -x -C "$2"`;
  const { status, stderr } = spawnSync('bash', ['-o', 'pipefail', '-c', script, 'bash', ROOT, clone]);
  expect([status, String(stderr)]).toEqual([0, '']);
  cpSync(join(ROOT, 'dist'), join(clone, 'dist'), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(clone, 'node_modules'));
});

afterAll(() => rmSync(place, { recursive: true, force: true }));

describe('the demo in a clean clone', () => {
  it('the demo prints next steps that work when they are copied', () => {
    const { code, out, err } = type('npm run --silent --ignore-scripts demo');
    expect([code, err]).toEqual([0, '']);
    const steps = stepsOf(out);
    expect(steps).toHaveLength(4);
    for (const name of ['current.log', 'fail2ban.0.log'])
      expect(type(stepWith(steps, name))).toMatchObject({
        code: 0,
        out: expect.stringContaining('203.0.113.66'),
      });
    const explained = type(stepWith(steps, 'explain'));
    expect(explained).toMatchObject({ code: 0, err: '' });
    expect(explained.out).toMatch(/auth\.login_failure[\s\S]*203\.0\.113\.66[\s\S]*takes it: delivered/);
    // Where there is no systemd it says so, and changes nothing; where there is, it looks for Postern.
    const install = type(stepWith(steps, 'install.sh').replace(/^sudo /, ''));
    expect(install.out + install.err).toMatch(/^install\.sh: |^would /m);
    expect(install.out + install.err).not.toMatch(/not found|No such file/);
    const remove = /Delete the files with: (.*)\n/.exec(out)?.[1] ?? '';
    expect(type(remove)).toMatchObject({ code: 0, err: '' });
    expect(type('ls -d ../postern-auditd-demo-*').code).not.toBe(0);
  });

  it('the demo offers status and tail only while its daemon runs', async () => {
    const demo = spawn('npm', ['run', '--silent', '--ignore-scripts', 'demo', '--', '--keep'], {
      cwd: clone,
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
      detached: true,
    });
    let out = '';
    demo.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
    });
    const ended = new Promise((done) => demo.once('close', done));
    try {
      await expect.poll(() => out).toContain('until Ctrl-C.\n');
      const steps = stepsOf(out);
      expect(steps).toHaveLength(6);
      expect(type(stepWith(steps, ' status '))).toMatchObject({
        code: 0,
        err: '',
        out: expect.stringContaining('audit'),
      });
      const tail = type(`${stepWith(steps, ' tail ')} --no-follow -n 1000`);
      expect(tail).toMatchObject({ code: 0, err: '', out: expect.stringContaining('203.0.113.66') });
    } finally {
      if (demo.pid !== undefined) process.kill(-demo.pid, 'SIGINT');
      await ended;
    }
  });
});

it('the demo calls itself with npx only in a clone', () => {
  const installed = join(place, 'installed');
  mkdirSync(installed);
  for (const name of ['dist', 'fail2ban', 'package.json'])
    cpSync(join(ROOT, name), join(installed, name), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(installed, 'node_modules'));
  expect(existsSync(join(installed, 'src'))).toBe(false);
  const { stdout } = spawnSync(process.execPath, [join(realpathSync(installed), 'dist/cli.js'), 'demo'], {
    cwd: place,
    env,
    encoding: 'utf8',
  });
  expect(stdout).toMatch(/^ {5}postern-auditd explain \d+ --config '/m);
  expect(stdout).not.toMatch(/npx|install\.sh/);
});
