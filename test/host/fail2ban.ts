import { randomBytes } from 'node:crypto';
import { type ConfigInput, config } from '../../src/config/schema.js';
import { parseStatus } from '../../src/fail2ban/client.js';
import { type JailPlace, renderJail } from '../../src/fail2ban/render-jail.js';
import { formatFail2banLine } from '../../src/formats/fail2ban-line.js';
import { formatHeader } from '../../src/sinks/files/fail2ban-files.js';
import { event } from '../fail2ban/failures.js';
import type { Host } from './host.js';

export const authDirectory = '/var/log/posternproxy/auth';
export const bansLog = '/var/log/posternproxy/bans/bans.log';

export interface JailChanges extends Partial<JailPlace> {
  readonly backend?: 'polling' | 'pyinotify';
  /** False if a sink writes the pair itself. */
  readonly pair?: boolean;
}

/** Puts filter, actions and jail in place as install.sh does, and starts fail2ban with that jail alone. */
export async function startFail2ban(
  host: Host,
  changes: ConfigInput['fail2ban'] = {},
  place: JailChanges = {},
): Promise<void> {
  for (const kind of ['filter.d', 'action.d']) await host.put(`fail2ban/${kind}`, `/etc/fail2ban/${kind}`);
  await host.exec(
    `mkdir -p ${bansLog.replace(/\/[^/]*$/, '')}; rm -f /etc/fail2ban/jail.d/defaults-debian.conf`,
  );
  await configureJail(host, changes, place);
}

/** Gives a running fail2ban another jail, without the bans, counts and lines of the previous one. */
export async function configureJail(
  host: Host,
  changes: ConfigInput['fail2ban'] = {},
  { backend, pair = true, ...place }: JailChanges = {},
): Promise<void> {
  const jail = renderJail(config.parse({ fail2ban: changes }).fail2ban, { authDirectory, ...place });
  await host.exec('systemctl stop fail2ban; rm -f /var/lib/fail2ban/fail2ban.sqlite3');
  for (const n of pair ? [0, 1] : []) {
    await host.write(
      `${authDirectory}/fail2ban.${n}.log`,
      `${formatHeader(n, Date.now(), randomBytes(8).toString('hex'))}\n`,
    );
  }
  await host.write(
    '/etc/fail2ban/jail.d/posternproxy.conf',
    backend === undefined ? jail : jail.replace('backend = polling', `backend = ${backend}`),
  );
  await host.exec('systemctl start fail2ban');
  await waitForJail(host);
}

/** Waits until the jail exists and its status fits. It first lists all jails, because a request for a missing jail logs an error. */
export async function waitForJail(host: Host, fits: RegExp = /^/): Promise<void> {
  await host.waitFor(
    'fail2ban-client status | grep -q posternproxy && fail2ban-client status posternproxy',
    (out, code) => code === 0 && fits.test(out),
  );
}

/** Appends failed logins with the current time, one for each given address. */
export async function fail(host: Host, addresses: readonly string[], file = 'fail2ban.0.log'): Promise<void> {
  const now = Date.now();
  const lines = addresses
    .map((address, sequence) => `${formatFail2banLine(event({ sequence }), now, address)}\n`)
    .join('');
  await host.exec(`cat >>${authDirectory}/${file}`, { input: lines });
}

/** Failures that fail2ban has counted since its start. */
export async function counted(host: Host): Promise<number> {
  const { stdout } = await host.exec('fail2ban-client status posternproxy');
  return parseStatus(stdout).totalFailed;
}

export async function waitForCount(host: Host, count: number, seconds = 60): Promise<void> {
  await host.waitFor(
    'fail2ban-client status posternproxy',
    (out, code) => code === 0 && parseStatus(out).totalFailed >= count,
    seconds,
  );
}

export async function banned(host: Host): Promise<string[]> {
  const { stdout } = await host.exec('fail2ban-client get posternproxy banip');
  return stdout.split(/\s+/).filter((word) => word !== '');
}

export async function waitForBan(host: Host, address: string): Promise<void> {
  await host.waitFor('fail2ban-client get posternproxy banip', (out) => out.split(/\s+/).includes(address));
}

/** A server that accepts TCP connections and echoes datagrams on each port, for both families. */
export const echoServer = `
import socket, sys, threading
def serve(port):
    tcp = socket.create_server(('::', port), family=socket.AF_INET6, dualstack_ipv6=True)
    udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    udp.bind(('::', port))
    def answer():
        while True:
            data, client = udp.recvfrom(100)
            udp.sendto(data, client)
    def accept():
        while True:
            tcp.accept()[0].close()
    threading.Thread(target=answer).start()
    threading.Thread(target=accept).start()
for port in sys.argv[1:]:
    serve(int(port))
`;

export async function startEcho(host: Host, ports: readonly number[]): Promise<void> {
  await host.write('/root/echo.py', echoServer);
  await host.exec(`systemd-run --quiet --unit=echo python3 /root/echo.py ${ports.join(' ')}`);
  await host.waitFor('ss -ltn', (out) => ports.every((port) => out.includes(`:${port} `)));
}
