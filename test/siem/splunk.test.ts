import { describe, expect, it } from 'vitest';
import { catalog, createClassifier } from '../../src/audit/catalog.js';
import { formatEcs } from '../../src/formats/ecs.js';
import { plainEvent } from '../formats/events.js';
import { readBack } from '../support/read-events.js';
import { read } from './recipe.js';

const props = read('recipes/splunk/props.conf');
const eventTypes = read('recipes/splunk/eventtypes.conf');

/** The fields that KV_MODE = json makes of a line. */
function fieldsOf(line: string): Map<string, string[]> {
  const found = new Map<string, string[]>();
  const walk = (value: unknown, path: string) => {
    if (Array.isArray(value)) for (const item of value) walk(item, `${path}{}`);
    else if (typeof value === 'object' && value !== null)
      for (const [key, member] of Object.entries(value)) walk(member, path === '' ? key : `${path}.${key}`);
    else found.set(path, [...(found.get(path) ?? []), String(value)]);
  };
  walk(JSON.parse(line), '');
  return found;
}

const lineOf = (action: string): string => {
  const type = catalog.find((one) => one.action === action);
  if (type === undefined) throw new Error(action);
  return formatEcs(readBack(plainEvent, { type, action }));
};

/** The event types whose search a line fulfils: terms `"field"="value"`, of which a group is joined by OR. */
function eventTypesOf(line: string): string[] {
  const fields = fieldsOf(line);
  const holds = (term: string): boolean => {
    const [, field = '', value = ''] = /^"?([^"=]+)"?="([^"]*)"$/.exec(term) ?? [];
    if (field === 'sourcetype') return value === 'postern:audit';
    const pattern = new RegExp(`^${value.replaceAll('.', '\\.').replaceAll('*', '.*')}$`);
    return (fields.get(field) ?? []).some((each) => pattern.test(each));
  };
  return [...eventTypes.matchAll(/^\[(\w+)\]\nsearch = (.*)$/gm)].flatMap(([, name = '', search = '']) => {
    const parts = search.match(/NOT \S+|\([^)]*\)|\S+/g) ?? [];
    const all = parts.every((part) => {
      if (part.startsWith('NOT ')) return !holds(part.slice(4));
      return part.startsWith('(') ? part.slice(1, -1).split(' OR ').some(holds) : holds(part);
    });
    return all ? [name] : [];
  });
}

describe('the recipe for Splunk', () => {
  it.each([
    ['auth.login_failure', ['postern_authentication']],
    ['auth.login_success', ['postern_authentication']],
    ['auth.logout', []],
    ['proxy_host.update', ['postern_change']],
    ['user.create', ['postern_change', 'postern_account_change']],
    ['auth.token_delete', ['postern_change', 'postern_account_change']],
    ['daemon.reload', []],
    ['alert.new_network', ['postern_alert']],
  ])('puts %s into its event types', (action, expected) => {
    expect(eventTypesOf(lineOf(action))).toEqual(expected);
  });

  it('has a tag for each event type, and none for others', () => {
    const names = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map(([, name]) => name);
    expect(names(read('recipes/splunk/tags.conf'), /^\[eventtype=(\w+)\]$/gm)).toEqual(
      names(eventTypes, /^\[(\w+)\]$/gm),
    );
  });

  it('names only fields that our lines have', () => {
    const type = createClassifier()('update', 'user');
    const details = '{"name":"x","before":{"name":"a","email":"a@example.org"},"after":{"name":"b"}}';
    const fields = fieldsOf(formatEcs(readBack(plainEvent, { type, details })));
    const named = [...props.matchAll(/'([\w.{}]+)'/g), ...props.matchAll(/"([\w.]+)" AS /g)].map(
      ([, name]) => name,
    );
    expect(named.length).toBeGreaterThan(10);
    for (const name of named) expect([...fields.keys()]).toContain(name);
  });
});
