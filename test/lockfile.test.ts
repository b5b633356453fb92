import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, it } from 'vitest';

interface Locked {
  readonly version: string;
  readonly integrity?: string;
}

const root = resolve(import.meta.dirname, '..');
const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
  packages: Record<string, Locked>;
};
const packages = Object.entries(lock.packages).filter(([path]) => path !== '');

it('package-lock.json has a hash for each package, also for those of other systems', () => {
  expect(packages.length).toBeGreaterThan(100);
  // Without one npm takes whatever the registry has under the name: on that system, some day, from anybody.
  expect(
    packages.filter(([, { integrity }]) => !integrity?.startsWith('sha512-')).map(([path]) => path),
  ).toEqual([]);
});

it('package-lock.json names exact versions', () => {
  expect(packages.filter(([, { version }]) => !/^\d+\.\d+\.\d+/.test(version)).map(([path]) => path)).toEqual(
    [],
  );
});
