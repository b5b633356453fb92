// Postern's source in a process of its own: node reader.mjs COMPILED DATABASE PRIVATE. One JSON command a line, one answer.
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const [, , compiled, database, privateDirectory] = process.argv;
const base = pathToFileURL(`${compiled}/`);
const { createPosternSource } = await import(new URL('source/postern-source.js', base).href);
const { createClassifier } = await import(new URL('audit/catalog.js', base).href);
const { config } = await import(new URL('config/schema.js', base).href);

const silent = () => undefined;
const source = createPosternSource({
  config: config.parse({ source: { database } }).source,
  server: 'proxy-1',
  sourceId: '00112233445566778899aabbccddeeff',
  classify: createClassifier({}),
  redact: (details) => details,
  history: { fingerprintOf: () => null },
  privateDirectory,
  clock: Date.now,
  log: { info: silent, warn: silent, error: silent },
});

createInterface({ input: process.stdin }).on('line', (line) => {
  const { times = 1, mark = { timeline: 1, id: 0, fingerprint: null } } = JSON.parse(line);
  let look;
  for (let at = 0; at < times; at++) {
    look = source.read({ mark, after: mark.id, maxRows: 2_000, maxBytes: 4 * 2 ** 20 });
  }
  const ids = look.events?.map((event) => event.sequence);
  process.stdout.write(`${JSON.stringify({ ...look, events: undefined, ids })}\n`);
});
