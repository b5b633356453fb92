import type { Contacts } from '../../config/load.js';
import { messageOf } from '../../errors.js';
import { visibleLines } from './terminal.js';

/**
 * Where the daemon and the jail are. An invalid configuration must not prevent a question to a running daemon or the lifting of a ban:
 * it causes a warning that names the values in use.
 */
export async function contactsOf(
  configPath: string | undefined,
  uses: 'control' | 'jail',
): Promise<Contacts> {
  const { loadContacts } = await import('../../config/load.js');
  const contacts = loadContacts(configPath ?? null, process.env);
  if (contacts.refused !== null) {
    const taken = uses === 'jail' ? `the jail ${contacts.jail}` : `the control socket ${contacts.control}`;
    const text = `warning: ${messageOf(contacts.refused)}\nThe command continues with ${taken}.`;
    process.stderr.write(`postern-auditd: ${visibleLines(text)}\n`);
  }
  return contacts;
}
