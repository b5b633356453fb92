import { describe, expect, it } from 'vitest';
import { diffConfig } from '../../src/config/config-diff.js';
import { parseConfig } from '../../src/config/load.js';

function diff(before: string, after: string): string[] {
  return diffConfig(parseConfig(before, 'a.yml'), parseConfig(after, 'b.yml')).map(
    ({ key, restart, jail }) => `${key}${restart ? ' restart' : ''}${jail ? ' jail' : ''}`,
  );
}

const FILE = 'sinks: { audit: { type: file } }';
const BOTH = 'sinks: { audit: { type: file }, auth: { type: fail2ban } }';

describe('the changes of a reload', () => {
  it.each<[string, string, string, string[]]>([
    ['nothing', '', 'log: { level: info }', []],
    ['a value', '', 'log: { level: debug }', ['log.level']],
    [
      'keys that need a restart',
      '',
      'state: /s\ncontrol: /c\nlog: { file: /f/f }',
      ['state restart', 'control restart', 'log.file restart'],
    ],
    [
      'the jail',
      '',
      'fail2ban: { never_ban: [], max_retry: 3 }',
      ['fail2ban.max_retry jail', 'fail2ban.never_ban jail'],
    ],
    [
      'a list, as a whole',
      'fail2ban: { ports: [80] }',
      'fail2ban: { ports: [80, 81] }',
      ['fail2ban.ports jail'],
    ],
    ['a new sink', FILE, `${FILE.slice(0, -2)}, more: { type: file, directory: /m } }`, ['sinks.more']],
    ['a removed sink of the jail', BOTH, FILE, ['sinks.auth jail']],
    [
      'the directory of the jail',
      BOTH,
      BOTH.replace('fail2ban }', 'fail2ban, directory: /d }'),
      ['sinks.auth.directory jail'],
    ],
    [
      'another key of the sink of the jail',
      BOTH,
      BOTH.replace('fail2ban }', 'fail2ban, mode: "0600" }'),
      ['sinks.auth.mode'],
    ],
    [
      'a key within a key',
      BOTH,
      BOTH.replace('file }', 'file, roll: { size: 1M } }'),
      ['sinks.audit.roll.size'],
    ],
    [
      'a new filter',
      FILE,
      FILE.replace('file }', 'file, events: { outcome: [failure] } }'),
      ['sinks.audit.events'],
    ],
    ['a name', '', 'server: x', ['server']],
    [
      'another sink type under the same name',
      BOTH,
      BOTH.replace('fail2ban', 'file, directory: /x'),
      [
        'sinks.auth.type jail',
        'sinks.auth.directory jail',
        'sinks.auth.roll.size',
        'sinks.auth.roll.every',
        'sinks.auth.roll.keep',
        'sinks.auth.max_line_size',
        'sinks.auth.required',
        'sinks.auth.start',
      ],
    ],
  ])('the changes at a reload: %s', (_, before, after, changes) => {
    expect(diff(before, after)).toEqual(changes);
  });
});
