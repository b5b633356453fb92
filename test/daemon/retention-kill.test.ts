import { it } from 'vitest';
import { killRuns } from './retention-kills.js';

it('kill -9 at any moment of a run: each row is in the table or in one archive, the next run finishes, and the events add up', () =>
  killRuns(6, 1_000));
