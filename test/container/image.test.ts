import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { parseConfig } from '../../src/config/load.js';
import { buildImage, image, whyMissing } from './image.js';

const root = resolve(import.meta.dirname, '../..');
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
const reason = whyMissing(['apt-get', 'dpkg-deb', 'readelf', 'npm', 'flock']);
if (reason !== null && process.env.CI) throw new Error(reason);
if (reason !== null) console.warn(`SKIPPED the container image: ${reason}`);

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

describe.skipIf(reason !== null)('scripts/image.sh', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'pa-image-'));
  const layout = join(scratch, 'layout');
  const json = (name: string) => JSON.parse(readFileSync(join(layout, name), 'utf8'));
  const path = ({ digest }: Pick<Descriptor, 'digest'>) => `blobs/${digest.replace(':', '/')}`;
  let manifest: { config: Descriptor; layers: Descriptor[] };
  /** `ls -l` of all layers: mode, owner/group and path of each entry. */
  let entries: Map<string, { mode: string; owner: string }>;
  let files: string;

  beforeAll(() => {
    for (const name of ['layout', 'files']) execFileSync('mkdir', [join(scratch, name)]);
    files = join(scratch, 'files');
    execFileSync('tar', ['-xf', image(), '-C', layout]);
    manifest = json(path(json('index.json').manifests[0]));
    entries = new Map();
    for (const layer of manifest.layers) {
      const listed = execFileSync('tar', ['-tvzf', join(layout, path(layer)), '--numeric-owner'], {
        encoding: 'utf8',
      });
      for (const line of listed.trimEnd().split('\n')) {
        const [mode = '', owner = ''] = line.split(/\s+/);
        const name = / \.\/(.*?)\/?(?: -> .*)?$/.exec(line)?.[1] ?? '';
        entries.set(name, { mode, owner });
      }
      execFileSync('tar', ['-xzf', join(layout, path(layer)), '-C', files, '--no-same-owner']);
    }
  });
  afterAll(() => rmSync(scratch, { recursive: true, force: true }));

  it('builds the same bytes twice, and prints sizes', () => {
    const said = buildImage(join(scratch, 'again'));
    expect(said).toMatch(
      /^base: .*M, \d+ MB unpacked\nnode: .*\nprogram: .*\n.*\.tar \(\d+M, \d+ MB unpacked; /,
    );
    const [again = ''] = readdirSync(join(scratch, 'again'));
    expect(spawnSync('cmp', [image(), join(scratch, 'again', again)], { encoding: 'utf8' })).toMatchObject({
      status: 0,
      stdout: '',
    });
  });

  it('has blobs of the size and hash that its descriptors say, for podman and for docker', () => {
    expect(json('oci-layout')).toEqual({ imageLayoutVersion: '1.0.0' });
    const [index] = json('index.json').manifests as Array<
      Descriptor & { annotations: Record<string, string>; platform: object }
    >;
    if (index === undefined) throw new Error('no manifest');
    expect(index.platform).toEqual({ architecture: expect.any(String), os: 'linux' });
    for (const { digest, size } of [index, manifest.config, ...manifest.layers]) {
      const bytes = readFileSync(join(layout, path({ digest })));
      expect(`sha256:${createHash('sha256').update(bytes).digest('hex')}`).toBe(digest);
      expect(bytes.length).toBe(size);
    }
    const config = json(path(manifest.config));
    const unpacked = manifest.layers.map(
      (layer) =>
        `sha256:${createHash('sha256')
          .update(gunzipSync(readFileSync(join(layout, path(layer)))))
          .digest('hex')}`,
    );
    expect(config.rootfs).toEqual({ type: 'layers', diff_ids: unpacked });
    expect(config.config).toMatchObject({
      User: '65532:4',
      Entrypoint: ['/usr/bin/postern-auditd'],
      Cmd: ['run'],
    });
    expect(json('manifest.json')).toEqual([
      {
        Config: path(manifest.config),
        RepoTags: [`posternproxy/postern-auditd:${version}`],
        Layers: manifest.layers.map(path),
      },
    ]);
    expect(index.annotations['org.opencontainers.image.ref.name']).toBe(
      `docker.io/posternproxy/postern-auditd:${version}`,
    );
  });

  it('has one program: no shell, no package manager, no builder, and nothing with set-user-id', () => {
    const programs = [...entries]
      .filter(
        ([name, { mode }]) => /^-..[xs]|^-.....[xs]/.test(mode) && !/\.so(\.|$)|\.node$|ld-linux/.test(name),
      )
      .map(([name]) => name);
    expect(new Set(programs)).toEqual(
      new Set([
        'usr/lib/postern-auditd/bin/postern-auditd',
        'usr/lib/postern-auditd/dist/cli.js',
        'usr/lib/postern-auditd/node/bin/node',
      ]),
    );
    expect([...entries].filter(([, { mode }]) => /^-.*s/.test(mode))).toEqual([]);
    const names = [...entries].flatMap(([name, { mode }]) => (mode.startsWith('d') ? [] : [name])).join('\n');
    expect(names).not.toMatch(/(^|\/)(sh|bash|dash|busybox|dpkg|apt|npm|npx)$|install\.sh|systemd\//m);
  });

  it('has places that the daemon may write, and nothing else of its user', () => {
    expect(entries.get('var/lib/postern-auditd')).toEqual({ mode: 'drwxr-x---', owner: '65532/4' });
    expect(entries.get('var/log/posternproxy')).toEqual({ mode: 'drwxr-sr-x', owner: '65532/4' });
    // runc takes over the mode of the image's directory for a tmpfs.
    expect(entries.get('tmp')).toEqual({ mode: 'drwxrwxrwt', owner: '0/0' });
    const owned = [...entries].filter(([, { owner }]) => owner !== '0/0').map(([name]) => name);
    expect(new Set(owned)).toEqual(new Set(['var/lib/postern-auditd', 'var/log/posternproxy']));
    const loose = [...entries].filter(([, { mode }]) => /^[-d].......w/.test(mode)).map(([name]) => name);
    expect(new Set(loose)).toEqual(new Set(['tmp']));
  });

  it('has the libraries that its binaries need, and tells scanners whose they are', () => {
    const listed = readdirSync(files, { recursive: true, encoding: 'utf8' });
    const libraries = listed.map((name) => name.split('/').at(-1));
    const binaries = listed.filter((name) => /postern-auditd\/.*(\.node|\/node)$/.test(name));
    const needed = binaries
      .filter((name) => !name.endsWith('postern-auditd/node'))
      .flatMap((name) => {
        const read = execFileSync('readelf', ['-d', join(files, name)], { encoding: 'utf8' });
        return [...read.matchAll(/\(NEEDED\).*\[(.*)\]/g)].map(([, library]) => library);
      });
    expect(needed).toContain('libstdc++.so.6');
    expect(needed.filter((name) => !libraries.includes(name))).toEqual([]);
    const status = (name: string) => readFileSync(join(files, 'var/lib/dpkg/status.d', name), 'utf8');
    for (const name of ['base-files', 'ca-certificates', 'libc6', 'libgcc-s1', 'libstdc++6'])
      expect(status(name)).toMatch(new RegExp(`^Package: ${name.replace(/\+/g, '\\+')}$`, 'm'));
    expect(readFileSync(join(files, 'etc/ssl/certs/ca-certificates.crt'), 'utf8')).toContain(
      'BEGIN CERTIFICATE',
    );
    expect(readFileSync(join(files, 'usr/lib/os-release'), 'utf8')).toContain('ID=debian');
    expect(readFileSync(join(files, 'usr/lib/postern-auditd/front'), 'utf8')).toBe('container\n');
  });
});

