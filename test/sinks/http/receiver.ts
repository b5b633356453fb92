import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type ServerOptions } from 'node:https';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';
import { protobufFields } from '../../../src/formats/otlp-protobuf.js';

/** A request as the receiver sees it. */
export interface SeenRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
  /** Of the events in it, in order. */
  readonly ids: readonly string[];
  /** The event of each id as the request has it: JSON text, or the bytes of a record. */
  readonly events: readonly string[];
  /** Counted from 1. */
  readonly number: number;
}

/** What the receiver does instead of what its protocol says. */
export type Fault =
  /** Nothing is stored. */
  | { readonly answer: number; readonly body?: string; readonly headers?: Record<string, string> }
  | { readonly fault: 'reset' | 'hang' }
  /** All is stored, and the answer is lost, or ends in its middle. */
  | { readonly fault: 'lost' | 'torn' }
  /** For these events alone. */
  | { readonly items: (id: string, at: number) => number | null }
  /** OTLP: so many are counted as rejected, nobody is named. */
  | { readonly rejected: number; readonly message: string };

export interface ReceiverOptions {
  readonly protocol: 'elasticsearch' | 'otlp' | 'splunk-hec';
  readonly tls?: ServerOptions;
  /** Longest request, bytes after decompression; a longer one is 413. */
  readonly mostBytes?: number;
  /** Splunk: acknowledgements. */
  readonly acks?: boolean;
}

/** A receiver of one protocol, strict about what clients may send, that makes every fault. */
export class FaultyReceiver {
  /** How often each event was stored: ids of Elasticsearch at most once. */
  readonly stored = new Map<string, number>();
  /** The last form in which each event was stored. */
  readonly documents = new Map<string, string>();
  readonly requests: SeenRequest[] = [];
  /** What clients did against the protocol. */
  readonly complaints: string[] = [];
  /** Decides on the fault of a request; null: none. */
  fault: (request: SeenRequest) => Fault | null = () => null;
  /** True for events that are refused for good. */
  isPoison: (event: string, id: string) => boolean = () => false;
  /** Splunk: the number of queries that an acknowledgement takes. */
  ackAfter = 1;
  private readonly asked = new Map<number, number>();
  private acks = 0;
  private server: Server;
  port = 0;

  private constructor(private readonly options: ReceiverOptions) {
    this.server = this.createServer();
  }

  static async start(options: ReceiverOptions): Promise<FaultyReceiver> {
    const receiver = new FaultyReceiver(options);
    await receiver.listen();
    return receiver;
  }

  /** How many requests with events came, of those that were answered in any way. */
  get count(): number {
    return this.requests.filter(({ ids }) => ids.length > 0).length;
  }

  async listen(): Promise<void> {
    await new Promise<void>((done) => this.server.listen(this.port, '127.0.0.1', done));
    this.port = (this.server.address() as AddressInfo).port;
  }

  /** Stops listening and closes all connections. */
  async down(): Promise<void> {
    const ended = new Promise((done) => this.server.close(done));
    this.server.closeAllConnections();
    await ended;
    this.server = this.createServer();
  }

  close(): Promise<void> {
    return this.down();
  }

  /** Closes connections that are idle, as servers do after some seconds. */
  closeIdle(): void {
    this.server.closeIdleConnections();
  }

  private createServer(): Server {
    const { tls } = this.options;
    const handle = (request: IncomingMessage, response: ServerResponse) => {
      const parts: Buffer[] = [];
      request.on('data', (part: Buffer) => parts.push(part));
      request.on('error', () => undefined);
      request.on('end', () => this.handle(request, response, Buffer.concat(parts)));
    };
    return tls === undefined ? createServer(handle) : (createTlsServer(tls, handle) as unknown as Server);
  }

