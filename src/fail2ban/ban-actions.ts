import type { Fail2banConfig } from '../config/schema.js';
import { renewJail } from '../next-steps.js';
import { bansAddressesOnly, prefixInUse, takesAddressesOnly } from '../sinks/files/ban-target.js';
import type { Finding } from '../sinks/sink.js';
import { type Run, spawn } from './client.js';

/** The set of fail2ban's own nftables action refuses networks. The set of our action has intervals. */
const ITS_NFTABLES = /^nftables/;
/** An ipset of single addresses. */
const ADDRESS_SET = /\bhash:ip\b/;

/**
 * Returns the names of the jail's actions that cannot ban networks. fail2ban itself reads its whole configuration here, so jail.local,
 * drop-ins and the administrator's own actions count. Returns none where the configuration can't be read: other findings report that.
 */
async function addressOnlyActions(jail: string, run: Run = spawn): Promise<string[]> {
  const { stdout } = await run('fail2ban-client', ['-d']);
  const begin = `['multi-set', '${jail}', 'action', '`;
  return stdout.split('\n').flatMap((line) => {
    if (!line.startsWith(begin)) return [];
    const name = line.slice(begin.length, line.indexOf("'", begin.length));
    const isSingle = ITS_NFTABLES.test(name) && !line.includes('interval');
    return isSingle || takesAddressesOnly(name) || ADDRESS_SET.test(line) ? [name] : [];
  });
}

/** Reports a jail whose action refuses the networks that the daemon writes. */
export async function refusedNetworks(fail2ban: Fail2banConfig, run: Run = spawn): Promise<Finding[]> {
  const prefix = prefixInUse(fail2ban);
  if (prefix === 128 || bansAddressesOnly(fail2ban)) return [];
  const names = await addressOnlyActions(fail2ban.jail, run);
  if (names.length === 0) return [];
  const what =
    `the jail ${fail2ban.jail} uses ${names.join(', ')}, which cannot ban networks, but an IPv6 attacker is reported to ` +
    `fail2ban as a /${prefix}: no IPv6 attacker is banned`;
  const next =
    `set fail2ban.banaction to that action instead of naming it in files of fail2ban, and ${renewJail()}: single addresses are then reported; ` +
    'or set fail2ban.ipv6_prefix: 128; or use an action that bans networks, such as iptables-multiport';
  return [{ level: 'error', what, next }];
}
