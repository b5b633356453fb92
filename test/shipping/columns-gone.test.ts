import { expect, it } from 'vitest';
import { ShippingRig } from './shipping-fixture.js';

async function withRig(work: (rig: ShippingRig) => Promise<void>): Promise<void> {
  const rig = new ShippingRig();
  try {
    await rig.start();
    await work(rig);
  } finally {
    await rig.close();
  }
}

const WAITS =
  /table audit_log has no column ip_address, and rows were read with ip_address \(source\.columns\.ip_address\): .*set source\.columns\.ip_address: null/;

/** Ten rows with an address each, shipped. */
async function shipped(rig: ShippingRig): Promise<string[]> {
  rig.append(10);
  rig.sql("UPDATE audit_log SET ip_address = '203.0.113.' || id");
  await rig.settle();
  expect(rig.sinks.good.got.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  return rig.sinks.good.got.map(({ id }) => id);
}

async function expectWaiting(rig: ShippingRig): Promise<void> {
  rig.append(2);
  rig.poke();
  await expect
    .poll(() => rig.status()?.sources.postern)
    .toMatchObject({
      state: 'no_column',
      message: expect.stringMatching(WAITS),
    });
  expect(rig.sinks.good.got).toHaveLength(10);
}

it.each(['while it is followed', 'while nobody looks'])(
  'the daemon waits for a column that was renamed %s, and continues under its new name',
  (when) =>
    withRig(async (rig) => {
      const before = await shipped(rig);
      if (when === 'while nobody looks') await rig.stop();
      rig.sql('ALTER TABLE audit_log RENAME COLUMN ip_address TO client');
      if (when === 'while nobody looks') await rig.start();
      await expectWaiting(rig);
      await rig.stop();
      rig.columns = { ip_address: 'client' };
      await rig.start();
      await rig.settle();
      expect(rig.replaced).toEqual([]);
      const { got } = rig.sinks.good;
      expect(got.map(({ sequence, isRevision }) => [sequence, isRevision]).slice(10)).toEqual([
        [11, false],
        [12, false],
      ]);
      expect(before.map((_, at) => rig.idOf(at + 1))).toEqual(before);
    }),
);

it('the daemon waits for a renamed column until it has its old name again', () =>
  withRig(async (rig) => {
    await shipped(rig);
    rig.sql('ALTER TABLE audit_log RENAME COLUMN ip_address TO client');
    await expectWaiting(rig);
    rig.sql('ALTER TABLE audit_log RENAME COLUMN client TO ip_address');
    await rig.settle();
    expect(rig.replaced).toEqual([]);
    expect(rig.sinks.good.got.map(({ sequence }) => sequence).slice(10)).toEqual([11, 12]);
  }));

it('the daemon waits for a dropped column, and continues without it after a configuration change', () =>
  withRig(async (rig) => {
    await shipped(rig);
    rig.sql('ALTER TABLE audit_log DROP COLUMN ip_address');
    await expectWaiting(rig);
    await rig.stop();
    rig.columns = { ip_address: null };
    await rig.start();
    await rig.settle();
    expect(rig.replaced).toEqual([]);
    const { got } = rig.sinks.good;
    expect(got.filter(({ isRevision }) => !isRevision).map(({ sequence }) => sequence)).toEqual([
      1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
    ]);
    await rig.stop();
    rig.columns = {}; // it is not missed any more
    await rig.start();
    rig.append(1);
    await rig.settle();
    expect(rig.sinks.good.got.at(-1)?.sequence).toBe(13);
  }));

it('the daemon does not wait for a column that was never read', () =>
  withRig(async (rig) => {
    rig.sql('ALTER TABLE audit_log DROP COLUMN ip_address');
    rig.append(3);
    await rig.settle();
    expect(rig.sinks.good.got).toHaveLength(3);
  }));
