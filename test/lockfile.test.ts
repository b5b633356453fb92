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

it('package.json overrides nothing by another name: npm 9.2, which Debian 13 has, reads no lock file then', () => {
  const { overrides } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    overrides: Record<string, unknown>;
  };
  for (const version of Object.values(overrides)) expect(version).toMatch(/^\d+\.\d+\.\d+$/);
});

it('nothing comes from the registry by a name that nobody owns there', () => {
  // Parts of node-unix-socket for other systems that were never published: npm gets a part that is, and leaves it out elsewhere.
  for (const name of [
    'darwin-arm64',
    'darwin-x64',
    'linux-arm-gnueabihf',
    'linux-arm64-gnu',
    'linux-arm64-musl',
  ])
    expect(lock.packages[`node_modules/node-unix-socket-${name}`]).toMatchObject({
      name: 'node-unix-socket-linux-x64-musl',
    });
});
