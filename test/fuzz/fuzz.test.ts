import { describe, it } from 'vitest';
import { withoutRsyslog } from '../sinks/syslog/rsyslog.js';
import { fuzz } from './round.js';

const SECONDS = Number(process.env.FUZZ_SECONDS ?? 30);

describe.skipIf(withoutRsyslog())('random rows, from the table to every output', () => {
  it(
    `for ${SECONDS} s: nothing is lost, held up, forged or told that should not be`,
    () => fuzz(SECONDS),
    SECONDS * 1_000 + 1_800_000,
  );
});
