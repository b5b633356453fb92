import { mkdirSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import type { Server } from 'node:http';
import { basename, dirname, join } from 'node:path';
import { createAdaptorServer } from '@hono/node-server';
import { Hono } from 'hono';
import type { Reloaded } from '../config/reload-result.js';
import { AuditdError, messageOf } from '../errors.js';
import type { NewEntry } from '../recorder/recorder.js';
import type { LegalHoldStore } from '../retention/legal-hold-store.js';
import { claimedName } from './claimed-name.js';
import { SOCKET_NAME } from './client.js';
import { reportedEntry } from './reported-entry.js';
import { sendJson } from './send-json.js';
import { listenOnPath, ownSocket } from './unix-socket.js';

/** The functions of the daemon that its control socket offers. */
export interface ControlTarget {
  status(): unknown;
  /** Reads the configuration again; throws if the new one is rejected. */
  reload(): Promise<Reloaded | null>;
  /** Starts a replay of rows to a sink; throws if that is not possible. */
  replay(body: unknown): void;
  replayStatus(sink: string): unknown;
  /** Starts a run of retention, or a dry run; throws if that is not possible. */
  retain(kind: 'dry' | 'now', by: string | null): void;
  retentionStatus(): unknown;
  /** Records what a command reports that it did. */
  record(entry: NewEntry): void;
  /** Records that the operator has confirmed the clock; returns the time of the clock. Throws if retention is off. */
  confirmClock(by: string | null): string | null;
  /** Places and releases legal holds; null while the daemon is starting. */
  legalHolds?(): Pick<LegalHoldStore, 'hold' | 'release' | 'list' | 'putBack'> | null;
  /** Adopts the anchor of the archives; throws if that is not possible. */
  adoptAnchor(by: string | null): unknown;
  /** Answers requests outside the socket's own routes: the API, for everyone who may open the socket. */
  fetch?(request: Request, env: object): Response | Promise<Response>;
}

/** The routes of the control socket. */
function controlRoutes(target: ControlTarget): Hono {
  const app = new Hono();
  app.get('/status', (c) => sendJson(c, target.status()));
  app.post('/reload', async (c) => {
    return sendJson(c, { reloaded: true, ...(await target.reload()) });
  });
  app.post('/replay', async (c) => {
    target.replay(await c.req.json());
    return sendJson(c, { started: true });
  });
  app.get('/replay/:sink', (c) => sendJson(c, target.replayStatus(c.req.param('sink'))));
  app.post('/retention/now', (c) => {
    target.retain('now', claimedName(c.req.header('x-user')));
    return sendJson(c, { started: true });
  });
  app.post('/retention/dry', (c) => {
    target.retain('dry', claimedName(c.req.header('x-user')));
    return sendJson(c, { started: true });
  });
  app.post('/told', async (c) => {
    target.record(reportedEntry(await c.req.json().catch(() => null), claimedName(c.req.header('x-user'))));
    return sendJson(c, { recorded: true });
  });
  app.post('/retention/clock', (c) =>
    sendJson(c, { clock: target.confirmClock(claimedName(c.req.header('x-user'))) }),
  );
  app.post('/archives/adopt', (c) => sendJson(c, target.adoptAnchor(claimedName(c.req.header('x-user')))));
  const book = () => {
    const found = target.legalHolds?.() ?? null;
    if (found !== null) return found;
    throw new AuditdError('CONFLICT', 'The daemon is just starting', { next: 'Try again in a moment' });
  };
  app.get('/retention/holds', (c) => sendJson(c, book().list()));
  app.post('/retention/holds', async (c) =>
    sendJson(c, book().hold(await c.req.json().catch(() => null), claimedName(c.req.header('x-user')))),
  );
  app.post('/retention/holds/put-back', (c) => sendJson(c, { files: book().putBack() }));
  app.post('/retention/holds/:id/release', async (c) => {
    const body: unknown = await c.req.json().catch(() => null);
    return sendJson(c, book().release(Number(c.req.param('id')), body, claimedName(c.req.header('x-user'))));
  });
  app.get('/retention', (c) => sendJson(c, target.retentionStatus()));
  app.all('*', async (c, next) => {
    if (target.fetch === undefined) return next();
    return target.fetch(c.req.raw, c.env as object);
  });
  app.notFound((c) =>
    sendJson(
      c,
      { error: { code: 'NOT_FOUND', message: `the control socket has no ${c.req.method} ${c.req.path}` } },
      404,
    ),
  );
  app.onError((error, c) => {
    if (!(error instanceof AuditdError))
      return sendJson(c, { error: { code: 'FAILED', message: messageOf(error) } }, 500);
    const { code, message, what, next } = error;
    return sendJson(c, { error: { code, message, what, next } }, code === 'CONFLICT' ? 409 : 400);
  });
  return app;
}

export interface ControlSocket {
  close(): Promise<void>;
}

/**
 * Serves HTTP and JSON on a unix socket with mode 0660: everyone who may open it may control the daemon. The caller holds the lock of
 * the state directory, so an existing socket file was left by a dead process.
 *
 * @param runtime directory of the unit, where a link leads to a socket in another directory. So commands of the unit (ExecReload=)
 *   find the daemon even if the configuration now names another path
 * @throws AuditdError `STATE_UNUSABLE` if the socket can't be made
 */
export async function openControlSocket(
  path: string,
  runtime: string | null,
  target: ControlTarget,
): Promise<ControlSocket> {
  const link = runtime === null ? null : join(runtime, SOCKET_NAME);
  const server = createAdaptorServer({ fetch: controlRoutes(target).fetch }) as Server;
  server.requestTimeout = 10_000;
  server.headersTimeout = 5_000;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o750 });
    rmSync(path, { force: true });
    await listenOnPath(server, path);
    ownSocket(path, 0o660, null);
    if (link !== null && !isSamePlace(link, path)) {
      rmSync(link, { force: true });
      symlinkSync(path, link);
    }
  } catch (error) {
    throw new AuditdError('STATE_UNUSABLE', `The control socket ${path} can't be made: ${messageOf(error)}`, {
      next: 'Name another path under control: in the configuration',
      cause: error,
    });
  }
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
        rmSync(path, { force: true });
        if (link !== null) rmSync(link, { force: true });
      }),
  };
}

/** Compares paths behind links such as /var/run: a link at the socket's own path would replace the socket and lead to itself. */
function isSamePlace(one: string, other: string): boolean {
  const place = (path: string) => join(realpathSync(dirname(path)), basename(path));
  return place(one) === place(other);
}
