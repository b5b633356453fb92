import { NetworkSet } from '../audit/address.js';
import type { KeyPath } from './key-path.js';
import { natsContradictions } from './nats.js';
import type { Config } from './schema.js';
import { type ConfigProblem, quoted } from './validation-messages.js';

const HUB_KEEPS_ITS_OWN = "the hub's table is in its state directory; leave the key out";

/** Conflicts between keys of `fleet`, and with other keys. */
export function fleetProblems(config: Config): ConfigProblem[] {
  const { fleet, sinks, source } = config;
  const entries = Object.entries(sinks);
  const streams = entries.flatMap(([name, sink]) => (sink.type === 'jetstream' ? [{ name, sink }] : []));
  const found: ConfigProblem[] = natsContradictions(fleet).map(([key, message]) =>
    problem(['fleet', key], message),
  );
  const wantsNats = fleet.role === 'hub' || fleet.bans === 'subscribe';
  const key = fleet.role === 'hub' ? 'role' : 'bans';
  if (wantsNats && fleet.servers === undefined && streams.length === 0) {
    found.push(problem(['fleet', key], `found ${quoted(fleet[key])}, which needs fleet.servers too`));
  }
  if (fleet.servers === undefined) {
    const given = (['credentials', 'nkey', 'token', 'user', 'tls'] as const).find((name) => fleet[name]);
    if (given !== undefined)
      found.push(problem(['fleet', given], 'found without fleet.servers, which it needs'));
  }
  if (fleet.bans === 'subscribe' && !entries.some(([, { type }]) => type === 'fail2ban')) {
    found.push(
      problem(['fleet', 'bans'], 'found "subscribe" without a sink of type fail2ban, which bans need'),
    );
  }
  if (fleet.role === 'hub') {
    for (const { name, sink } of streams) {
      if (fleet.servers !== undefined && sink.stream !== fleet.stream) continue;
      const message =
        "found jetstream on the hub, which would publish the fleet's events again; leave the sink out";
      found.push(problem(['sinks', name, 'type'], message));
    }
    if (source.database !== DEFAULT_DATABASE) found.push(problem(['source', 'database'], HUB_KEEPS_ITS_OWN));
    if (source.table !== 'audit_log') found.push(problem(['source', 'table'], HUB_KEEPS_ITS_OWN));
  }
  return [...found, ...networks(fleet.never_ban)];
}

const DEFAULT_DATABASE = '/var/lib/posternproxy/posternproxy.db';

function networks(entries: readonly string[]): ConfigProblem[] {
  return entries.flatMap((entry, at) => {
    try {
      new NetworkSet([entry]);
      return [];
    } catch {
      const allowed = 'an address or a network, such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32';
      return [problem(['fleet', 'never_ban', at], `found ${quoted(entry)}, allowed is ${allowed}`)];
    }
  });
}

function problem(path: KeyPath, message: string): ConfigProblem {
  return { path, atKey: false, message };
}
