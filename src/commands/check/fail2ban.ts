import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { toSafeJson } from '../../audit/unsafe-characters.js';
import type { Config } from '../../config/schema.js';
import { messageOf } from '../../errors.js';
import { refusedNetworks } from '../../fail2ban/ban-actions.js';
import { readLastBans } from '../../fail2ban/ban-log.js';
import { checkLogFiles } from '../../fail2ban/check-log-files.js';
import { checkSinkConfigured } from '../../fail2ban/check-sink-configured.js';
import { type Ban, fail2banReport, type JailReport, testFilter } from '../../fail2ban/client.js';
import { missingBans, recordedBans, UNREPORTED_NEXT, unreported } from '../../fail2ban/compare-bans.js';
import {
  configurationTroubles,
  lastStartTrouble,
  type Trouble,
  troubleWords,
} from '../../fail2ban/configuration-error.js';
import { PROBE_ADDRESSES, probeLines } from '../../fail2ban/filter-probe.js';
import { createJail, helperSocket, helperUnit } from '../../fail2ban/helper-client.js';
import {
  administratorDefaults,
  overriddenDefaults,
  unsparedNetworks,
  whereToSet,
} from '../../fail2ban/jail-defaults.js';
import { bannedLogins } from '../../fail2ban/proxy-warnings.js';
import { renderJail } from '../../fail2ban/render-jail.js';
import { front } from '../../front.js';
import { ROOT } from '../../installation.js';
import { instance } from '../../instance.js';
import { removeOrWantBans, renewJail, setUpAgain, wantBans } from '../../next-steps.js';
import { bansAddressesOnly, prefixInUse } from '../../sinks/files/ban-target.js';
import { PAIR } from '../../sinks/files/fail2ban-files.js';
import type { Finding } from '../../sinks/sink.js';
import { openStateReader } from '../support/state-reader.js';
import { formatCount } from '../support/terminal.js';
import { recentLogins } from './database.js';
import { partsOfError } from './report.js';

const SETTLED_MS = 30_000;
const INSTALLED = '/etc/fail2ban';
const SHIPPED_FILTER = join(ROOT, 'fail2ban/filter.d/posternproxy.conf');

/** The filter that fail2ban uses: the installed one by its name, else the one that came with this program. */
export function filterInUse(): { filter: string; installed: boolean } {
  const installed = existsSync(join(INSTALLED, 'filter.d/posternproxy.conf'));
  return { filter: installed ? 'posternproxy' : SHIPPED_FILTER, installed };
}

/** The jail as it runs and as it is configured, and the filter on lines that it must match. */
export async function inspectFail2ban(config: Config): Promise<Finding[]> {
  if (!config.fail2ban.enabled) return [leftOut(config)];
  const sink = Object.values(config.sinks).find(({ type }) => type === 'fail2ban');
  if (sink === undefined || !('directory' in sink)) return [checkSinkConfigured(config) ?? noSink];
  // fail2ban is elsewhere: only what the daemon writes for it can be checked here.
  if (front() === 'container')
    return [...checkLogFiles(sink.directory), prefix(config), ...unreadableReports(config.fail2ban.bans)];
  const tested = await filter();
  const asked = await fail2banReport(config.fail2ban.jail).catch((error: unknown) => ({ error }));
  return [
    ...tested,
    ...checkLogFiles(sink.directory),
    ...(await jail(config, sink.directory, asked)),
    ...jailFile(config, sink.directory),
    ...defaults(config, sink.directory),
    prefix(config),
    ...(await refusedNetworks(config.fail2ban)),
    ...helper(),
    ...unreadableReports(config.fail2ban.bans),
    ...(await unreportedBans(config, asked)),
  ];
}

/** The setup writes one file for a jail of any name; a file written by hand is named after its jail. */
export function jailPath(jail: string, directory = INSTALLED): string | null {
  const name = instance();
  const names = [name === null ? 'posternproxy' : `postern-${name}`, jail].map((name) =>
    join(directory, `jail.d/${name}.conf`),
  );
  return names.find((path) => existsSync(path)) ?? null;
}

/** The state that the setup leaves with --no-fail2ban. */
function leftOut({ fail2ban: { jail } }: Config): Finding {
  const file = jailPath(jail);
  if (file === null) {
    const what = 'disabled by fail2ban.enabled: nobody is banned';
    return { level: 'ok', what, next: `${wantBans()} if bans are wanted` };
  }
  const what = `fail2ban.enabled is false, but the jail ${jail} exists (${file})`;
  const next = removeOrWantBans();
  return { level: 'warning', what, next };
}

