import { dirname, normalize } from 'node:path';
import { NetworkSet } from '../audit/address.js';
import { catalog, createClassifier } from '../audit/catalog.js';
import { nearest } from '../audit/did-you-mean.js';
import { isLoopback, listenAddress } from './api.js';
import { formatDuration } from './duration-and-size.js';
import { fleetProblems } from './fleet-checks.js';
import type { KeyPath } from './key-path.js';
import type { Config, EventsFilter } from './schema.js';
import { type ConfigProblem, quoted } from './validation-messages.js';

/** sun_path of a unix socket holds 108 bytes with its NUL (unix(7)). */
const SOCKET_PATH_BYTES = 107;

/** Checks that involve several keys: conflicting sinks, networks, names that are not in the catalog. */
export function crossProblems(config: Config): ConfigProblem[] {
  return [
    ...sockets(config),
    ...directories(config),
    ...sinks(config),
    ...jail(config),
    ...networks(config),
    ...alertTimes(config),
    ...aliases(config),
    ...listening(config),
    ...fleetProblems(config),
  ];
}

function sockets({ control, api }: Config): ConfigProblem[] {
  const listen = listenAddress(api.listen);
  const path = listen?.kind === 'unix' ? listen.path : null;
  return [
    ...socketPath(['control'], control),
    ...(path === null ? [] : socketPath(['api', 'listen'], path)),
    ...(path === null || normalized(path) !== normalized(control)
      ? []
      : [
          problem(
            ['api', 'listen'],
            `found the path of the control socket, whose users have all rights; use another path`,
          ),
        ]),
  ];
}

function socketPath(path: KeyPath, file: string): ConfigProblem[] {
  const bytes = Buffer.byteLength(file);
  if (bytes <= SOCKET_PATH_BYTES) return [];
  const allowed = `${SOCKET_PATH_BYTES} for a unix socket`;
  return [problem(path, `found a path of ${bytes} bytes, allowed are ${allowed}`)];
}

/** Each kind of file needs its own directory: rotated files are counted and removed by their names. */
function directories(config: Config): ConfigProblem[] {
  const taken = new Map([
    [normalized(dirname(config.source.database)), "Postern's database"],
    [normalized(config.state), 'state.db (state)'],
    [normalized(dirname(config.fail2ban.bans)), 'the log of bans (fail2ban.bans)'],
  ]);
  if (config.log.file !== null)
    taken.set(normalized(dirname(config.log.file)), "the daemon's log (log.file)");
  const own = (path: KeyPath, directory: string, what: string): ConfigProblem[] => {
    const other = taken.get(normalized(directory));
    taken.set(normalized(directory), what);
    if (other === undefined) return [];
    const message = `found ${quoted(directory)}, the directory of ${other}; use a separate one`;
    return [problem(path, message)];
  };
  const sinksOwn = Object.entries(config.sinks).flatMap(([name, sink]) =>
    'directory' in sink ? own(['sinks', name, 'directory'], sink.directory, `sink ${name}`) : [],
  );
  const { directory } = config.retention.archive;
  return [
    ...sinksOwn,
    ...own(['retention', 'archive', 'directory'], directory, 'the archive'),
    ...nested(config),
  ];
}

/**
 * Root creates these directories before each start and gives them to the daemon's user. A directory inside another one of them would be
 * created where that user may have placed a link.
 */
function nested({ sinks, log, fail2ban, retention }: Config): ConfigProblem[] {
  const logs: Array<readonly [KeyPath, string, string]> = Object.entries(sinks).flatMap(([name, sink]) =>
    'directory' in sink ? [[['sinks', name, 'directory'], sink.directory, `of sink ${name}`] as const] : [],
  );
  if (log.file !== null) logs.push([['log', 'file'], dirname(log.file), "of the daemon's log (log.file)"]);
  const inner: typeof logs = [
    ...logs,
    [['fail2ban', 'bans'], dirname(fail2ban.bans), ''],
    [['retention', 'archive', 'directory'], retention.archive.directory, ''],
  ];
  return inner.flatMap(([path, directory]) => {
    const around = logs.find(([, outer]) => normalized(directory).startsWith(`${normalized(outer)}/`));
    if (around === undefined) return [];
    const message = `found ${quoted(directory)}, which lies inside the directory ${around[2]} (${around[1]}); use one beside it`;
    return [problem(path, message)];
  });
}

