import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net';

const PLAIN_IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)$/;
const IPV4_PORT = /^([0-9.]+):(\d{1,5})$/;
const BRACKETS = /^\[([^\]]+)\](?::(\d{1,5}))?$/;
const ZONE = /^([0-9a-fA-F:.]+)%[A-Za-z0-9_.-]{1,32}$/;
/** `[ffff:…%zone]:65535` is the longest there is. */
const LONGEST = 90;

/**
 * The client address in canonical text: dotted IPv4, or IPv6 after RFC 5952; IPv4-mapped IPv6 as IPv4.
 * Brackets, a port and a zone are accepted and left out. Everything else (host names, lists, CIDR, leading zeros, white
 * space) is null: whoever is banned must be an address that was measured, not text that was sent.
 */
export function parseAddress(text: string | null): string | null {
  if (text === null || text.length > LONGEST || text.length < 2) return null;
  if (PLAIN_IPV4.test(text)) return text;
  const withPort = IPV4_PORT.exec(text);
  if (withPort !== null) {
    const [, host = '', port = ''] = withPort;
    return Number(port) <= 65_535 && PLAIN_IPV4.test(host) ? host : null;
  }
  let bare = text;
  const bracketed = BRACKETS.exec(text);
  if (bracketed !== null) {
    if (Number(bracketed[2] ?? 0) > 65_535) return null;
    bare = bracketed[1] ?? '';
  }
  bare = ZONE.exec(bare)?.[1] ?? bare;
  if (!isIPv6(bare) || bare.includes('%')) return null;
  const groups = groupsOf(bare);
  return mappedIpv4(groups) ?? compress(groups);
}

/**
 * The network of an IPv6 address, `2001:db8:1:2::/64`; an address where `prefix` is 128 and for IPv4.
 *
 * @param address canonical text as from parseAddress
 * @param prefix bits, 0 to 128
 */
export function networkOf(address: string, prefix: number): string {
  if (prefix >= 128 || isIPv4(address)) return address;
  const groups = groupsOf(address).map((group, at) => {
    const bits = Math.max(0, Math.min(16, prefix - at * 16));
    return group & (0xffff << (16 - bits)) & 0xffff;
  });
  return `${compress(groups)}/${prefix}`;
}

/** Addresses and networks in CIDR notation, asked for membership. */
export class NetworkSet {
  private readonly list = new BlockList();
  private readonly empty: boolean;

  /** @throws Error that names the first entry that is neither an address nor a network */
  constructor(entries: readonly string[]) {
    this.empty = entries.length === 0;
    for (const entry of entries) this.add(entry);
  }

  /** @param address canonical text as from parseAddress; a network counts by its first address */
  contains(address: string): boolean {
    if (this.empty) return false;
    const bare = address.split('/')[0] ?? '';
    return this.list.check(bare, isIPv4(bare) ? 'ipv4' : 'ipv6');
  }

  private add(entry: string): void {
    const [text = '', bits, more] = entry.split('/');
    const address = parseAddress(text);
    if (address === null || isIP(text) === 0 || more !== undefined || (bits !== undefined && !/^\d{1,3}$/.test(bits))) {
      throw new Error(`"${entry}" is neither an IP address nor a network such as 192.0.2.0/24 or 2001:db8::/32`);
    }
    const family = isIPv4(address) ? 'ipv4' : 'ipv6';
    const mapped = family === 'ipv4' && text.includes(':');
    const width = family === 'ipv4' ? 32 : 128;
    const prefix = bits === undefined ? width : Number(bits) - (mapped ? 96 : 0);
    if (prefix < 0 || prefix > width) throw new Error(`"${entry}" has a prefix length outside of 0 to ${width}`);
    this.list.addSubnet(address, prefix, family);
  }
}

/** The eight 16-bit groups of an IPv6 address that net.isIPv6 has accepted. */
function groupsOf(address: string): number[] {
  let text = address;
  const dotted = /(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text);
  if (dotted !== null) {
    const [a = 0, b = 0, c = 0, d = 0] = dotted.slice(1).map(Number);
    text = `${text.slice(0, dotted.index)}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  }
  const [head = '', tail] = text.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : 8 - left.length - right.length;
  return [...left, ...Array<string>(Math.max(0, zeros)).fill('0'), ...right].map((group) => Number.parseInt(group, 16));
}

/** ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2) names the IPv4 host. */
function mappedIpv4(groups: readonly number[]): string | null {
  if (groups[5] !== 0xffff || groups.slice(0, 5).some((group) => group !== 0)) return null;
  const [high = 0, low = 0] = groups.slice(6);
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
}

/** RFC 5952 section 4: lower case, no leading zeros, `::` for the first longest run of two or more zero groups. */
function compress(groups: readonly number[]): string {
  let best = { at: -1, length: 1 };
  for (let at = 0; at < groups.length; at++) {
    let length = 0;
    while (groups[at + length] === 0) length++;
    if (length > best.length) best = { at, length };
    at += length;
  }
  const hex = (part: readonly number[]) => part.map((group) => group.toString(16)).join(':');
  if (best.at < 0) return hex(groups);
  return `${hex(groups.slice(0, best.at))}::${hex(groups.slice(best.at + best.length))}`;
}
