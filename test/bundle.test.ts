import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, it } from 'vitest';

const DIST = resolve(import.meta.dirname, '../dist');

/** The files of dist/ that these load at once, themselves included; what `import()` loads is not among them. */
function loadedWith(names: readonly string[]): string {
  const seen = new Set(names);
  let code = '';
  for (const name of seen) {
    const text = readFileSync(join(DIST, name), 'utf8');
    code += text;
    for (const [, next = ''] of text.matchAll(/^(?:import|export) (?:[^"';]* from )?"\.\/([^"]+)";$/gm))
      seen.add(next);
  }
  return code;
}

/** A text that only this code has. */
const MARKS = {
  shipping: 'Shipper = class',
  API: 'class Hono',
  metrics: 'PROMETHEUS_CONTENT_TYPE',
  NATS: 'JetStreamApiError',
  syslog: 'ConnectedSink = class',
};

it('a daemon of the bundle loads no API, NATS or syslog at its start', () => {
  const files = readdirSync(DIST);
  const daemon = files.filter((name) => name.startsWith('daemon-'));
  expect(daemon).toHaveLength(1);
  const all = files
    .filter((name) => name.endsWith('.js'))
    .map((name) => readFileSync(join(DIST, name), 'utf8'));
  const code = loadedWith(['cli.js', ...daemon]);
  const found = (text: string) =>
    Object.entries(MARKS).flatMap(([name, mark]) => (text.includes(mark) ? [name] : []));
  expect(found(all.join())).toEqual(Object.keys(MARKS)); // the marks are right
  expect(found(code)).toEqual(['shipping']);
});

it('the bundle carries the licence of each package whose code it has', () => {
  const text = readFileSync(join(DIST, 'LICENSES.txt'), 'utf8');
  const parts = text.split(`\n${'-'.repeat(80)}\n\n`);
  const names = parts.map((part) => /^(\S+) \d+\.\d+\.\d+ \([^)]+\)\n\n/m.exec(part)?.[1]);
  for (const name of ['hono', 'pino', 'zod', 'yaml', 'commander', '@nats-io/nats-core'])
    expect(names).toContain(name);
  for (const part of parts) expect(part.length).toBeGreaterThan(400);
});