/** This much of the end of bans.log is checked. */
const REPORTS_BYTES = 256 * 1_024;

/** Lines of bans.log that the daemon skips. */
function unreadableReports(path: string): Finding[] {
  const next = `check fail2ban's action posternproxy-report; to restore it, ${renewJail()}`;
  try {
    const { bad, badLine } = readLastBans(path, REPORTS_BYTES);
    if (bad === 0) return [];
    const what = `${formatCount(bad, 'line')} of ${path} can't be read, so these bans are not recorded: ${toSafeJson(badLine)}`;
    return [{ level: 'error', what, next }];
  } catch (error) {
    return [{ level: 'warning', ...partsOfError(error) }];
  }
}

/** What fail2ban has answered about the jail, or why it has not. */
type Asked = JailReport | { readonly error: unknown };

/** Bans that fail2ban has and the journal lacks. */
async function unreportedBans({ fail2ban, state }: Config, asked: Asked): Promise<Finding[]> {
  let bans: readonly Ban[];
  try {
    // The daemon's own user has the helper.
    if ('error' in asked && !existsSync(helperSocket())) return [];
    ({ bans } = 'error' in asked ? await createJail(fail2ban.jail).report() : asked);
  } catch {
    return []; // the jail's own finding says why it can't be asked
  }
  const ledger = openStateReader(state);
  if ('why' in ledger) return [];
  try {
    const missing = missingBans(bans.filter(isSettled), recordedBans(ledger.db), Date.now());
    if (missing.length === 0) return [];
    return [{ level: 'error', what: unreported(missing, fail2ban.bans), next: UNREPORTED_NEXT }];
  } finally {
    ledger.close();
  }
}

/** A ban of the last moments does not count: its report may still be on its way. */
function isSettled({ since }: Ban): boolean {
  const age = Date.now() - Date.parse(since?.replace(' ', 'T') ?? '');
  return !(Math.abs(age) < SETTLED_MS);
}

const noSink: Finding = {
  level: 'warning',
  what: 'no sink of type fail2ban: nobody is banned',
  next: 'add one to sinks if failed logins should be banned: auth: { type: fail2ban }',
};

/** The prefix that bans an IPv6 attacker. Configuration files of earlier releases contain their default, 128. */
function prefix({ fail2ban }: Config): Finding {
  const inUse = prefixInUse(fail2ban);
  if (bansAddressesOnly(fail2ban)) {
    const what = `banaction ${fail2ban.banaction} can't ban networks: an IPv6 attacker is banned by a single address, and has others`;
    const next =
      'use iptables-multiport or nftables, or set fail2ban.ipv6_prefix: 128 if single addresses suffice';
    return { level: 'warning', what, next };
  }
  if (inUse === 128) {
    const what =
      'fail2ban.ipv6_prefix is 128, the default of earlier releases: an IPv6 attacker is banned by a single address, and has others in the same /64';
    return {
      level: 'warning',
      what,
      next: `set it to 64, the default, and ${renewJail()}`,
    };
  }
  return {
    level: 'ok',
    what: `an IPv6 attacker is banned by /${inUse} (fail2ban.ipv6_prefix; the default is 64, in earlier releases 128)`,
  };
}

/** The daemon itself has no access to fail2ban: without the helper the page can't show or lift bans. */
function helper(): Finding[] {
  const socket = helperSocket();
  if (existsSync(socket)) return [{ level: 'ok', what: 'the daemon can list and lift bans' }];
  const what = `${socket} is missing: the page can't show or lift bans`;
  const next = `${setUpAgain()}, or: systemctl enable --now ${helperUnit()}.socket`;
  return [{ level: 'warning', what, next }];
}

async function filter(): Promise<Finding[]> {
  const { filter: name, installed } = filterInUse();
  const where = installed ? `the installed filter ${name}` : `the filter ${name}`;
  const lacking: Finding[] = installed
    ? []
    : [
        {
          level: 'warning',
          what: 'the filter is not installed in /etc/fail2ban/filter.d',
          next: renewJail(),
        },
      ];
  try {
    const matched = await testFilter(`${probeLines(Date.now()).join('\n')}\n`, name);
    if (matched.join() === PROBE_ADDRESSES.join()) {
      return [
        { level: 'ok', what: `${where} matches failed logins from IPv4 and IPv6 addresses` },
        ...lacking,
      ];
    }
    const what = `${where} finds ${matched.join(', ') || 'nothing'} in lines of failed logins from ${PROBE_ADDRESSES.join(', ')}`;
    return [{ level: 'error', what, next: `${renewJail()} to install the filter` }];
  } catch (error) {
    return [{ level: absent(error) ? 'warning' : 'error', ...partsOfError(error) }, ...lacking];
  }
}

