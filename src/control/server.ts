import { mkdirSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { basename, dirname, join } from 'node:path';
import { toSafeJson } from '../audit/unsafe-characters.js';
import type { Reloaded } from '../config/reload-result.js';
import { AuditdError, messageOf } from '../errors.js';
import type { NewEntry } from '../recorder/recorder.js';
import type { LegalHoldStore } from '../retention/legal-hold-store.js';
import { claimedName } from './claimed-name.js';
import { SOCKET_NAME } from './client.js';
import { reportedEntry } from './reported-entry.js';
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
  readonly answer?: RequestListener;
}

/** What a route knows of a request. */
interface ControlRequest {
  /** The variable part of the path. */
  readonly name: string;
  /** Who asks, as the caller says. */
  readonly by: string | null;
  /** The body, parsed; null where it is not JSON. */
  readonly body: unknown;
}

type ControlRoute = (target: ControlTarget, request: ControlRequest) => unknown;

/** `*` stands for one part of a path. */
const ROUTES: Readonly<Record<string, ControlRoute>> = {
  'GET /status': (target) => target.status(),
  'POST /reload': async (target) => ({ reloaded: true, ...(await target.reload()) }),
  'POST /replay': (target, { body }) => {
    target.replay(body);
    return { started: true };
  },
  'GET /replay/*': (target, { name }) => target.replayStatus(name),
  'POST /retention/now': (target, { by }) => {
    target.retain('now', by);
    return { started: true };
  },
  'POST /retention/dry': (target, { by }) => {
    target.retain('dry', by);
    return { started: true };
  },
  'POST /told': (target, { body, by }) => {
    target.record(reportedEntry(body, by));
    return { recorded: true };
  },
  'POST /retention/clock': (target, { by }) => ({ clock: target.confirmClock(by) }),
  'POST /archives/adopt': (target, { by }) => target.adoptAnchor(by),
  'GET /retention/holds': (target) => holdsOf(target).list(),
  'POST /retention/holds': (target, { body, by }) => holdsOf(target).hold(body, by),
  'POST /retention/holds/put-back': (target) => ({ files: holdsOf(target).putBack() }),
  'POST /retention/holds/*/release': (target, { name, body, by }) =>
    holdsOf(target).release(Number(name), body, by),
  'GET /retention': (target) => target.retentionStatus(),
};

function holdsOf(target: ControlTarget) {
  const found = target.legalHolds?.() ?? null;
  if (found !== null) return found;
  throw new AuditdError('CONFLICT', 'The daemon is just starting', { next: 'Try again in a moment' });
}

/**
 * Plain node:http and no framework: hono's server loads Node's fetch, which costs 9 MB and 55 ms in a daemon that may never be asked for
 * anything but its status.
 */
function answererOf(target: ControlTarget): RequestListener {
  return (request, response) => {
    const path = (request.url ?? '').split('?')[0] ?? '';
    const { route, name } = routeOf(request.method ?? '', path);
    if (route === undefined) {
      const message = `the control socket has no ${request.method} ${path}`;
      if (target.answer !== undefined) target.answer(request, response);
      else send(response, { error: { code: 'NOT_FOUND', message } }, 404);
      return;
    }
    const by = claimedName(request.headers['x-user']?.toString());
    const body = request.method === 'GET' ? Promise.resolve(null) : bodyOf(request);
    body
      .then((parsed) => route(target, { name, by, body: parsed }))
      .then(
        (value) => send(response, value),
        (error: unknown) => sendError(response, error),
      );
  };
}

function routeOf(method: string, path: string): { route: ControlRoute | undefined; name: string } {
  const exact = ROUTES[`${method} ${path}`];
  if (exact !== undefined) return { route: exact, name: '' };
  const parts = path.split('/');
  for (let at = 2; at < parts.length; at++) {
    const route = ROUTES[`${method} ${parts.with(at, '*').join('/')}`];
    const name = decoded(parts[at] ?? '');
    if (route !== undefined && name !== '') return { route, name };
  }
  return { route: undefined, name: '' };
}

/** Empty where it is not valid. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return '';
  }
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  try {
    return JSON.parse(Buffer.concat(chunks).toString());
  } catch {
    return null;
  }
}

/** JSON whose text has no character that a terminal acts on: many read it with curl. */
function send(response: ServerResponse, value: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(toSafeJson(value));
}

function sendError(response: ServerResponse, error: unknown): void {
  if (error instanceof AuditdError) {
    const { code, message, what, next } = error;
    send(response, { error: { code, message, what, next } }, code === 'CONFLICT' ? 409 : 400);
  } else send(response, { error: { code: 'FAILED', message: messageOf(error) } }, 500);
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
  const server = createServer(answererOf(target));
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
