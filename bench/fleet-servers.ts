import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

// Simulates servers in one process, each with its own connection. They send the bytes of a jetstream sink, so that the servers, which
// would be separate hosts, cost next to nothing here. Arguments: host, port, servers, events per second of each, seconds. Prints the number
// of acknowledged events at the end.

const [host = '', port = '0', servers = '0', rate = '0', seconds = '0'] = process.argv.slice(2);
const TICK_MS = 100;
const PAD = JSON.stringify({ n: 'x'.repeat(120) });
const DETAILS = JSON.stringify(PAD);
const EACH = Math.max(1, Math.round((Number(rate) * TICK_MS) / 1_000));
/** Most unacknowledged events of a server. Then it waits, as the sink does. */
const WINDOW = 512;

let sent = 0;
let acknowledged = 0;

class Server {
  private readonly socket: Socket;
  private readonly run = randomBytes(8).toString('hex');
  private sequence = 0;
  private open = 0;
  private rest = '';

  constructor(private readonly name: string) {
    this.socket = connect({ host, port: Number(port) });
    const hello = {
      verbose: false,
      pedantic: false,
      headers: true,
      no_responders: true,
      lang: 'bench',
      name,
      version: '1',
    };
    this.socket.write(`CONNECT ${JSON.stringify(hello)}\r\nSUB _INBOX.${this.run} 1\r\nPING\r\n`);
    this.socket.setEncoding('latin1').on('data', (text: string) => this.hear(text));
  }

  publish(count: number): void {
    let bytes = '';
    for (let n = 0; n < count && this.open < WINDOW; n++) {
      bytes += this.message();
      this.open++;
      sent++;
    }
    if (bytes !== '') this.socket.write(bytes, 'latin1');
  }

  get waiting(): number {
    return this.open;
  }

  close(): void {
    this.socket.destroy();
  }

  private message(): string {
    const { name, run } = this;
    const after = this.sequence++;
    const id = run + this.sequence.toString(16).padStart(16, '0');
    const time = new Date().toISOString().slice(0, 19).replace('T', ' ');
    const body = `{"v":1,"id":"${id}","origin":"${name}","source":"postern","timeline":1,"sequence":${this.sequence},"after":${after},"columns":["${time}",7,"jan","jan@example.net","update","proxy_host","12",${DETAILS},"192.0.2.7","${name}"]}`;
    const header = `NATS/1.0\r\nNats-Msg-Id: ${id}\r\n\r\n`;
    return `HPUB postern.audit.${name}.proxy_host.update _INBOX.${run} ${header.length} ${header.length + body.length}\r\n${header}${body}\r\n`;
  }

  private hear(text: string): void {
    const all = this.rest + text;
    const end = all.lastIndexOf('\n') + 1;
    this.rest = all.slice(end);
    for (let from = 0; from < end; ) {
      const to = all.indexOf('\n', from);
      if (all.startsWith('{"stream"', from)) {
        acknowledged++;
        this.open--;
      } else if (all.startsWith('{"error"', from)) {
        this.open--;
      } else if (all.startsWith('PING', from)) this.socket.write('PONG\r\n');
      from = to + 1;
    }
  }
}

const all = Array.from({ length: Number(servers) }, (_, at) => new Server(`server-${servers}-${at}`));
await sleep(500);
const begin = performance.now();
let ticks = 0;
// Spread over the tick, like the clocks of many hosts.
const SLICES = 10;
const ends = Number(seconds) * 1_000;
for (;;) {
  const at = performance.now() - begin;
  if (at >= ends) break;
  for (const due = Math.floor(at / (TICK_MS / SLICES)); ticks <= due; ticks++)
    for (let of = ticks % SLICES; of < all.length; of += SLICES) all[of]?.publish(EACH);
  await sleep(TICK_MS / SLICES / 2);
}
while (all.some(({ waiting }) => waiting > 0) && performance.now() - begin < ends + 30_000) await sleep(20);
const took = (performance.now() - begin) / 1_000;
for (const server of all) server.close();
process.stdout.write(`${JSON.stringify({ sent, acknowledged, failed: sent - acknowledged, took })}\n`);
