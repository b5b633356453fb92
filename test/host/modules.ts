import { compiled, removeCompiled } from '../support/compiled.js';
import type { Host } from './host.js';

/** Not part of an installation, and not of the files that --uninstall must restore. */
const DIRECTORY = '/run/compiled';
/** The guest's directory with the files of src/, compiled one by one, as dist/ is a bundle. */
export const MODULES = `${DIRECTORY}/dist`;

/** Copies the program's separate modules into a guest with an installed program. */
export async function putModules(host: Host): Promise<void> {
  await host.exec(`mkdir -p ${DIRECTORY}`);
  await host.put(compiled(), MODULES);
  removeCompiled();
  await host.exec(
    `cp /opt/postern-auditd/package.json ${DIRECTORY} && ln -sfn /opt/postern-auditd/node_modules ${DIRECTORY}/node_modules`,
  );
}
