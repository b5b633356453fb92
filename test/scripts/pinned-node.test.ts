import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const pin = JSON.parse(readFileSync(join(root, 'packaging/node.json'), 'utf8'));

describe('scripts/pinned-node.sh', () => {
  const clone = mkdtempSync(join(tmpdir(), 'postern-pin-'));
  beforeAll(() => {
    for (const name of ['scripts/pinned-node.sh', 'packaging/node.json'])
      cpSync(join(root, name), join(clone, name));
  });
  afterAll(() => rmSync(clone, { recursive: true }));

  it('finds the Node.js of packaging/node.json, with its licence', () => {
    const { stdout } = spawnSync(join(root, 'scripts/pinned-node.sh'), { encoding: 'utf8' });
    const directory = stdout.trim();
    const { stdout: version } = spawnSync(join(directory, 'bin/node'), ['--version'], { encoding: 'utf8' });
    expect(version.trim()).toBe(`v${pin.version}`);
    expect(readFileSync(join(directory, 'LICENSE'), 'utf8')).toContain('Node.js is licensed');
    // Of a line that gets fixes: Node.js 20 got its last in April 2026.
    expect(Number(pin.version.split('.')[0])).toBeGreaterThanOrEqual(24);
  });

  it('unpacks no package whose hash is not the pinned one', () => {
    const other = { ...pin, x64: { ...pin.x64, integrity: `sha512-${'A'.repeat(86)}==` } };
    writeFileSync(join(clone, 'packaging/node.json'), JSON.stringify(other));
    const { status, stdout, stderr } = spawnSync(join(clone, 'scripts/pinned-node.sh'), ['x64'], {
      cwd: clone,
      encoding: 'utf8',
    });
    expect([status, stdout]).toEqual([1, '']);
    expect(stderr).toContain(`has the hash ${pin.x64.integrity}`);
    expect(existsSync(join(clone, `.cache/pinned-node/${pin.version}-x64`))).toBe(false);
  });
});
