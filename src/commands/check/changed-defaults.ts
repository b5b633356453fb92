import { parse } from 'yaml';
import { type KeyPath, valueAtPath } from '../../config/key-path.js';
import type { Config } from '../../config/schema.js';
import type { Finding } from '../../sinks/sink.js';

/** A default that an upgrade changes for those who leave the key out. */
interface ChangedDefault {
  readonly key: KeyPath;
  readonly now: string;
  readonly before: string;
}

/** Those of `fail2ban.ipv6_prefix` and `log.format` are told with what they have made of it (fail2ban.ts, configuration.ts). */
function changedDefaults({ sinks }: Config): ChangedDefault[] {
  const ofSinks = Object.entries(sinks).flatMap(([name, sink]): ChangedDefault[] => {
    if (sink.type !== 'syslog') return [];
    const relp = { key: ['sinks', name, 'window'], now: 'up to 1000 in a backlog', before: '128' };
    const leef = { key: ['sinks', name, 'envelope'], now: 'rfc3164 for leef', before: 'rfc5424' };
    return [
      ...(sink.transport === 'relp' ? [relp] : []),
      ...(sink.format === 'leef' && sink.envelope === 'rfc3164' ? [leef] : []),
    ];
  });
  return [{ key: ['alerts'], now: 'alerts are raised', before: 'none' }, ...ofSinks];
}

/**
 * One finding for each key that the file leaves out and whose default is another than in earlier releases.
 *
 * @param text of the configuration file
 */
export function inspectDefaults(config: Config, text: string): Finding[] {
  const file: unknown = parse(text);
  return changedDefaults(config)
    .filter(({ key }) => valueAtPath(file, key) === undefined)
    .map(({ key, now, before }) => ({
      level: 'ok',
      what: `${key.join('.')} is left out: ${now} (the default; in earlier releases ${before})`,
    }));
}
