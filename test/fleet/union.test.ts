import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, it } from 'vitest';
import { initFleet } from '../../src/fleet/init.js';
import { STREAM_DEFAULTS } from '../../src/sinks/jetstream/stream.js';
import { canMakeNamespaces, FarHost } from './namespace.js';
import { hasNats, Nats } from './nats.js';
import { Hub, Member } from './rig.js';

const able = hasNats() && canMakeNamespaces();
if (!able && process.env.CI !== undefined)
  throw new Error('it takes nats-server, root and network namespaces');

/** Events of all three servers together, how often the hub is killed, how long a server is cut off; docs/FLEET.md: 300000, 20, 60. */
const EVENTS = Number(process.env.FLEET_EVENTS ?? 3_000);
const KILLS = Number(process.env.FLEET_KILLS ?? 2);
const CUT_S = Number(process.env.FLEET_CUT ?? 5);

describe.skipIf(!able)('three servers, a cluster of three NATS servers, a hub', () => {
  const closing: Array<{ close(): Promise<void> }> = [];

  afterAll(async () => {
    for (const one of closing.reverse()) await one.close();
  });

  it("the hub's table is the union of theirs, row by row, each once, in order, whatever is killed or cut off", async () => {
    const far = new FarHost();
    closing.push(far);
    const nats = await Nats.start({ nodes: 3, address: far.near });
    closing.push(nats);
    await nats.ready();
    await initFleet(
      { servers: nats.urls, stream: 'POSTERN_AUDIT', connect_timeout: 5_000 },
      { ...STREAM_DEFAULTS, replicas: 3 },
    );
    const members = ['a', 'b.example net', 'c'].map(
      (name) => new Member(name, nats.urls, name === 'c' ? { wrap: far.wrap } : {}),
    );
    const hub = new Hub('hub', nats.urls);
    closing.push(...members, hub);
    await Promise.all([hub, ...members].map((node) => node.start()));
    const each = Math.floor(EVENTS / 3);
    const rounds = Math.max(20, KILLS * 25);
    const slice = Math.ceil(each / rounds);
    let written = 0;
    const writing = (async () => {
      while (written < each) {
        const count = Math.min(slice, each - written);
        for (const member of members) member.append(count);
        written += count;
        await sleep(150);
      }
    })();
    const killing = (async () => {
      for (let kill = 0; kill < KILLS; kill++) {
        await sleep(700);
        const node = kill % 3;
        await Promise.all([hub.kill(), nats.kill(node)]);
        await sleep(300);
        hub.launch();
        await sleep(1_500);
        nats.run(node);
        await sleep(1_500); // the next one goes when this one may still catch up
      }
    })();
    const cutting = (async () => {
      await sleep(1_000);
      far.cut();
      await sleep(CUT_S * 1_000);
      far.mend();
    })();
    await Promise.all([writing, killing, cutting]);
    const deadline = Date.now() + 90_000 + EVENTS;
    while (members.some(({ name }) => hub.countOf(name) < each) && Date.now() < deadline) await sleep(200);
    for (const member of members) {
      const [is, should] = [hub.rowsOf(member.name), member.expected()];
      expect(is.length, `${member.name}\n${member.output}\n${hub.output}`).toBe(each);
      expect(is).toEqual(should);
    }
    const { fleet } = await hub.until((status) => status.fleet?.hub?.lag_events === 0, 'no lag');
    const connects = await Promise.all(
      members.map(async (member) => (await member.status())?.sinks.stream?.figures),
    );
    console.log(JSON.stringify({ each, kills: KILLS, cut_s: CUT_S, hub: fleet?.hub, connects }));
  });
});
