import { AuditdError } from '../errors.js';
import { type Ban, fail2banBans, unban } from './client.js';

/** Asks fail2ban itself, which answers only root. */
export function directBans(jail: string) {
  return {
    list: (): Promise<readonly Ban[]> => fail2banBans(jail),
    async unban(address: string): Promise<void> {
      const lifted = await unban(jail, address);
      if (lifted.length === 0) {
        throw new AuditdError('NOT_FOUND', `${address} is not banned in jail ${jail}`);
      }
    },
  };
}
