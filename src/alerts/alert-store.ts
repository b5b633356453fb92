import type { Logger } from 'pino';
import { messageOf } from '../errors.js';
import Database from '../load-sqlite.js';
import { createRecorder } from '../recorder/recorder.js';
import type { State, TransactionMember } from '../shipping/state.js';
import { ChangeCounts } from './change-after-alert.js';
import { HeldBack } from './held-back.js';
import { KnownNetworks } from './known-networks.js';
import { RaisedAlerts } from './raised-alerts.js';

export interface AlertStoreOptions {
  readonly state: State;
  readonly clock: () => number;
  readonly log: Logger;
}

/**
 * All that alerts keep over a restart. One per state: it survives a reload, and what it has not written yet is written with the next
 * transaction, whatever that is for.
 */
export class AlertStore implements TransactionMember {
  readonly raised: RaisedAlerts;
  readonly networks: KnownNetworks;
  readonly changes: ChangeCounts;
  readonly heldBack: HeldBack;
  /** Called after alerts were committed. */
  onRecorded: () => void = () => undefined;

  private readonly log: Logger;

  private constructor({ state, clock, log }: AlertStoreOptions) {
    this.log = log;
    this.raised = new RaisedAlerts(state.db, createRecorder(state.db, { clock }), log);
    this.networks = new KnownNetworks(state.db);
    this.changes = new ChangeCounts(state);
    this.heldBack = new HeldBack(state);
  }

  /** The store of this state. */
  static of(options: AlertStoreOptions): AlertStore {
    const { state } = options;
    if (state.member instanceof AlertStore) return state.member;
    const store = new AlertStore(options);
    state.member = store;
    return store;
  }

  write(): void {
    for (const part of [this.raised, this.networks, this.changes, this.heldBack]) this.writePart(part);
  }

  committed(): void {
    this.networks.committed();
    this.changes.committed();
    this.heldBack.committed();
    if (this.raised.committed() > 0) this.onRecorded();
  }

  /** What SQLite refuses (a full disk) is tried again. A defect here must not keep the sinks from committing: it is dropped. */
  private writePart(part: { write(): void; committed(): unknown }): void {
    try {
      part.write();
    } catch (error) {
      if (error instanceof Database.SqliteError) throw error;
      this.log.error({ err: error }, `alerts are incomplete: ${messageOf(error)}`);
      part.committed();
    }
  }
}
