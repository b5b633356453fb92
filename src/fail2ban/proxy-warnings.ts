import { NetworkSet } from '../audit/address.js';
import type { Finding } from '../sinks/sink.js';

/** Recent logins, successful or failed, by address. */
export interface LoginCount {
  readonly address: string;
  readonly logins: number;
}

/** Fewer logins than this do not show a proxy. */
const ENOUGH = 5;
const SHOWN = 5;

const looped = new NetworkSet(['127.0.0.0/8', '::1']);
/** The ranges from which Docker and Podman choose the networks of their bridges. They have no such ranges for IPv6. */
const containers = new NetworkSet(['172.16.0.0/12', '10.88.0.0/16', '10.89.0.0/16']);
const privately = new NetworkSet([
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '100.64.0.0/10',
  '169.254.0.0/16',
  'fc00::/7',
  'fe80::/10',
]);

/**
 * Warns of addresses whose ban would lock out others than the attacker: a proxy or a container's bridge in front of Postern
 * that hides its clients.
 *
 * @param counts successful logins by address, of 30 days or so
 * @param neverBan `fail2ban.never_ban`: its addresses cause no warning
 * @param bridges networks of bridges on this host, `172.18.0.0/16`, if known
 */
export function loginFindings(
  counts: readonly LoginCount[],
  neverBan: readonly string[],
  bridges: readonly string[] = [],
): Finding[] {
  const spared = new NetworkSet(neverBan);
  const known = new NetworkSet(bridges);
  const total = counts.reduce((sum, { logins }) => sum + logins, 0);
  const open = counts.filter(({ address, logins }) => logins > 0 && !spared.contains(address));
  const findings: Finding[] = [];
  const said = new Set<string>();
  const warn = (addresses: readonly string[], what: string, next: string) => {
    for (const address of addresses) said.add(address);
    findings.push({ level: 'warning', what, next });
  };

  for (const { address, logins } of open) {
    if (!isInFront(address, known)) continue;
    said.add(address);
    findings.push(inFront(address, share(logins, total)));
  }
  if (total >= ENOUGH) {
    for (const { address, logins } of open) {
      if (logins * 2 <= total || said.has(address)) continue;
      warn(
        [address],
        `${share(logins, total)} came from ${address}: more than half, which suggests a proxy in front of Postern`,
        `If it is a proxy, add ${address} to fail2ban.never_ban and make Postern trust its X-Forwarded-For: a ban of it would lock out everyone. If it is the address of all administrators, add it too: otherwise one of them can get all of them banned`,
      );
    }
  }
  const rest = open.filter(({ address }) => privately.contains(address) && !said.has(address));
  if (rest.length > 0) {
    const names = rest.slice(0, SHOWN).map(({ address }) => address);
    const more = rest.length > SHOWN ? ` and ${rest.length - SHOWN} more` : '';
    const logins = rest.reduce((sum, entry) => sum + entry.logins, 0);
    warn(
      names,
      `${share(logins, total)} came from private addresses: ${names.join(', ')}${more}`,
      'If these are your own network, add it to fail2ban.never_ban; if one is a proxy or a router that hides its clients, add that one',
    );
  }
  return findings;
}

/**
 * The same for failed logins: they show a proxy before anybody has logged in.
 *
 * @param counts failed logins by address
 * @param succeeded successful logins, which `loginFindings` has reported
 */
export function failureFindings(
  counts: readonly LoginCount[],
  succeeded: readonly LoginCount[],
  neverBan: readonly string[],
  bridges: readonly string[] = [],
): Finding[] {
  const spared = new NetworkSet(neverBan);
  const known = new NetworkSet(bridges);
  const told = new Set(succeeded.map(({ address }) => address));
  const total = counts.reduce((sum, { logins }) => sum + logins, 0);
  return counts
    .filter(({ address }) => isInFront(address, known) && !spared.contains(address) && !told.has(address))
    .map(({ address, logins }) =>
      inFront(address, `${logins} of ${total} failed ${total === 1 ? 'login' : 'logins'}`),
    );
}

/**
 * Warns of banned networks from which somebody has logged in recently: every user in an attacker's /64 is locked out with him.
 *
 * @param counts successful logins by address
 * @param banned what fail2ban has banned
 */
export function bannedLogins(counts: readonly LoginCount[], banned: readonly string[]): Finding[] {
  return banned
    .filter((entry) => entry.includes('/'))
    .flatMap((network): Finding[] => {
      const set = new NetworkSet([network]);
      const inside = counts.filter(({ address, logins }) => logins > 0 && set.contains(address));
      if (inside.length === 0) return [];
      const names = inside.slice(0, SHOWN).map(({ address }) => address);
      const more = inside.length > SHOWN ? ` and ${inside.length - SHOWN} more` : '';
      const what = `${network} is banned, and successful logins came from it: ${names.join(', ')}${more}`;
      const next = `If they are yours, run postern-auditd unban ${network} and add them to fail2ban.never_ban, which also protects their network; fail2ban.ipv6_prefix: 128 bans single addresses`;
      return [{ level: 'warning', what, next }];
    });
}

/** A bridge known to be one, or the first address of a network that containers usually get. */
function isBridge(address: string, known: NetworkSet): boolean {
  return known.contains(address) || (containers.contains(address) && address.endsWith('.1'));
}

function isInFront(address: string, known: NetworkSet): boolean {
  return isBridge(address, known) || looped.contains(address);
}

function inFront(address: string, logins: string): Finding {
  const where = looped.contains(address) ? 'this host itself' : 'a container bridge';
  const what = `${logins} came from ${address}, ${where}: Postern does not see its clients' addresses`;
  const next = `A ban of ${address} would lock out everyone behind it. Add it to fail2ban.never_ban, and let Postern see the clients (trust the proxy's X-Forwarded-For; Docker: userland-proxy off or host networking)`;
  return { level: 'warning', what, next };
}

function share(logins: number, total: number): string {
  return `${logins} of ${total} successful ${total === 1 ? 'login' : 'logins'}`;
}