function normalized(path: string): string {
  const normal = normalize(path);
  return normal.length > 1 && normal.endsWith('/') ? normal.slice(0, -1) : normal; // at most one slash is left
}

function sinks(config: Config): ConfigProblem[] {
  const entries = Object.entries(config.sinks);
  const [first, ...more] = entries.filter(([, sink]) => sink.type === 'fail2ban').map(([name]) => name);
  return [
    ...more.map((name) => {
      const message = `found a second sink of type fail2ban; only one is allowed (${first}), as there is one jail`;
      return problem(['sinks', name, 'type'], message);
    }),
    ...entries.flatMap(([name, { events }]) =>
      events === undefined ? [] : filter(['sinks', name, 'events'], events, config),
    ),
  ];
}

const actions: readonly string[] = catalog.map(({ action }) => action);
const categories: readonly string[] = [...new Set(catalog.map(({ category }) => category))];

/**
 * Names in a filter must be in the catalog: a misspelt name would silently match nothing. The table may still have other names: a
 * name that resembles no known name is accepted, and `check` warns.
 */
function filter(path: KeyPath, events: EventsFilter, config: Config): ConfigProblem[] {
  const isKnown = spellings(config);
  const category = (events.category ?? []).flatMap((name, at) => {
    const near = categories.includes(name) ? null : nearest(name, categories);
    return near === null ? [] : [problem([...path, 'category', at], unknown(name, categories, near))];
  });
  const action = (events.action ?? []).flatMap((name, at) => {
    const near = meantBy(name);
    const ofCatalog = categories.includes(name.split('.')[0] ?? '') && name.includes('.');
    if (isKnown(name) || (near === null && !ofCatalog)) return [];
    return [problem([...path, 'action', at], unknown(name, actions, near))];
  });
  return [...category, ...action];
}

function spellings(config: Config): (name: string) => boolean {
  const ours = Object.entries(config.source.aliases).filter(([name]) => actions.includes(name));
  const classify = createClassifier(Object.fromEntries(ours));
  return (name) => classify(name, null).known;
}

/** Names in the filters of sinks that are not in the catalog. They are correct only if Postern itself writes them. */
export function unknownFilterNames(config: Config): Array<{ readonly key: string; readonly name: string }> {
  const isKnown = spellings(config);
  return Object.entries(config.sinks).flatMap(([sink, { events }]) => [
    ...(events?.category ?? [])
      .filter((name) => !categories.includes(name))
      .map((name) => ({ key: `sinks.${sink}.events.category`, name })),
    ...(events?.action ?? [])
      .filter((name) => !isKnown(name))
      .map((name) => ({ key: `sinks.${sink}.events.action`, name })),
  ]);
}

const JAIL_RULES: ReadonlyArray<readonly ['jail' | 'banaction' | 'chain', RegExp, string]> = [
  ['jail', /^[A-Za-z][\w-]{0,19}$/, 'a name of at most 20 letters, digits, - and _, a letter first'],
  [
    'banaction',
    /^[a-z][\w.-]*(\[[^[\]\n%]*\])?$/,
    "the name of a file in fail2ban's action.d, such as iptables-multiport",
  ],
  [
    'chain',
    /^[\w.-]{1,28}([\s,]+[\w.-]{1,28})*$/,
    'auto, or chains separated by commas, such as INPUT,DOCKER-USER',
  ],
];

