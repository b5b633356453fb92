import { spawnSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, it } from 'vitest';
import { CLI } from '../support/daemon-process.js';
import { Hub, Member } from './fleet-fixture.js';
import { canMakeNamespaces, type Host, Network } from './namespace.js';
import { hasNats, Nats } from './nats.js';

const able = hasNats() && canMakeNamespaces();
if (!able && process.env.CI !== undefined)
  throw new Error('it takes nats-server, root and network namespaces');

/** Events of all three servers together, how often the hub is killed, how many seconds a server, a NATS server and the hub are cut off; docs/guide/FLEET.md: 300000, 20, 60. */
const EVENTS = Number(process.env.FLEET_EVENTS ?? 3_000);
const KILLS = Number(process.env.FLEET_KILLS ?? 2);
const CUT_S = Number(process.env.FLEET_CUT ?? 3);

async function initFrom(host: Host, config: string): Promise<void> {
  const [command = '', ...before] = host.wrap;
  const args = [...before, process.execPath, CLI, 'fleet', 'init', '--config', config, '--replicas', '3'];
  for (let tries = 0; tries < 20; tries++) {
    const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' });
    if (status === 0) return;
    if (tries === 19) throw new Error(stderr);
    await sleep(500); // the cluster has no leader yet
  }
}

async function cutFor(host: Host, seconds: number): Promise<void> {
  host.cut();
  await sleep(seconds * 1_000);
  host.mend();
}

describe.skipIf(!able)('three servers, a cluster of three NATS servers, a hub', () => {
  const closing: Array<{ close(): Promise<void> }> = [];

  afterAll(async () => {
    for (const one of closing.reverse()) await one.close();
  });

  it("the hub's table is the union of theirs, row by row, each once, in order, whatever is killed or cut off", async () => {
    const network = new Network();
    closing.push(network);
    const natsHosts = ['n0', 'n1', 'n2'].map((name) => network.host(name));
    const [hubHost, ...hosts] = ['hub', 'a', 'b', 'c'].map((name) => network.host(name));
    const nats = await Nats.start({ hosts: natsHosts });
    closing.push(nats);
    const members = ['a', 'b.example net', 'c'].map(
      (name, at) => new Member(name, nats.urls, { wrap: hosts[at]?.wrap ?? [] }),
    );
    const hub = new Hub('hub', nats.urls, { wrap: hubHost?.wrap ?? [] });
    closing.push(...members, hub);
    // This machine can't reach that network, so the command creates the stream from one of its hosts.
    await initFrom(hubHost as Host, hub.configPath);
    await Promise.all([hub, ...members].map((node) => node.start()));
    const each = Math.floor(EVENTS / 3);
    const rounds = Math.max(20, KILLS * 25);
    const slice = Math.ceil(each / rounds);
    let written = 0;
    const write = async (upTo: number, pauseMs: number) => {
      while (written < upTo) {
        const count = Math.min(slice, upTo - written);
        for (const member of members) member.append(count);
        written += count;
        await sleep(pauseMs);
      }
    };
    const early = Math.ceil(each * 0.8);
    const writing = write(early, 150);
    const killing = (async () => {
      for (let kill = 0; kill < KILLS; kill++) {
        await sleep(700);
        const node = kill % 3;
        await Promise.all([hub.kill(), nats.kill(node)]);
        await sleep(300);
        hub.launch();
        await sleep(1_500);
        nats.run(node);
        await sleep(1_200); // the next one goes when this one may still catch up
      }
    })();
    const cutting = (async () => {
      await sleep(1_000);
      await cutFor(hosts[2] as Host, CUT_S);
      // Disconnects a NATS server while no other is down, and the hub, while the rest is written.
      await Promise.all([killing, writing]);
      const cuts = [cutFor(natsHosts[0] as Host, CUT_S), cutFor(hubHost as Host, CUT_S)];
      await Promise.all([...cuts, write(each, (CUT_S * 1_000 * slice) / (each - early))]);
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