  private handle(request: IncomingMessage, response: ServerResponse, raw: Buffer): void {
    const { headers, method = '', url = '' } = request;
    if (Number(headers['content-length'] ?? raw.length) !== raw.length)
      this.complaints.push('length of the body');
    const body = headers['content-encoding'] === 'gzip' ? gunzipSync(raw) : raw;
    const seen = {
      method,
      url,
      headers,
      body,
      number: this.requests.length + 1,
      ...this.eventsIn(url, body),
    };
    this.requests.push(seen);
    const fault = this.fault(seen);
    if (fault !== null && 'answer' in fault) {
      response.writeHead(fault.answer, fault.headers).end(fault.body ?? '');
    } else if (fault !== null && 'fault' in fault && fault.fault === 'reset') {
      request.socket.resetAndDestroy();
    } else if (fault !== null && 'fault' in fault && fault.fault === 'hang') {
      // no answer
    } else if (body.length > (this.options.mostBytes ?? Number.POSITIVE_INFINITY)) {
      response.writeHead(413).end('too large');
    } else {
      const { status, type, text } = this.answerOf(seen, fault);
      if (fault !== null && 'fault' in fault && fault.fault === 'lost') request.socket.destroy();
      else if (fault !== null && 'fault' in fault) {
        response.writeHead(status, { 'Content-Type': type, 'Content-Length': text.length + 10 });
        response.write(text.subarray(0, text.length >> 1), () => request.socket.destroy());
      } else response.writeHead(status, { 'Content-Type': type }).end(text);
    }
  }

  private eventsIn(url: string, body: Buffer): { ids: string[]; events: string[] } {
    try {
      if (this.options.protocol === 'elasticsearch') return url.includes('_bulk') ? actionsIn(body) : NONE;
      if (this.options.protocol === 'otlp') return recordsIn(body);
      return url.includes('/ack') ? NONE : splunkEventsIn(body);
    } catch (error) {
      this.complaints.push(`${String(error)} in ${body.toString('utf8').slice(0, 200)}`);
      return NONE;
    }
  }

  private answerOf(seen: SeenRequest, fault: Fault | null): { status: number; type: string; text: Buffer } {
    const json = (status: number, value: unknown) => ({
      status,
      type: 'application/json; charset=UTF-8',
      text: Buffer.from(JSON.stringify(value)),
    });
    switch (this.options.protocol) {
      case 'elasticsearch':
        return json(...this.bulk(seen, fault));
      case 'splunk-hec':
        return json(...this.collector(seen));
      case 'otlp':
        return this.export(seen, fault);
    }
  }

  private store(id: string, event: string): void {
    this.stored.set(id, (this.stored.get(id) ?? 0) + 1);
    this.documents.set(id, event);
  }

  /** As Elasticsearch 8 answers. */
  private bulk({ url, ids, events, headers, body }: SeenRequest, fault: Fault | null): [number, unknown] {
    if (url.endsWith('_has_privileges')) return [200, { has_all_requested: true }];
    if (!url.includes('_bulk')) return [200, {}]; // whether it is up
    if (!/ndjson|json/.test(headers['content-type'] ?? ''))
      return [406, { error: 'Content-Type header [] is not supported', status: 406 }];
    if (body.length === 0) return [400, failureOf('parse_exception', 'request body is required')];
    if (body.at(-1) !== 10)
      return [
        400,
        failureOf('illegal_argument_exception', 'The bulk request must be terminated by a newline [\\n]'),
      ];
    const items = ids.map((id, at) => {
      const own = fault !== null && 'items' in fault ? fault.items(id, at) : null;
      if (own !== null)
        return {
          create: {
            _id: id,
            status: own,
            error: { type: 'es_rejected_execution_exception', reason: 'full' },
          },
        };
      const event = events[at] ?? '';
      if (this.isPoison(event, id))
        return {
          create: {
            _id: id,
            status: 400,
            error: {
              type: 'document_parsing_exception',
              reason: `failed to parse field [postern.details] of type [flattened] in document with id '${id}'`,
              caused_by: { type: 'illegal_argument_exception', reason: 'keys cannot contain NUL' },
            },
          },
        };
      if (this.stored.has(id))
        return {
          create: {
            _id: id,
            status: 409,
            error: {
              type: 'version_conflict_engine_exception',
              reason: `[${id}]: version conflict, document already exists`,
            },
          },
        };
      this.store(id, event);
      return { create: { _index: 'x', _id: id, _version: 1, result: 'created', status: 201 } };
    });
    return [200, { took: 1, errors: items.some(({ create }) => create.status > 299), items }];
  }

  private collector({ url, ids, events, body }: SeenRequest): [number, unknown] {
    if (url.includes('/ack')) {
      const { acks } = JSON.parse(body.toString()) as { acks: number[] };
      const state = acks.map((id) => {
        this.asked.set(id, (this.asked.get(id) ?? 0) + 1);
        return [id, (this.asked.get(id) ?? 0) >= this.ackAfter];
      });
      return [200, { acks: Object.fromEntries(state) }];
    }
    if (body.length === 0) return [400, { text: 'No data', code: 5 }];
    const bad = events.findIndex((event, at) => this.isPoison(event, ids[at] ?? ''));
    if (bad >= 0) return [400, { text: 'Invalid data format', code: 6, 'invalid-event-number': bad }];
    for (const [at, id] of ids.entries()) this.store(id, events[at] ?? '');
    return [200, { text: 'Success', code: 0, ...(this.options.acks === true ? { ackId: this.acks++ } : {}) }];
  }

