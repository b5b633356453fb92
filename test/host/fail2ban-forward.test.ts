import { afterAll, beforeAll, expect, it } from 'vitest';
import { configureJail, echoServer, fail, startEcho, startFail2ban, waitForBan } from './fail2ban.js';
import { bootHost, describeHost, type Host, type Suite } from './host.js';

const five = (address: string) => Array.from({ length: 5 }, () => address);

/**
 * A container as Docker publishes it: a namespace behind its own DNAT, from port 81 of the host to its 8081 and from 9000 to its
 * 8082. The host's FORWARD chain calls DOCKER-USER.
 */
async function addContainer(host: Host): Promise<void> {
  await host.addNet('box');
  const steps = [
    ['host', `ip link add box type veth peer name eth0 netns pa-${host.name}.box`],
    ['host', 'ip addr add 10.77.200.1/24 dev box'],
    ['host', 'ip addr add fd77:200::1/64 dev box nodad'],
    ['host', 'ip link set box up'],
    ['box', 'ip addr add 10.77.200.2/24 dev eth0'],
    ['box', 'ip addr add fd77:200::2/64 dev eth0 nodad'],
    ['box', 'ip link set eth0 up'],
    ['box', 'ip route add default via 10.77.200.1'],
    ['box', 'ip route add default via fd77:200::1'],
    ['host', 'sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1'],
  ] as const;
  for (const [net, step] of steps) await host.outside(net, step.split(' '));
  host.start('box', ['python3', '-c', echoServer, '8081', '8082']);
  for (const [tables, to] of [
    ['iptables', '10.77.200.2'],
    ['ip6tables', '[fd77:200::2]'],
  ]) {
    for (const protocol of ['tcp', 'udp']) {
      for (const [published, port] of [
        [81, 8081],
        [9000, 8082],
      ]) {
        await host.exec(
          `${tables} -t nat -A PREROUTING -i eth0 -p ${protocol} --dport ${published} -j DNAT --to-destination ${to}:${port}`,
        );
      }
    }
  }
}

/** The same steps as dockerd's at its start: create the chain if it is missing, end it with RETURN, call it first. */
async function startDocker(host: Host): Promise<void> {
  for (const tables of ['iptables', 'ip6tables']) {
    await host.exec(
      `${tables} -N DOCKER-USER 2>/dev/null; ${tables} -C DOCKER-USER -j RETURN 2>/dev/null || ${tables} -A DOCKER-USER -j RETURN; ${tables} -I FORWARD -j DOCKER-USER`,
    );
  }
}

for (const suite of ['bookworm', 'trixie'] satisfies Suite[]) {
  describeHost(`behind the published port of a container, fail2ban of ${suite}`, () => {
    let host: Host;
    beforeAll(async () => {
      host = await bootHost({ suite, name: `forward-${suite}` });
      await addContainer(host);
      await startDocker(host);
      await startEcho(host, [80]);
      await startFail2ban(host, {}, { chain: 'INPUT,DOCKER-USER' });
    });
    afterAll(() => host.stop());

    it.each([
      ['IPv4', '10.77.0.9', '10.77.0.10'],
      ['IPv6', 'fd77::9', 'fd77::a'],
    ])(
      'the jail bans an attacker from the published port, and no other client, and unbans it: %s',
      async (_, attacker, other) => {
        expect(await host.attack({ from: attacker, port: 81 })).toBe('open');
        await fail(host, five(attacker));
        await waitForBan(host, attacker);
        await host.waitFor('cat /var/log/posternproxy/bans/bans.log', (out) => out.includes(attacker));
        expect(await host.attack({ from: attacker, port: 81 })).toBe('refused');
        expect(await host.attack({ from: attacker, port: 81, udp: true })).toBe('refused');
        expect(await host.attack({ from: attacker, port: 80 })).toBe('refused');
        expect(await host.attack({ from: attacker, port: 9000 })).toBe('open');
        expect(await host.attack({ from: other, port: 81 })).toBe('open');
        expect(await host.attack({ from: other, port: 81, udp: true })).toBe('open');
        await host.exec(`fail2ban-client set posternproxy unbanip ${attacker}`);
        expect(await host.attack({ from: attacker, port: 81 })).toBe('open');
        expect(await host.attack({ from: attacker, port: 81, udp: true })).toBe('open');
        expect(await host.attack({ from: attacker, port: 80 })).toBe('open');
      },
    );

    it('the jail does not match the published port alone, because packets there have the port of the container', async () => {
      await host.exec('iptables -I DOCKER-USER -p tcp -m multiport --dports 80,81,443 -j REJECT');
      expect(await host.attack({ port: 81 })).toBe('open');
      await host.exec('iptables -D DOCKER-USER -p tcp -m multiport --dports 80,81,443 -j REJECT');
    });

    it('the jail removes its rules from DOCKER-USER at a stop', async () => {
      await host.exec('systemctl stop fail2ban');
      expect((await host.exec('iptables -S; ip6tables -S')).stdout).not.toContain('f2b');
      expect((await host.exec('iptables -S DOCKER-USER')).stdout).toBe(
        '-N DOCKER-USER\n-A DOCKER-USER -j RETURN\n',
      );
    });

    it('the jail bans when Docker starts after fail2ban', async () => {
      await host.exec(
        'for t in iptables ip6tables; do $t -F FORWARD; $t -F DOCKER-USER; $t -X DOCKER-USER; done',
      );
      await configureJail(host, { chain: 'DOCKER-USER' });
      await fail(host, five('10.77.0.11'));
      await waitForBan(host, '10.77.0.11');
      await startDocker(host);
      await host.waitFor('iptables -S', (out) => out.includes('10.77.0.11/32'));
      expect(await host.attack({ from: '10.77.0.11', port: 81 })).toBe('refused');
      expect(await host.attack({ from: '10.77.0.12', port: 81 })).toBe('open');
      expect((await host.exec("grep -E ' (ERROR|CRITICAL) ' /var/log/fail2ban.log || :")).stdout).toBe('');
    });
  });
}
