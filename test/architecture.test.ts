import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

/** Each stands below those right of it in the flow of the data, and may import only from those left of it. */
const FLOW = [
  'audit',
  'config',
  'recorder',
  'source',
  'formats',
  'sinks',
  'shipping',
  'alerts',
  'retention',
  'query',
  'fail2ban',
  'fleet',
  'backup',
  'control',
  'api',
  'systemd',
  'daemon',
  'commands',
  'cli',
];
/** Imported by all, and importing nothing else of ours. */
const GROUND = [
  'errors',
  'front',
  'grouped-digits',
  'installation',
  'instance',
  'load-sqlite',
  'load-unix-datagrams',
  'next-steps',
  'silent-log',
  'sleep-sync',
  'ticker',
  'version',
];

/** Data in one piece: to be read at a glance, not to be split. */
const TABLES = ['audit/event-catalog.ts'];
/** Lines. A guard against files that have become several; a family that belongs together may stand in one. */
const MAX_LINES = 400;

const root = resolve(import.meta.dirname, '../src');

function files(directory: string): string[] {
  return readdirSync(directory).flatMap((name) => {
    const path = join(directory, name);
    return statSync(path).isDirectory() ? files(path) : /\.tsx?$/.test(name) ? [path] : [];
  });
}

function part(path: string): string {
  return (relative(root, path).split('/')[0] ?? '').replace(/\.tsx?$/, '').replace(/\.js$/, '');
}

/** What a file imports of ours, as paths without an extension; types too, for one who reads meets them all the same. */
function modules(path: string): string[] {
  const text = readFileSync(path, 'utf8');
  const found = text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g);
  return [...found].map((match) => resolve(dirname(path), match[1] ?? '').replace(/\.js$/, ''));
}

function imports(path: string): string[] {
  return modules(path).map(part);
}

/** What processes load that do not need these parts; each root but the first is loaded by a dynamic import. */
const DAEMON = ['cli.ts', 'daemon.ts', 'systemd/journal.ts', 'config/load.ts'];
const STATUS = ['cli.ts', 'config/load.ts', 'control/client.ts'];
/** Megabytes of memory and a tenth of a second each: loaded by those who use them, by a dynamic import (loadPart in installation.ts). */
const HEAVY = /^(hono|@hono\/|@nats-io\/|prom-client|pino-roll|execa)/;

/** The packages that files need as soon as they are loaded: by static imports, of types only none. */
function packagesOf(files: readonly string[]): Set<string> {
  const found = new Set<string>();
  const seen = new Set(files);
  for (const path of seen) {
    const text = readFileSync(path, 'utf8');
    for (const [, name = ''] of text.matchAll(
      /^(?:import|export)(?! type\b)[^;=]*? (?:from )?'([^']+)';$/gm,
    )) {
      if (!name.startsWith('.')) found.add(name);
      else {
        const to = resolve(dirname(path), name).replace(/\.js$/, '.ts');
        seen.add(existsSync(to) ? to : `${to}x`);
      }
    }
  }
  return found;
}

/** The files of one circle of imports, in their order; null if there is none. */
function circle(all: readonly string[]): string[] | null {
  const graph = new Map(all.map((path) => [path.replace(/\.tsx?$/, ''), modules(path)]));
  const done = new Set<string>();
  const walk = (at: string, above: readonly string[]): string[] | null => {
    if (above.includes(at)) return [...above.slice(above.indexOf(at)), at];
    if (done.has(at)) return null;
    for (const next of graph.get(at) ?? []) {
      const found = walk(next, [...above, at]);
      if (found !== null) return found;
    }
    done.add(at);
    return null;
  };
  for (const path of graph.keys()) {
    const found = walk(path, []);
    if (found !== null) return found.map((file) => relative(root, file));
  }
  return null;
}

describe('the architecture', () => {
  const all = files(root);

  it('sees the whole source', () => {
    expect(all.length).toBeGreaterThan(20);
    for (const path of all) expect([...FLOW, ...GROUND], path).toContain(part(path));
  });

  it('imports one way: a folder only from those below it in the flow', () => {
    const wrong = all.flatMap((path) => {
      const from = part(path);
      return imports(path)
        .filter((to) => to !== from && !(GROUND.includes(to) && from !== 'audit'))
        .filter((to) => GROUND.includes(from) || !FLOW.includes(to) || FLOW.indexOf(to) > FLOW.indexOf(from))
        .map((to) => `${relative(root, path)} imports ${to}`);
    });
    expect(wrong).toEqual([]);
  });

  it('has no two files that need each other, by whatever way round', () => {
    expect(circle(all)).toBeNull();
  });

  it('keeps audit/ free of everything of ours', () => {
    const wrong = all.filter((path) => part(path) === 'audit' && imports(path).some((to) => to !== 'audit'));
    expect(wrong).toEqual([]);
  });

  it('exports no name from two files: one word, one meaning', () => {
    const exported =
      /^export (?:declare |abstract |async )*(?:function\*?|class|interface|type|const|let|enum) (\w+)/gm;
    const from = new Map<string, string[]>();
    for (const path of all) {
      for (const [, name = ''] of readFileSync(path, 'utf8').matchAll(exported))
        if (from.get(name)?.at(-1) !== path) from.set(name, [...(from.get(name) ?? []), path]); // overloads
    }
    expect(from.size).toBeGreaterThan(500);
    const twice = [...from].filter(([, paths]) => paths.length > 1);
    expect(twice.map(([name, paths]) => `${name}: ${paths.map((path) => relative(root, path))}`)).toEqual([]);
  });

  it.each([
    ['a daemon without API, NATS and syslog', [...DAEMON, 'sinks/create-sink.ts']],
    ['a daemon whose API nobody has asked', [...DAEMON, 'api/service.ts']],
    ['status', [...STATUS, 'commands/status/render.ts', 'commands/status/troubles.ts']],
    ['query', [...STATUS, 'query/service.ts', 'query/thread/worker.ts']],
  ])('loads no package of another part: %s', (_, roots) => {
    const loaded = packagesOf(roots.map((name) => join(root, name)));
    expect(loaded).toContain('zod'); // it follows imports
    expect([...loaded].filter((name) => HEAVY.test(name))).toEqual([]);
  });

  it('has no folder where things go to be forgotten', () => {
    const folders = readdirSync(root).filter((name) => statSync(join(root, name)).isDirectory());
    expect(folders.filter((name) => !FLOW.includes(name))).toEqual([]);
  });

  it('keeps files short', () => {
    const long = all
      .map((path) => [relative(root, path), readFileSync(path, 'utf8').split('\n').length] as const)
      .filter(([name, lines]) => lines > MAX_LINES && !TABLES.includes(name));
    expect(long).toEqual([]);
  });
});
