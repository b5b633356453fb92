import { it } from 'vitest';
import { killRuns } from './retention-kills.js';

it('kill -9 at a hundred moments of a run: each row is in the table or in one archive, the next run finishes, and the events add up', () =>
  killRuns(100, 2_000));
