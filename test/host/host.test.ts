import { afterAll, beforeAll, expect, it } from 'vitest';
import { bootHost, describeHost, type Host, type Suite } from './host.js';

for (const [suite, version] of [
  ['bookworm', '1.0'],
  ['trixie', '1.1'],
] as ReadonlyArray<readonly [Suite, string]>) {
  describeHost(`a test host of ${suite}`, () => {
    let host: Host;
    beforeAll(async () => {
      host = await bootHost({ suite, name: `probe-${suite}` });
    });
    afterAll(() => host.stop());

    it('a test host boots systemd without a failed unit', async () => {
      expect((await host.exec('systemctl is-system-running')).stdout.trim()).toBe('running');
      expect((await host.exec('ps -o comm= 1')).stdout.trim()).toBe('systemd');
    });

    it(`a test host has fail2ban ${version} and this Node.js`, async () => {
      expect((await host.exec('fail2ban-client --version')).stdout).toContain(`v${version}.`);
      expect((await host.exec(['node', '-p', 'process.version'])).stdout.trim()).toBe(process.version);
    });

    it('a test host passes standard input, output and the exit status through', async () => {
      const ran = await host.exec('cat; echo oops >&2; exit 7', { check: false, input: 'a\0b' });
      expect(ran).toEqual({ code: 7, stdout: 'a\0b', stderr: 'oops\n' });
    });

    it('a test host is reached by clients of both families, over TCP and UDP', async () => {
      await host.write('/root/echo.py', echo);
      await host.exec('systemd-run --quiet --unit=echo python3 /root/echo.py 81');
      await host.waitFor('ss -ltn', (out) => out.includes(':81'));
      expect(await host.attack({ port: 81 })).toBe('open');
      expect(await host.attack({ port: 81, from: 'fd77::9' })).toBe('open');
      expect(await host.attack({ port: 81, from: '10.77.0.9', udp: true })).toBe('open');
      expect(await host.attack({ port: 82, from: '10.77.0.9' })).toBe('refused');
    });
  });
}

const echo = `
import socket, sys, threading
port = int(sys.argv[1])
tcp = socket.create_server(('::', port), family=socket.AF_INET6, dualstack_ipv6=True)
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
udp.bind(('::', port))
def answer():
    while True:
        data, client = udp.recvfrom(100)
        udp.sendto(data, client)
threading.Thread(target=answer, daemon=True).start()
while True:
    tcp.accept()[0].close()
`;
