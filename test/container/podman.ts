import { execFileSync, type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parse } from 'yaml';

/** A service of the compose file, as far as it is used. */
interface Service {
  readonly user: string;
  readonly read_only: boolean;
  readonly cap_drop: readonly string[];
  readonly security_opt: readonly string[];
  readonly tmpfs: readonly string[];
  readonly volumes: readonly string[];
  readonly healthcheck: { readonly test: readonly string[] };
}

/** The service `postern-auditd` of packaging/container/compose.yaml. */
export function composeService(): Service {
  const text = readFileSync(resolve(import.meta.dirname, '../../packaging/container/compose.yaml'), 'utf8');
  const service = (parse(text) as { services: Record<string, Service> }).services['postern-auditd'];
  if (service === undefined) throw new Error('compose.yaml has no service postern-auditd');
  return service;
}

/**
 * Debian's podman with a storage of its own and runc: crun refuses cgroups in hybrid mode. The driver vfs runs on every file system,
 * and the limits are those that an unprivileged init may set.
 */
export class Podman {
  private readonly directory = mkdtempSync(join(tmpdir(), 'pa-podman-'));
  private readonly options = [
    `--root=${this.directory}/root`,
    `--runroot=${this.directory}/run`,
    `--tmpdir=${this.directory}/tmp`,
    '--storage-driver=vfs',
    '--cgroup-manager=cgroupfs',
    '--events-backend=file',
    '--runtime=runc',
  ];
  private readonly containers: string[] = [];

  /** @returns the name of the image */
  load(archive: string): string {
    const said = this.run('load', '--quiet', '--input', archive);
    return said.replace(/^Loaded image: /, '').trim();
  }

  /** Options of the compose file, with places of the test in place of its volumes; a volume without one is left out. */
  runOptions(service: Service, places: Readonly<Record<string, string>>): string[] {
    const mounts = service.volumes.flatMap((volume) => {
      const [, target = '', mode = 'rw'] = volume.split(':');
      const from = places[target];
      return from === undefined ? [] : [`--volume=${from}:${target}:${mode}`];
    });
    return [
      `--user=${service.user}`,
      ...(service.read_only ? ['--read-only'] : []),
      ...service.cap_drop.map((name) => `--cap-drop=${name}`),
      ...service.security_opt.map((option) => `--security-opt=${option.replace(':true', '')}`),
      ...service.tmpfs.map((place) => `--tmpfs=${place}`),
      ...mounts,
      '--log-driver=k8s-file',
      '--ulimit=nofile=1024:1024',
      '--ulimit=nproc=1024:1024',
    ];
  }

  start(name: string, ...args: string[]): void {
    this.containers.push(name);
    this.run('run', '--detach', `--name=${name}`, ...args);
  }

  /** @throws if it fails */
  run(...args: string[]): string {
    const { status, stdout, stderr } = this.try(...args);
    if (status !== 0) throw new Error(`podman ${args.join(' ')}: ${status}\n${stderr}\n${stdout}`);
    return stdout;
  }

  try(...args: string[]): SpawnSyncReturns<string> {
    return spawnSync('podman', [...this.options, ...args], { encoding: 'utf8' });
  }

  /** What a command writes as bytes. */
  bytes(...args: string[]): Buffer {
    return execFileSync('podman', [...this.options, ...args]);
  }

  remove(): void {
    for (const name of this.containers) this.try('rm', '--force', '--time=0', name);
    rmSync(this.directory, { recursive: true, force: true });
  }
}
