import { join, resolve } from 'node:path';
import { compiled, removeCompiled } from '../support/compiled.js';
import type { Host } from './host.js';

/** Not part of an installation, and not of the files that --uninstall must restore. */
const DIRECTORY = '/run/compiled';
/** The guest's directory with the files of src/, compiled one by one, as dist/ is a bundle. */
export const MODULES = `${DIRECTORY}/dist`;

const CLONE_MODULES = resolve(import.meta.dirname, '../../node_modules');
/** Bundled packages that the modules in use import. */
const PACKAGES = ['zod', 'yaml', 'node-cron'];

/** Copies the program's separate modules into a guest with an installed program. */
export async function putModules(host: Host): Promise<void> {
  await host.exec(`mkdir -p ${DIRECTORY}`);
  await host.put(compiled(), MODULES);
  removeCompiled();
  // An installation has the native packages; the code of the others is in its bundle.
  const modules = `${DIRECTORY}/node_modules`;
  await host.exec(
    `cp /opt/postern-auditd/package.json ${DIRECTORY} && mkdir -p ${modules} && ln -sfn /opt/postern-auditd/node_modules/* ${modules}`,
  );
  for (const name of PACKAGES) await host.put(join(CLONE_MODULES, name), `${modules}/${name}`);
}
