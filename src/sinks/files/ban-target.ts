import { networkOf } from '../../audit/address.js';
import type { Fail2banConfig } from '../../config/schema.js';

/** What decides whom a failed login bans. */
export type BanRules = Pick<Fail2banConfig, 'never_ban' | 'ipv6_prefix'> &
  Partial<Pick<Fail2banConfig, 'banaction'>>;

/**
 * Actions of fail2ban's own that take no networks: ipset has a set of the type hash:ip for IPv6, hosts.deny wants the prefix behind
 * the bracket, the others compare or store single addresses.
 */
const ADDRESSES_ONLY = /ipset|xt_recent|hostsdeny|cloudflare|nginx-block-map|netscaler|symbiosis/;
const WHOLE_ADDRESS = 128;

/** @param action the name that fail2ban has for it */
export function takesAddressesOnly(action: string): boolean {
  return ADDRESSES_ONLY.test(action);
}

/** True where the action can't ban networks, so that `ipv6_prefix` is not followed. */
export function bansAddressesOnly({ banaction = '', ipv6_prefix }: Omit<BanRules, 'never_ban'>): boolean {
  return ipv6_prefix < WHOLE_ADDRESS && takesAddressesOnly(banaction);
}

/** `ipv6_prefix` as the jail and the daemon both follow it. */
export function prefixInUse(rules: Omit<BanRules, 'never_ban'>): number {
  return bansAddressesOnly(rules) ? WHOLE_ADDRESS : rules.ipv6_prefix;
}

/** Whom a failed login bans: its address, or the network of an IPv6 address. */
export class BanTarget {
  private readonly prefix: number;
  /** Networks that hold an address which is never to be banned. */
  private readonly spared: ReadonlySet<string>;

  constructor(rules: BanRules) {
    this.prefix = prefixInUse(rules);
    const bases = rules.never_ban.map((entry) => entry.split('/')[0] ?? '');
    this.spared = new Set(
      bases.filter((base) => base.includes(':')).map((base) => networkOf(base, this.prefix)),
    );
  }

  /** @param address canonical text as from parseAddress */
  of(address: string): string {
    if (this.prefix === WHOLE_ADDRESS || !address.includes(':')) return address;
    const network = networkOf(address, this.prefix);
    return this.spared.has(network) ? address : network;
  }
}
