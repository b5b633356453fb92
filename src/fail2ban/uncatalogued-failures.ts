import type { AuditEvent } from '../audit/event.js';
import type { Finding } from '../sinks/sink.js';

const FAILED = /fail|denied|deny|refus|reject|invalid|wrong|incorrect|unauthori[sz]ed|forbidden/i;
const LOGIN = /log|auth|sign|access|session|passw|credential|2fa|mfa|otp/i;
/** Words that are certainly about a login: `log` is also in `log.export_failed` and `blog.deny`, `sign` in `certificate_signing_failed`. */
const SURE = /login|logon|(log|sign)[ _.-]?[io]n(?![a-z])|auth|passw|credential|2fa|mfa/i;
/** Longer texts are not words. */
const LONGEST = 80;
/** Fewer are ignored: a single row may have a typing error. */
const FEWEST = 3;
const SHOWN = 3;
/** Different words that are counted. */
const MOST = 100;

/**
 * Counts rows that look like failed logins but whose words are not in the catalog. They are never written for fail2ban, and nothing else
 * reports that.
 */
export class UncataloguedFailures {
  private readonly words = new Map<string, number>();
  private readonly sure = new Set<string>();

  add({ type, rawAction, resource }: AuditEvent): void {
    if (type.known || rawAction.length > LONGEST || !FAILED.test(rawAction)) return;
    const about = [rawAction, resource.type?.slice(0, LONGEST) ?? ''];
    if (!about.some((text) => LOGIN.test(text))) return;
    const count = this.words.get(rawAction) ?? 0;
    if (count === 0 && this.words.size >= MOST) return;
    this.words.set(rawAction, count + 1);
    if (about.some((text) => SURE.test(text))) this.sure.add(rawAction);
  }

  /** @param failed number of known failed logins; with none, nobody is ever banned */
  findings(failed: number): Finding[] {
    const found = [...this.words].filter(([, count]) => count >= FEWEST).toSorted((a, b) => b[1] - a[1]);
    const [first] = found;
    if (first === undefined) return [];
    const shown = found.slice(0, SHOWN).map(([word, count]) => `${JSON.stringify(word)} (${count})`);
    const more = found.length > SHOWN ? ` and ${found.length - SHOWN} more` : '';
    const what = `recent rows have actions that look like failed logins but are not known as such, so they are not reported to fail2ban: ${shown.join(', ')}${more}`;
    const name = /^\w+$/.test(first[0]) ? first[0] : JSON.stringify(first[0]);
    const next = `if they are failed logins, set source.aliases: { auth.login_failure: [${name}] }; docs/reference/EVENTS.md lists the known words`;
    const isError = failed === 0 && found.some(([word]) => this.sure.has(word));
    return [{ level: isError ? 'error' : 'warning', what, next }];
  }
}