/** Not installed, or without access for this user: no proof of a fault. */
function absent(error: unknown): boolean {
  return /is not installed|answers only root/.test(messageOf(error));
}

async function jail(config: Config, directory: string, asked: Asked): Promise<Finding[]> {
  const { fail2ban } = config;
  if ('error' in asked) {
    return absent(asked.error)
      ? [{ level: 'warning', ...partsOfError(asked.error) }]
      : await without(asked.error, fail2ban.jail);
  }
  const { status } = asked;
  const missing = PAIR.map((name) => join(directory, name)).filter((file) => !status.logFiles.includes(file));
  const what = `jail ${fail2ban.jail} is running: ${formatCount(status.banned.length, 'address', 'addresses')} banned, ${formatCount(status.totalFailed, 'failure')} seen`;
  const networks = status.banned.filter((entry) => entry.includes('/'));
  const lockedOut = networks.length === 0 ? [] : bannedLogins(recentLogins(config), networks);
  const others = (await configurationTroubles(INSTALLED)).map(besides);
  if (missing.length === 0) return [{ level: 'ok', what }, ...lockedOut, ...others];
  const blind = `jail ${fail2ban.jail} does not read ${missing.join(' and ')}: nobody is banned`;
  return [{ level: 'error', what: blind, next: renewJail() }, ...lockedOut, ...others];
}

/** Why fail2ban or this jail does not run: the jail and the file to correct. */
async function without(error: unknown, jail: string): Promise<Finding[]> {
  const said: Finding = { level: 'error', ...partsOfError(error) };
  const down = /is not running/.test(said.what);
  if (!down && !/has no jail/.test(said.what)) return [said];
  const troubles = await configurationTroubles(INSTALLED);
  const reasons = troubles.filter((trouble) => (down ? trouble.keepsDown : trouble.jail === jail));
  if (reasons.length > 0) {
    const what = down ? 'fail2ban is not running, so no jail is active' : said.what;
    const next = down ? `${CORRECT}; then: systemctl restart fail2ban` : `correct it, then ${renewJail()}`;
    return reasons.map((reason) => ({ level: 'error', what: `${what}: ${troubleWords(reason)}`, next }));
  }
  const last = down ? await lastStartTrouble(INSTALLED) : null;
  if (last === null) return [said, ...troubles.map(besides)];
  const what = `fail2ban is not running, so no jail is active; its last start failed at ${troubleWords(last)}`;
  const next = 'correct it, or set enabled = false for that jail, then: systemctl restart fail2ban';
  return [{ level: 'error', what, next }, ...troubles.map(besides)];
}

const CORRECT = 'correct it, or set enabled = false for that jail; fail2ban-client -t checks the result';

/** A fault that has no effect yet, or affects another jail. */
function besides(trouble: Trouble): Finding {
  const words = troubleWords(trouble);
  if (trouble.keepsDown) {
    const what = `fail2ban is running, but would not start again: ${words}`;
    return {
      level: 'warning',
      what,
      next: CORRECT,
    };
  }
  return {
    level: 'warning',
    what: `fail2ban skips ${words}`,
    next: 'correct it, or set enabled = false for that jail',
  };
}

/** The administrator's settings for all jails that this jail overrides. */
function defaults({ fail2ban }: Config, authDirectory: string): Finding[] {
  const theirs = administratorDefaults(INSTALLED);
  const different = overriddenDefaults(fail2ban.jail, renderJail(fail2ban, { authDirectory }), theirs);
  const unspared = unsparedNetworks(fail2ban, theirs);
  return [
    ...(different === null
      ? []
      : [{ level: 'ok', what: different, next: whereToSet(fail2ban.jail) } as const]),
    ...(unspared === null ? [] : [unspared]),
  ];
}

/** The setup has replaced `chain: auto` by one of these. */
const CHAINS = ['INPUT', 'INPUT,DOCKER-USER'];

function jailFile({ fail2ban }: Config, authDirectory: string): Finding[] {
  const path = jailPath(fail2ban.jail);
  if (path === null) return [];
  const text = readFileSync(path, 'utf8');
  if (CHAINS.some((chain) => renderJail(fail2ban, { authDirectory, chain }) === text)) return [];
  const what = `${path} does not match the configuration`;
  return [
    {
      level: 'warning',
      what,
      next: `compare it with postern-auditd jail; to write it again, ${renewJail()}`,
    },
  ];
}
