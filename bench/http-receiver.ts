import { createServer } from 'node:http';
import { gunzipSync } from 'node:zlib';

// Counts events over HTTP: documents of Elasticsearch's bulk API, or records of OTLP. It decompresses, counts and answers, and stores nothing.
// A separate process, so that its cost is not the sender's. Prints its port, and a line when EXPECTED events have arrived.

const expected = Number(process.env.EXPECTED ?? 0);
/** Milliseconds before each answer, as a network and a receiver take them. */
const delay = Number(process.env.DELAY_MS ?? 0);
let count = 0;
let first = 0;

function counted(events: number): void {
  if (count === 0) first = performance.now();
  const before = count;
  count += events;
  if (before < expected && count >= expected) {
    console.log(JSON.stringify({ count, seconds: (performance.now() - first) / 1_000 }));
  }
}

function occurrences(body: Buffer, text: string): number {
  let found = 0;
  for (let at = body.indexOf(text); at >= 0; at = body.indexOf(text, at + text.length)) found++;
  return found;
}

const server = createServer((request, response) => {
  const parts: Buffer[] = [];
  if (count === 0) first ||= performance.now();
  request.on('data', (part: Buffer) => parts.push(part));
  request.on('end', () => {
    const raw = Buffer.concat(parts);
    const body = request.headers['content-encoding'] === 'gzip' ? gunzipSync(raw) : raw;
    const isBulk = request.url?.endsWith('_bulk') === true;
    const events = occurrences(body, isBulk ? '{"create":{' : 'log.record.uid');
    const answer = isBulk
      ? JSON.stringify({ took: 1, errors: false, items: Array(events).fill({ create: { status: 201 } }) })
      : '';
    const type = isBulk ? 'application/json' : 'application/x-protobuf';
    setTimeout(() => {
      response.writeHead(200, { 'Content-Type': type }).end(answer);
      counted(events);
    }, delay);
  });
});

server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  console.log(JSON.stringify({ port: typeof address === 'object' ? address?.port : 0 }));
});
