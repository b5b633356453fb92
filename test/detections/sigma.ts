import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parse } from 'yaml';

// The part of Sigma that the rules in detections/sigma/ use: searches of fields and lists, conditions with `and`, and three kinds of
// correlations (Sigma specification 2.1.0). Anything else is an error, not "no match".

/** A parsed line of an ECS log. */
export type EcsLine = Readonly<Record<string, unknown>>;

export interface SigmaRule {
  readonly title: string;
  readonly id: string;
  readonly name: string;
  readonly level: string;
  readonly logsource?: Readonly<Record<string, string>>;
  readonly detection?: Readonly<Record<string, unknown>> & { readonly condition: string };
  readonly correlation?: {
    readonly type: string;
    readonly rules: readonly string[];
    readonly 'group-by': readonly string[];
    readonly timespan: string;
    readonly condition?: { readonly gte: number; readonly field?: string };
  };
}

export const SIGMA = resolve(import.meta.dirname, '../../detections/sigma');

export function sigmaRules(): SigmaRule[] {
  return readdirSync(SIGMA)
    .sort()
    .map((name) => parse(readFileSync(join(SIGMA, name), 'utf8')) as SigmaRule);
}

/** The value of a field: a dotted name may be one key (`log.level`) or nested ones. */
function fieldOf(line: unknown, name: string): unknown {
  if (typeof line !== 'object' || line === null) return undefined;
  const object = line as EcsLine;
  if (Object.hasOwn(object, name)) return object[name];
  for (let dot = name.indexOf('.'); dot > 0; dot = name.indexOf('.', dot + 1)) {
    const found = fieldOf(object[name.slice(0, dot)], name.slice(dot + 1));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Fields of a map must all match; one of a list of values, or of a list of maps, is enough. Letters match in either case. */
function searchMatches(search: unknown, line: EcsLine): boolean {
  if (Array.isArray(search)) return search.some((one) => searchMatches(one, line));
  return Object.entries(search as Record<string, unknown>).every(([field, wanted]) => {
    if (field.includes('|')) throw new Error(`${field}: modifiers are not known here`);
    const found = [fieldOf(line, field)].flat();
    return [wanted].flat().some((value) => found.some((one) => isEqual(one, value)));
  });
}

function isEqual(found: unknown, wanted: unknown): boolean {
  if (typeof found !== 'string' || typeof wanted !== 'string') return found === wanted;
  if (/[*?\\]/.test(wanted)) throw new Error(`${wanted}: wildcards are not known here`);
  return found.toLowerCase() === wanted.toLowerCase();
}

/** Whether a rule without a correlation matches one line. */
function ruleMatches({ name, detection }: SigmaRule, line: EcsLine): boolean {
  if (detection === undefined) throw new Error(`${name} has no detection`);
  return detection.condition.split(' and ').every((search) => {
    if (!Object.hasOwn(detection, search)) throw new Error(`${name}: no search '${search}'`);
    return searchMatches(detection[search], line);
  });
}

/** The times, in ms, at which a rule matches in a log, each with the values that it is grouped by. */
export function matches(rule: SigmaRule, lines: readonly EcsLine[], rules: readonly SigmaRule[]): Match[] {
  if (rule.correlation === undefined)
    return lines.filter((line) => ruleMatches(rule, line)).map((line) => ({ at: timeOf(line), line }));
  const { type, condition, timespan } = rule.correlation;
  const by = rule.correlation['group-by'];
  const parts = rule.correlation.rules.map((name) => {
    const found = rules.find((one) => one.name === name);
    if (found === undefined) throw new Error(`${rule.name}: no rule ${name}`);
    return matches(found, lines, rules);
  });
  const span = milliseconds(timespan);
  const [first = [], second = []] = parts;
  const group = ({ line }: Match) => JSON.stringify(by.map((field) => fieldOf(line, field)));
  const before = (of: readonly Match[], { at, line }: Match) =>
    of.filter((one) => one.at <= at && one.at > at - span && group(one) === group({ at, line }));
  switch (type) {
    case 'event_count':
      return first.filter((one) => before(first, one).length >= (condition?.gte ?? Number.NaN));
    case 'value_count':
      return first.filter((one) => {
        const values = before(first, one).map(({ line }) => fieldOf(line, condition?.field ?? ''));
        return new Set(values.filter((value) => value !== undefined)).size >= (condition?.gte ?? Number.NaN);
      });
    case 'temporal_ordered':
      return second.filter((one) => before(first, one).length > 0);
    default:
      throw new Error(`${rule.name}: a correlation of type ${type} is not known here`);
  }
}

interface Match {
  readonly at: number;
  readonly line: EcsLine;
}

function timeOf(line: EcsLine): number {
  return Date.parse(String(line['@timestamp']));
}

/** @returns NaN if it is no timespan of Sigma */
export function milliseconds(timespan: string): number {
  const [, count, unit = ''] = /^(\d+)([smhd])$/.exec(timespan) ?? [];
  return (
    Number(count) * (({ s: 1, m: 60, h: 3_600, d: 86_400 } as Record<string, number>)[unit] ?? 0) * 1_000
  );
}
