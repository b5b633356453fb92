import { join } from 'node:path';
import { NetworkSet } from '../../audit/address.js';
import type { AuditEvent } from '../../audit/event.js';
import type { Config } from '../../config/schema.js';
import { proposeColumns } from '../../fail2ban/column-proposals.js';
import { adviceOn, type Clue, clueOf, type Proposal, silenceOf } from '../../fail2ban/silence.js';
import { DatabaseReader } from '../../query/database-reader.js';
import { SILENT_LOG } from '../../silent-log.js';
import { classifyForBan, NEWEST_MS, type Withheld } from '../../sinks/files/ban-eligibility.js';
import type { Finding } from '../../sinks/sink.js';

/** This many of the newest failed logins show the present state. */
const NEWEST = 20;
/** If all of the very newest reach fail2ban, the fault is gone. */
const MENDED = 3;

/** The newest failed logins of Postern's table, judged as by fail2ban's sink at the time that each of them has. */
export class FailureSample {
  private readonly newest: AuditEvent[] = [];

  add(event: AuditEvent): void {
    this.newest.push(event);
    if (this.newest.length > NEWEST) this.newest.shift();
  }

  /** An error if all or most are kept from fail2ban, with the reason and the key to set. */
  findings(config: Config, privateDirectory: string): Finding[] {
    const now = Date.now();
    const neverBan = new NetworkSet(config.fail2ban.never_ban);
    const verdicts = this.newest.map((event) => verdictOf(event, neverBan, now));
    const last = verdicts.slice(-MENDED);
    if (last.length === MENDED && last.every((verdict) => verdict === 'write')) return [];
    const withheld: Partial<Record<Withheld, number>> = {};
    const clues = new Map<string, Clue>();
    let written = 0;
    for (const [at, verdict] of verdicts.entries()) {
      const event = this.newest[at];
      if (verdict === 'write') written++;
      if (verdict === 'write' || verdict === null || event === undefined) continue;
      withheld[verdict] = (withheld[verdict] ?? 0) + 1;
      clues.set(verdict, { ...clueOf(event), aheadMs: event.time === null ? null : event.time - now });
    }
    const servers = [...new Set(this.newest.filter(({ local }) => !local).map(({ server }) => server))];
    const silence = silenceOf({ written, withheld, servers }, config.fleet.role === 'hub');
    if (silence === null) return [];
    const advice = adviceOn(silence, clues.get(silence.reason) ?? null, proposals(config, privateDirectory));
    return [{ level: 'error', ...advice }];
  }
}

function verdictOf(event: AuditEvent, neverBan: NetworkSet, now: number): ReturnType<typeof classifyForBan> {
  const verdict = classifyForBan(event, event.time ?? now, neverBan);
  const isAhead = event.time !== null && event.time > now + NEWEST_MS;
  return verdict === 'write' && isAhead ? 'future' : verdict;
}

/** Empty if the table can't be read a second time: the finding then has no proposal. */
function proposals({ source }: Config, privateDirectory: string): Proposal[] {
  const opening = new DatabaseReader(source.database, join(privateDirectory, 'columns'), SILENT_LOG);
  try {
    return opening.read((db) => proposeColumns(db, source));
  } catch {
    return [];
  } finally {
    opening.close();
  }
}