/** Rejects values that can't be written into a jail file: they would keep all of fail2ban from starting. */
function jail({ fail2ban }: Config): ConfigProblem[] {
  return JAIL_RULES.filter(([key, rule]) => !rule.test(fail2ban[key])).map(([key, , allowed]) =>
    problem(['fail2ban', key], `found ${quoted(fail2ban[key])}, allowed is ${allowed}`),
  );
}

function networks({ fail2ban, api, source, alerts }: Config): ConfigProblem[] {
  return [
    ...notNetworks(['fail2ban', 'never_ban'], fail2ban.never_ban),
    ...notNetworks(['source', 'trusted_proxies'], source.trusted_proxies),
    ...notNetworks(['api', 'trusted_proxies'], api.trusted_proxies),
    ...notNetworks(['alerts', 'never'], alerts.never),
  ];
}

function notNetworks(path: KeyPath, entries: readonly string[]): ConfigProblem[] {
  return entries.flatMap((entry, at) => {
    try {
      new NetworkSet([entry]);
      return [];
    } catch {
      const allowed = 'an address or a network, such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32';
      return [problem([...path, at], `found ${quoted(entry)}, allowed is ${allowed}`)];
    }
  });
}

/** Changes can't be counted for longer than they are watched. */
function alertTimes({ alerts }: Config): ConfigProblem[] {
  const { within, collect } = alerts.change_after_alert;
  if (collect <= within) return [];
  const message = `found ${formatDuration(collect)}, allowed is at most alerts.change_after_alert.within (${formatDuration(within)})`;
  return [problem(['alerts', 'change_after_alert', 'collect'], message)];
}

/** Tokens cross a network in clear text only if the configuration allows it. */
function listening({ api }: Config): ConfigProblem[] {
  const { enabled, listen, tls, allow_remote: allowed } = api;
  const address = listenAddress(listen);
  if (!enabled || address === null) return [];
  if (address.kind === 'unix') {
    const message = 'found a certificate for a unix socket, which has no TLS; set it to null';
    return tls === null ? [] : [problem(['api', 'tls'], message)];
  }
  if (tls !== null || allowed || isLoopback(address.host)) return [];
  const message = `found ${quoted(listen)}, which other hosts can reach; allowed is a loopback address (127.0.0.1:8181), or api.tls with a certificate, or api.allow_remote: true (tokens then cross the network in clear text)`;
  return [problem(['api', 'listen'], message)];
}

/** A spelling of two events, or of another event, could ban the wrong people. */
function aliases(config: Config): ConfigProblem[] {
  const meant = new Map<string, string>();
  return Object.entries(config.source.aliases).flatMap(([name, words]) => {
    const path = ['source', 'aliases', name];
    if (!actions.includes(name)) {
      return [{ path, atKey: true, message: unknown(name, actions, meantBy(name)) }];
    }
    return words.flatMap((word, at) => {
      const other = actions.includes(word) ? word : meant.get(word);
      meant.set(word, name);
      if (other === undefined || other === name) return [];
      const message = `found ${quoted(word)}, which already means ${other}; use another spelling`;
      return [problem([...path, at], message)];
    });
  });
}

/** The action that a spelling or a misspelling probably means. */
function meantBy(name: string): string | null {
  const type = createClassifier()(name, null);
  return type.known ? type.action : nearest(name, actions);
}

function unknown(name: string, allowed: readonly string[], near: string | null): string {
  const hint = near === null ? '' : ` Did you mean ${near}?`;
  const same = allowed.filter((each) => each.startsWith(`${name.split('.')[0]}.`));
  const list =
    same.length > 0 ? same : allowed === categories ? allowed : categories.map((each) => `${each}.…`);
  return `found ${quoted(name)}, which is not in the catalog of events.${hint} Allowed: ${list.join(', ')}`;
}

function problem(path: KeyPath, message: string): ConfigProblem {
  return { path, atKey: false, message };
}
