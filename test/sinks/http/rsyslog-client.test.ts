import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { freePorts } from '../syslog/receivers.js';
import { type Fault, FaultyReceiver, type SeenRequest } from './receiver.js';

const MODULE = ['x86_64', 'aarch64'].some((machine) =>
  existsSync(`/usr/lib/${machine}-linux-gnu/rsyslog/omelasticsearch.so`),
);

function withoutClient(): boolean {
  if (MODULE && existsSync('/usr/sbin/rsyslogd')) return false;
  const missing =
    'omelasticsearch is not here. Next: apt-get install --no-install-recommends rsyslog-elasticsearch';
  if (process.env.CI !== undefined) throw new Error(missing);
  console.warn(`SKIPPED: ${missing}`);
  return true;
}

const COUNT = 500;

/** rsyslogd that sends what comes over TCP to an Elasticsearch, as its documentation shows it. */
class Client {
  private readonly directory = mkdtempSync(join(tmpdir(), 'postern-omes-'));
  private readonly child: ChildProcess;

  constructor(
    readonly port: number,
    receiver: FaultyReceiver,
  ) {
    const config = join(this.directory, 'rsyslog.conf');
    writeFileSync(
      config,
      `global(workDirectory="${this.directory}")
module(load="imptcp")
module(load="omelasticsearch")
input(type="imptcp" port="${port}" address="127.0.0.1" ruleset="es")
template(name="doc" type="list" option.jsonf="on") { property(outname="text" name="msg" format="jsonf") }
template(name="id" type="string" string="%msg:F,58:2%")
ruleset(name="es") {
  action(type="omelasticsearch" server="127.0.0.1" serverport="${receiver.port}" template="doc" searchIndex="audit" searchType=""
    bulkmode="on" maxbytes="1m" bulkid="id" dynbulkid="on" writeoperation="create"
    queue.type="linkedlist" queue.dequeuebatchsize="100" action.resumeretrycount="-1" action.resumeinterval="1")
}
`,
    );
    this.child = spawn('/usr/sbin/rsyslogd', ['-n', '-f', config, '-i', join(this.directory, 'pid')], {
      stdio: 'ignore',
    });
  }

  /** Sends messages, once rsyslogd listens. */
  async send(lines: readonly string[]): Promise<void> {
    for (;;) {
      try {
        await new Promise<void>((done, fail) => {
          const socket = createConnection(this.port, '127.0.0.1', () =>
            socket.end(lines.join(''), () => done()),
          );
          socket.once('error', fail);
        });
        return;
      } catch {
        await sleep(50);
      }
    }
  }

  async close(): Promise<void> {
    const ended = new Promise((done) => this.child.once('exit', done));
    this.child.kill('SIGKILL');
    await ended;
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** The receiver of the tests is right if a client that others wrote gets along with it. */
describe.skipIf(withoutClient())("rsyslog's omelasticsearch", () => {
  let receiver: FaultyReceiver | null = null;
  let client: Client | null = null;

  afterEach(async () => {
    await client?.close();
    await receiver?.close();
  });

  const everyThird = (fault: Fault) => {
    let asked = 0;
    return ({ ids }: SeenRequest) => (ids.length > 0 && asked++ % 3 === 0 ? fault : null);
  };

  it.each<[string, Fault | null]>([
    ['answers', null],
    ['resets connections at times', { fault: 'reset' }],
    ['loses answers at times', { fault: 'lost' }],
  ])('stores every document once in a receiver that %s', async (_, fault) => {
    const made = await FaultyReceiver.start({ protocol: 'elasticsearch' });
    receiver = made;
    if (fault !== null) made.fault = everyThird(fault);
    const { tcp } = await freePorts('tcp');
    client = new Client(tcp, made);
    await client.send(Array.from({ length: COUNT }, (_, n) => `<14>1 - - - - - - id:${n}:text ${n}\n`));
    await expect.poll(() => made.stored.size, { timeout: 25_000 }).toBe(COUNT);
    expect([...made.stored.values()].every((times) => times === 1)).toBe(true);
    expect(made.complaints).toEqual([]);
  });
});
