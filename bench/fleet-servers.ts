import { randomBytes } from 'node:crypto';
import { jetstream } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';

// So many servers in one process, each with a connection of its own: what a sink of type jetstream sends, without the daemon around it.
// Arguments: url, servers, events a second of each, seconds. Prints the number of acknowledged events at the end.

const [url = '', servers = '0', rate = '0', seconds = '0'] = process.argv.slice(2);
const TICK_MS = 100;
const PAD = JSON.stringify({ n: 'x'.repeat(120) });

let acknowledged = 0;
let failed = 0;

async function server(name: string): Promise<void> {
  const nc = await connect({ servers: url, name });
  const js = jetstream(nc, { timeout: 20_000 });
  const each = Math.max(1, Math.round((Number(rate) * TICK_MS) / 1_000));
  let sequence = 0;
  const open: Array<Promise<void>> = [];
  const ends = Date.now() + Number(seconds) * 1_000;
  let next = Date.now() + Math.random() * TICK_MS;
  while (next < ends) {
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, next - Date.now())));
    next += TICK_MS;
    for (let n = 0; n < each; n++) {
      const id = randomBytes(16).toString('hex');
      const body = {
        v: 1,
        id,
        origin: name,
        source: 'postern',
        timeline: 1,
        sequence: sequence + 1,
        after: sequence,
        columns: [
          new Date().toISOString().slice(0, 19).replace('T', ' '),
          7,
          'jan',
          'jan@example.net',
          'update',
          'proxy_host',
          '12',
          PAD,
          '192.0.2.7',
          name,
        ],
      };
      sequence++;
      open.push(
        js
          .publish(`postern.audit.${name}.proxy_host.update`, JSON.stringify(body), { msgID: id })
          .then(() => {
            acknowledged++;
          })
          .catch(() => {
            failed++;
          }),
      );
    }
    if (open.length > 2_000) await Promise.all(open.splice(0, 1_000));
  }
  await Promise.all(open);
  await nc.close();
}

await Promise.all(Array.from({ length: Number(servers) }, (_, at) => server(`server-${servers}-${at}`)));
process.stdout.write(`${JSON.stringify({ acknowledged, failed })}\n`);