  private export(
    { ids, events, headers }: SeenRequest,
    fault: Fault | null,
  ): { status: number; type: string; text: Buffer } {
    const isJson = headers['content-type'] === 'application/json';
    const type = isJson ? 'application/json' : 'application/x-protobuf';
    const bad = ids.findIndex((id, at) => this.isPoison(events[at] ?? '', id));
    if (bad >= 0)
      return {
        status: 400,
        type,
        text: Buffer.from(isJson ? '{"message":"bad record"}' : '\x12\x0abad record'),
      };
    const rejected = fault !== null && 'rejected' in fault ? fault.rejected : 0;
    for (const [at, id] of ids.slice(rejected).entries()) this.store(id, events[at + rejected] ?? '');
    const message = fault !== null && 'rejected' in fault ? fault.message : '';
    if (isJson) {
      const said =
        rejected === 0
          ? {}
          : { partialSuccess: { rejectedLogRecords: String(rejected), errorMessage: message } };
      return { status: 200, type, text: Buffer.from(JSON.stringify(said)) };
    }
    const inner = Buffer.concat([Buffer.from([0x08, rejected, 0x12, message.length]), Buffer.from(message)]);
    return {
      status: 200,
      type,
      text: rejected === 0 ? Buffer.alloc(0) : Buffer.concat([Buffer.from([0x0a, inner.length]), inner]),
    };
  }
}

const NONE = { ids: [], events: [] };

function failureOf(type: string, reason: string): unknown {
  return { error: { root_cause: [{ type, reason }], type, reason }, status: 400 };
}

/** Actions of the bulk API; anything but pairs of lines is an error. */
function actionsIn(body: Buffer): { ids: string[]; events: string[] } {
  const ids: string[] = [];
  const events: string[] = [];
  const lines = body.toString('utf8').split('\n');
  for (let n = 0; n + 1 < lines.length; n++) {
    if (lines[n] === '') continue; // Elasticsearch skips empty lines between actions
    const { create, index } = JSON.parse(lines[n] ?? '') as {
      create?: { _id?: string };
      index?: { _id?: string };
    };
    const action = create ?? index;
    if (action === undefined) throw new Error('no action');
    const document = lines[++n] ?? '';
    JSON.parse(document);
    ids.push(action._id ?? '');
    events.push(document);
  }
  return { ids, events };
}

function splunkEventsIn(body: Buffer): { ids: string[]; events: string[] } {
  const lines = body
    .toString('utf8')
    .split('\n')
    .filter((line) => line !== '');
  const ids = lines.map((line) => (JSON.parse(line) as { event: { event: { id: string } } }).event.event.id);
  return { ids, events: lines };
}

function recordsIn(body: Buffer): { ids: string[]; events: string[] } {
  const found = body[0] === 0x7b ? jsonRecords(body) : protobufRecords(body);
  const ids = found.map((text) => /log\.record\.uid.{1,40}?([0-9a-f]{32})/s.exec(text)?.[1] ?? '');
  if (ids.includes('')) throw new Error('a record without log.record.uid');
  return { ids, events: found };
}

function jsonRecords(body: Buffer): string[] {
  type Request = { resourceLogs: Array<{ scopeLogs: Array<{ logRecords: unknown[] }> }> };
  const { resourceLogs } = JSON.parse(body.toString()) as Request;
  return resourceLogs.flatMap(({ scopeLogs }) =>
    scopeLogs.flatMap(({ logRecords }) => logRecords.map((record) => JSON.stringify(record))),
  );
}

/** The records of a request, by the numbers of their fields; test/sinks/http/otlp-witness.test.ts lets protoc read them. */
function protobufRecords(body: Buffer): string[] {
  const children = (bytes: Buffer, number: number): Buffer[] => {
    const fields = protobufFields(bytes);
    if (fields === null) throw new Error('not protobuf');
    return fields.filter((field) => field.number === number).map(({ content }) => content);
  };
  return children(body, 1)
    .flatMap((resourceLogs) => children(resourceLogs, 2))
    .flatMap((scopeLogs) => children(scopeLogs, 2))
    .map((record) => record.toString('latin1'));
}
