import { compiled, removeCompiled } from '../support/compiled.js';
import type { Host } from './host.js';

/** Nothing of an installation, nor what --uninstall has to leave as it was. */
const DIRECTORY = '/run/compiled';
/** Where a guest has the files of src/, compiled one by one; dist/ is a bundle. */
export const MODULES = `${DIRECTORY}/dist`;

/** Gives a guest in which the program is installed the modules that it is made of. */
export async function putModules(host: Host): Promise<void> {
  await host.exec(`mkdir -p ${DIRECTORY}`);
  await host.put(compiled(), MODULES);
  removeCompiled();
  await host.exec(
    `cp /opt/postern-auditd/package.json ${DIRECTORY} && ln -sfn /opt/postern-auditd/node_modules ${DIRECTORY}/node_modules`,
  );
}
