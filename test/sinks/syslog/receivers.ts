import type { AddressInfo } from 'node:net';
import net from 'node:net';

/** Cuts a stream into pieces of the given sizes. */
export function* chunked(stream: Buffer, sizes: Iterable<number>): Generator<Buffer> {
  let at = 0;
  for (const size of sizes) {
    if (at >= stream.length) return;
    yield stream.subarray(at, at + size);
    at += size;
  }
}

/** Reads octet-counted messages as RFC 6587 section 3.4.1 has them; written apart from the sender. */
export class CountedReader {
  readonly messages: string[] = [];
  private rest = Buffer.alloc(0);

  push(chunk: Buffer): void {
    this.rest = Buffer.concat([this.rest, chunk]);
    for (;;) {
      const space = this.rest.indexOf(' ');
      if (space < 0) return;
      const digits = this.rest.toString('latin1', 0, space);
      if (!/^[1-9]\d*$/.test(digits)) throw new Error(`length ${JSON.stringify(digits)}`);
      const end = space + 1 + Number(digits);
      if (this.rest.length < end) return;
      this.messages.push(this.rest.toString('utf8', space + 1, end));
      this.rest = this.rest.subarray(end);
    }
  }
}

/** A transaction as a RELP collector sees it. */
export interface Transaction {
  readonly txnr: string;
  readonly command: string;
  readonly data: string;
}

/** Reads RELP frames by a regular expression over all that has come: slow, and nothing in common with the parser under test. */
export class RelpReader {
  private rest = '';

  /** @param chunk latin1, so that characters are bytes */
  push(chunk: Buffer): Transaction[] {
    this.rest += chunk.toString('latin1');
    const found: Transaction[] = [];
    for (;;) {
      const head = /^(\d{1,9}) ([a-zA-Z]{1,32}) (\d{1,9})([ \n])/.exec(this.rest);
      if (head === null) return found;
      const length = Number(head[3]);
      const start = length === 0 ? head[0].length - 1 : head[0].length;
      if (this.rest.length <= start + length) return found;
      if (this.rest[start + length] !== '\n') throw new Error(`no trailer: ${this.rest.slice(0, 80)}`);
      const data = Buffer.from(this.rest.slice(start, start + length), 'latin1').toString('utf8');
      found.push({ txnr: head[1] ?? '', command: head[2] ?? '', data });
      this.rest = this.rest.slice(start + length + 1);
    }
  }
}

/** A server of a test: its connections, and an end to all of them. */
export interface TestServer {
  readonly port: number;
  readonly target: string;
  readonly sockets: net.Socket[];
  close(): Promise<void>;
}

/** Listens on 127.0.0.1 and hands each connection over. */
export async function listen(
  onConnection: (socket: net.Socket, index: number) => void,
  port = 0,
  options: net.ServerOpts = {},
): Promise<TestServer> {
  const sockets: net.Socket[] = [];
  const server = net.createServer(options, (socket) => {
    socket.on('error', () => undefined);
    sockets.push(socket);
    onConnection(socket, sockets.length - 1);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  const taken = (server.address() as AddressInfo).port;
  return {
    port: taken,
    target: `127.0.0.1:${taken}`,
    sockets,
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}

/** A port at which nobody listens. */
export async function freePort(): Promise<number> {
  const server = await listen(() => undefined);
  await server.close();
  return server.port;
}

/** What an answering RELP collector does with each transaction; undefined: the usual answer. */
export type RelpScript = (transaction: Transaction, socket: net.Socket) => string | null | undefined;

export const OPEN_ANSWER = '200 OK\nrelp_version=0\nrelp_software=test,1\ncommands=syslog';

export function answer(txnr: string | number, data: string): string {
  return data === '' ? `${txnr} rsp 0\n` : `${txnr} rsp ${Buffer.byteLength(data)} ${data}\n`;
}

/** A RELP collector that keeps what it gets. `script` returns what to answer, null for nothing. */
export async function relpServer(
  script: RelpScript = () => undefined,
  port = 0,
): Promise<TestServer & { readonly got: Transaction[] }> {
  const got: Transaction[] = [];
  const server = await listen((socket) => {
    const reader = new RelpReader();
    socket.on('data', (chunk: Buffer) => {
      for (const transaction of reader.push(chunk)) {
        got.push(transaction);
        const said = script(transaction, socket);
        if (said === null) continue;
        if (said !== undefined) socket.write(said);
        else if (transaction.command === 'open') socket.write(answer(transaction.txnr, OPEN_ANSWER));
        else if (transaction.command === 'close') socket.end(answer(transaction.txnr, ''));
        else socket.write(answer(transaction.txnr, '200 OK'));
      }
    });
  }, port);
  return Object.assign(server, { got });
}

/** Free ports by name. */
export async function freePorts<Name extends string>(
  ...names: readonly Name[]
): Promise<Record<Name, number>> {
  const servers = await Promise.all(names.map(() => listen(() => undefined)));
  await Promise.all(servers.map((server) => server.close()));
  return Object.fromEntries(names.map((name, at) => [name, servers[at]?.port])) as Record<Name, number>;
}
