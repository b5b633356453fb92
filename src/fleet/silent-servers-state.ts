import type { Logger } from 'pino';
import { messageOf } from '../errors.js';
import type { State } from '../shipping/state.js';

const KEY = 'fleet_silent';

/** Which servers are silent, by their subject tokens, in state.db, so that a restart does not report them again. */
export class SilentServersState {
  constructor(
    private readonly state: Pick<State, 'note' | 'setNote'>,
    private readonly log: Logger,
  ) {}

  read(): string[] {
    return (this.state.note(KEY) ?? '').split(' ').filter((token) => token !== '');
  }

  /** Never throws, since timers call it. If the write fails (a full disk), a restart reports the servers again. */
  save(tokens: readonly string[]): void {
    try {
      this.state.setNote(KEY, tokens.join(' '));
    } catch (error) {
      this.log.error(
        { err: error },
        `can't save which servers are silent: ${messageOf(error)}; a restart reports them again`,
      );
    }
  }
}
