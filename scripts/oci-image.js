// Writes the OCI layout of scripts/image.sh (image-spec 1.1) with the manifest.json that `docker save` writes beside it.
//
//   node scripts/oci-image.js WORK DIRECTORY NAME:TAG ARCH EPOCH USER PACKAGES
//
// WORK/layers has NAME.tar.gz and NAME.diff, the hash of the unpacked layer, of each of LAYERS.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const [work, directory, name, architecture, epoch, user, packages] = process.argv.slice(2);
/** From what changes least to what changes most: an upgrade downloads what is new. */
const LAYERS = [
  ['base', `Debian packages: ${packages}`],
  ['node', 'Node.js'],
  ['program', 'postern-auditd'],
];
const root = join(import.meta.dirname, '..');
const { version, description, license } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const created = new Date(Number(epoch) * 1_000).toISOString().replace('.000', '');
const blobs = join(directory, 'blobs/sha256');
mkdirSync(blobs, { recursive: true });

/** Descriptor of a blob (image-spec, descriptor.md). */
function blob(mediaType, bytes) {
  const hash = createHash('sha256').update(bytes).digest('hex');
  writeFileSync(join(blobs, hash), bytes);
  return { mediaType, digest: `sha256:${hash}`, size: bytes.length };
}
const json = (value) => Buffer.from(JSON.stringify(value));
const path = ({ digest }) => `blobs/${digest.replace(':', '/')}`;

const layers = LAYERS.map(([layer]) => {
  const file = join(work, 'layers', `${layer}.tar.gz`);
  return blob('application/vnd.oci.image.layer.v1.tar+gzip', readFileSync(file));
});
const config = blob(
  'application/vnd.oci.image.config.v1+json',
  json({
    created,
    architecture,
    os: 'linux',
    config: {
      User: user,
      ExposedPorts: { '8181/tcp': {} },
      // podman lays a tmpfs over /run of a read-only container, in which only root may write.
      Env: ['PATH=/usr/bin', 'POSTERN_AUDITD_CONTROL=/tmp/postern-auditd.sock'],
      Entrypoint: ['/usr/bin/postern-auditd'],
      Cmd: ['run'],
      WorkingDir: '/',
      StopSignal: 'SIGTERM',
      Labels: {
        'org.opencontainers.image.title': 'postern-auditd',
        'org.opencontainers.image.description': description,
        'org.opencontainers.image.version': version,
        'org.opencontainers.image.licenses': license,
        'org.opencontainers.image.created': created,
        'net.postern.debian-packages': packages,
      },
    },
    rootfs: {
      type: 'layers',
      diff_ids: LAYERS.map(
        ([layer]) => `sha256:${readFileSync(join(work, 'layers', `${layer}.diff`), 'utf8').trim()}`,
      ),
    },
    history: LAYERS.map(([, comment]) => ({ created, created_by: 'scripts/image.sh', comment })),
  }),
);
const mediaType = 'application/vnd.oci.image.manifest.v1+json';
const manifest = blob(mediaType, json({ schemaVersion: 2, mediaType, config, layers }));
const annotations = { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': name };
writeFileSync(join(directory, 'oci-layout'), json({ imageLayoutVersion: '1.0.0' }));
writeFileSync(
  join(directory, 'index.json'),
  json({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: [{ ...manifest, platform: { architecture, os: 'linux' }, annotations }],
  }),
);
const repository = name.replace(/^docker\.io\//, '');
writeFileSync(
  join(directory, 'manifest.json'),
  json([{ Config: path(config), RepoTags: [repository], Layers: layers.map(path) }]),
);