describe('packaging/container', () => {
  const text = readFileSync(join(root, 'packaging/container/compose.yaml'), 'utf8');
  const compose = parse(text) as {
    services: Record<string, Record<string, unknown>>;
    volumes: Record<string, unknown>;
  };
  const service = compose.services['postern-auditd'] ?? {};

  it('compose.yaml runs the image of this version without privileges', () => {
    expect(service).toMatchObject({
      image: `posternproxy/postern-auditd:${version}`,
      user: '65532:4',
      read_only: true,
      cap_drop: ['ALL'],
      security_opt: ['no-new-privileges:true'],
    });
    expect(service).not.toHaveProperty('privileged');
    expect(service).not.toHaveProperty('cap_add');
    expect(service).not.toHaveProperty('network_mode');
  });

  it('compose.yaml mounts the directory of the database read-only, and covers each place that is written', () => {
    const mounts = (service.volumes as string[]).map((each) => each.split(':'));
    const at = (target: string) => mounts.find(([, to]) => to === target);
    expect(at('/var/lib/posternproxy')).toEqual(['postern-data', '/var/lib/posternproxy', 'ro']);
    expect(at('/etc/postern-auditd/config.yml')?.[2]).toBe('ro');
    expect(at('/var/lib/postern-auditd')?.[0]).toBe('auditd-state');
    expect(new Set(Object.keys(compose.volumes))).toEqual(new Set(['auditd-state', 'postern-data']));
    const temporary = (service.tmpfs as string[]).map((each) => each.split(':')[0]);
    expect([...temporary, ...mounts.map(([, to]) => to)]).toEqual(
      expect.arrayContaining(['/tmp', '/var/log/posternproxy']),
    );
    expect(service.ports).toEqual(['127.0.0.1:8181:8181']);
  });

  it('auditd.yml is a valid configuration, whose API is reached through the published port', () => {
    const sample = readFileSync(join(root, 'packaging/container/auditd.yml'), 'utf8');
    expect(parseConfig(sample, 'auditd.yml').api.listen).toBe('0.0.0.0:8181');
  });
});
