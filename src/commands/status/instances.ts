import { loadContacts } from '../../config/load.js';
import { controlRequest, isAbsent } from '../../control/client.js';
import { configOf, instance, instancesOf } from '../../instance.js';

/** Another daemon of this host. */
export interface OtherInstance {
  readonly name: string;
  readonly state: 'running' | 'not running' | 'unknown';
}

/** The instances besides the one that is asked about; only the first database's daemon is asked for its neighbours. */
export async function otherInstances(): Promise<OtherInstance[]> {
  if (instance() !== null) return [];
  return Promise.all(instancesOf().map(async (name) => ({ name, state: await stateOf(name) })));
}

async function stateOf(name: string): Promise<OtherInstance['state']> {
  try {
    await controlRequest(loadContacts(configOf(name), {}).control, 'GET', '/status');
    return 'running';
  } catch (error) {
    // Without the rights, or with a configuration that can't be read, nothing is known.
    return isAbsent(error) ? 'not running' : 'unknown';
  }
}
