import { AuditdError } from '../errors.js';
import type { Ban } from './client.js';
import { createJail } from './helper-client.js';

/** The bans of a jail: by the helper where it is installed, else asking fail2ban itself, which answers only root. */
export function jailBans(name: string) {
  const jail = createJail(name);
  return {
    list: async (): Promise<readonly Ban[]> => (await jail.report()).bans,
    async unban(address: string, about?: (ban: string) => void): Promise<string[]> {
      const lifted = await jail.unban(address, about);
      if (lifted.length === 0) throw new AuditdError('NOT_FOUND', `${address} is not banned in jail ${name}`);
      return lifted;
    },
  };
}
