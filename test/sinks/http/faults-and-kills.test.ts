import { describe, it } from 'vitest';
import { shipThroughFaults } from './faults-and-kills.js';

describe('a receiver over HTTP that fails at a third of the requests, and a daemon killed with -9', () => {
  it.each(['elasticsearch', 'otlp'] as const)('lose no event over %s', (protocol) =>
    shipThroughFaults(protocol, 5_000),
  );
});
