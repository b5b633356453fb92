import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { DaemonRig } from '../../daemon/daemon-fixture.js';
import { type Fault, FaultyReceiver, type SeenRequest } from './receiver.js';

const MAX_EVENTS = 500;
const KILLS = 3;
/** One row in so many is refused for good. */
const POISON = 1_000;

/** Every way in which a request can fail, one after the other, for a third of the requests. */
const FAULTS: readonly Fault[] = [
  { answer: 429 },
  { answer: 503, headers: { 'Retry-After': '0' } },
  { fault: 'reset' },
  { fault: 'lost' },
  { answer: 408 },
  { fault: 'torn' },
  { answer: 500, body: '<html>Bad gateway</html>' },
  { items: (_, at) => (at % 7 === 0 ? 429 : null) },
  { fault: 'hang' },
];

/** Faults after which the receiver has events whose answer the sink does not know. */
function isUnknown(fault: Fault): boolean {
  return 'fault' in fault && (fault.fault === 'lost' || fault.fault === 'torn');
}

/**
 * The daemon ships rows to a receiver that fails at a third of the requests, and is killed with -9 three times. Every row arrives or is
 * named as refused; what comes twice is bounded.
 */
export async function shipThroughFaults(protocol: 'elasticsearch' | 'otlp', count: number): Promise<void> {
  const receiver = await FaultyReceiver.start({ protocol });
  const rig = new DaemonRig();
  let asked = 0;
  let unknown = 0;
  receiver.isPoison = (event) => event.includes('poison');
  receiver.fault = ({ ids }: SeenRequest) => {
    if (ids.length === 0 || asked++ % 3 !== 0) return null;
    const fault = FAULTS[((asked / 3) % FAULTS.length) | 0] ?? null;
    if (fault !== null && isUnknown(fault)) unknown++;
    return fault;
  };
  try {
    const path = protocol === 'otlp' ? 'v1/logs' : 'audit/_bulk';
    const sink = `sinks:
  http: { type: http, protocol: ${protocol}, url: "http://127.0.0.1:${receiver.port}/${path}", max_events: ${MAX_EVENTS}, timeout: 1s, start: beginning }`;
    writeFileSync(rig.configPath, readFileSync(rig.configPath, 'utf8').replace('sinks:', sink));
    rig.db.transaction(() => {
      for (let n = 1; n <= count; n++)
        rig.record({
          action: 'proxy_host.update',
          details: n % POISON === POISON / 2 ? { poison: n } : { n },
        });
    })();
    const poison = Math.floor((count + POISON / 2) / POISON);
    const wanted = count - poison;
    const arrived = () =>
      [...receiver.documents.values()].filter((text) => isPosterns(text, protocol)).length;
    for (let kill = 1; kill <= KILLS; kill++) {
      await rig.start();
      while (receiver.stored.size < (wanted * kill) / (KILLS + 1)) await sleep(2);
      await rig.kill('SIGKILL');
    }
    await rig.start();
    const cursor = (status: Awaited<ReturnType<DaemonRig['status']>>) =>
      status?.sinks.http?.cursors.postern?.id ?? 0;
    await rig.until((status) => cursor(status) >= count, 'all rows', 600_000);
    expect(arrived()).toBe(wanted);
    const twice = [...receiver.stored.values()].reduce((sum, times) => sum + times - 1, 0);
    const lost = wanted - arrived();
    console.info(
      `${protocol}: ${count} rows, ${receiver.count} requests, ${unknown} lost answers, ${KILLS} kills: ${lost} lost, ${twice} stored twice, ${poison} refused and passed`,
    );
    if (protocol === 'elasticsearch') expect(twice).toBe(0);
    else expect(twice).toBeLessThanOrEqual((unknown + KILLS * 2) * MAX_EVENTS);
    await expectNamed(rig, poison);
    expect(receiver.complaints).toEqual([]);
  } finally {
    await rig.close();
    await receiver.close();
  }
}

function isPosterns(event: string, protocol: 'elasticsearch' | 'otlp'): boolean {
  if (protocol === 'elasticsearch')
    return (JSON.parse(event) as { postern: { source: string } }).postern.source === 'postern';
  return /postern\.source[^a-z]{1,12}postern/.test(event);
}

/** Every refused row is named in an event of the daemon. */
async function expectNamed(rig: DaemonRig, poison: number): Promise<void> {
  const { default: Database } = await import('../../../src/load-sqlite.js');
  const state = new Database(`${rig.place}/state/state.db`, { readonly: true });
  const said = state
    .prepare("SELECT details FROM audit_log WHERE action = 'event_refused'")
    .pluck()
    .all() as string[];
  state.close();
  const rows = said.flatMap((text) =>
    (JSON.parse(text) as { events: Array<{ row: number }> }).events.map(({ row }) => row),
  );
  const wanted = Array.from({ length: poison }, (_, n) => n * POISON + POISON / 2);
  expect([...new Set(rows)].sort((a, b) => a - b)).toEqual(wanted);
}
