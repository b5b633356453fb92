import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { getRequestListener } from '@hono/node-server';
import { Hono } from 'hono';
import { expect, onTestFinished, test } from 'vitest';
import type { ApiEnv } from '../../src/api/context.js';
import { ExportStream } from '../../src/api/export-stream.js';
import { touchConnection } from '../../src/api/http/long-responses.js';
import type { QueryChunk } from '../../src/query/service.js';

/** Longer than the server waits for a movement on the connection. */
const QUIET_MS = 3_000;
const SILENCE_MS = 2_000;

async function* rareRow(): AsyncGenerator<QueryChunk, void> {
  for (const end = Date.now() + QUIET_MS; Date.now() < end; await sleep(100)) {
    yield { bytes: new Uint8Array(0), rows: 0, progress: 0.5 };
  }
  yield { bytes: Buffer.from('the one row\n'), rows: 1, progress: 1 };
}

test.each([
  ['continues', touchConnection, 'the one row\n'],
  ['would be broken off without that', () => undefined, null],
])('an export without matches for a long time %s', async (_, onQuiet, expected) => {
  const app = new Hono<ApiEnv>();
  app.get('/', async (c) => {
    const begun = await ExportStream.begin(rareRow(), {
      hasAccess: () => true,
      onQuiet: () => onQuiet(c),
      onEnd: () => undefined,
    });
    return c.body(begun.stream);
  });
  const server = createServer(getRequestListener(app.fetch));
  server.timeout = SILENCE_MS;
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  const text = await fetch(`http://127.0.0.1:${port}/`)
    .then((response) => response.text())
    .catch(() => null);
  expect(text).toBe(expected);
});
