import { describe, it } from 'vitest';
import { shipThroughFaults } from './faults-and-kills.js';

describe('100,000 rows, a receiver over HTTP that fails at a third of the requests, and a daemon killed with -9', () => {
  it.each(['elasticsearch', 'otlp'] as const)('lose no event over %s', (protocol) =>
    shipThroughFaults(protocol, 100_000),
  );
});
