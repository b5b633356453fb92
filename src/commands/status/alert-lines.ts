import type { AlertsStatus } from '../../alerts/alerts-status.js';
import { groupedDigits } from '../../grouped-digits.js';
import { formatAge } from '../support/terminal.js';

/** How many alerts there were, the last one, and with --verbose what is remembered. */
export function alertLines(alerts: AlertsStatus, now: number, verbose: boolean): string[] {
  const { rules, remembered, networks_learned: isLearned, error } = alerts;
  const kinds = Object.entries(rules);
  const raised = kinds.flatMap(([action, { raised_total: total }]) =>
    total === 0 ? [] : [`${groupedDigits(total)} ${action.replace('alert.', '')}`],
  );
  const held = kinds.reduce((sum, [, { held_back_total: total }]) => sum + total, 0);
  const last = kinds
    .flatMap(([action, rule]) => (rule.last === null ? [] : [{ action, ...rule.last }]))
    .reduce<{ action: string; id: string | null; at: number } | null>(
      (newest, one) => (newest !== null && newest.at > one.at ? newest : one),
      null,
    );
  const parts = [
    raised.length === 0 ? 'none since the start' : `${raised.join(', ')} since the start`,
    ...(held === 0 ? [] : [`${groupedDigits(held)} more counted, not raised one by one`]),
    ...(last === null
      ? []
      : [`last ${last.action} ${formatAge(now - last.at)} ago (${last.id ?? 'not recorded yet'})`]),
    ...(isLearned ? [] : ['still learning networks']),
    ...(error === null ? [] : [`NOT RECORDED: ${error}`]),
  ];
  if (!verbose) return [`alerts: ${parts.join(', ')}`];
  const kept = Object.entries(remembered).map(
    ([what, count]) => `${what.replace('_', ' ')} ${groupedDigits(count)}`,
  );
  const off = kinds.flatMap(([action, { enabled }]) => (enabled ? [] : [action.replace('alert.', '')]));
  return [
    `alerts: ${parts.join(', ')}`,
    `  remembered: ${kept.join(', ')}${off.length === 0 ? '' : `; turned off: ${off.join(', ')}`}`,
  ];
}
