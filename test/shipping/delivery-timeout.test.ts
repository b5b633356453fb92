import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { DeliveryTimeout } from '../../src/shipping/delivery-timeout.js';

/** Ends when it is told to, with the reason. */
function endless(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
}

describe('the timeout of a delivery', () => {
  it('a delivery is aborted when another server takes over shipping, and the next one may start', async () => {
    let mine = true;
    const deadline = new DeliveryTimeout(() => mine);
    const under = deadline.limit(endless);
    await sleep(120);
    mine = false;
    await expect(under).rejects.toThrow('another server ships now');
    mine = true;
    expect(await deadline.limit(async (signal) => signal.aborted)).toBe(false);
  });
});
