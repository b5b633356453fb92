import { z } from 'zod';
import { VERSION } from '../version.js';
import { listParameters, noParameters, statsParameters, streamParameters } from './request-schemas.js';
import * as answers from './response-schemas.js';

type Json = Readonly<Record<string, unknown>>;

/** A route, as the document describes it. */
interface Operation {
  readonly method: 'get' | 'delete';
  readonly path: string;
  readonly summary: string;
  readonly description: string;
  readonly scope: 'read' | 'admin' | null;
  readonly query: z.ZodObject;
  readonly inPath?: Readonly<Record<string, string>>;
  readonly answer: z.ZodType | null;
  /** Media types in addition to JSON, or instead of it if there is no schema. */
  readonly types?: readonly string[];
  readonly problems: readonly number[];
}

/** The operations of the API. A test requests each and compares the answer with its schema. */
export const OPERATIONS: readonly Operation[] = [
  {
    method: 'get',
    path: '/api/audit-log',
    summary: 'List entries, newest first',
    description:
      'Returns a page of matching entries, or all of them as a stream with `limit=0`. For CSV or NDJSON set `format` or the header Accept. The header Link has the next page.',
    scope: 'read',
    query: listParameters,
    answer: answers.page,
    types: ['application/x-ndjson', 'text/csv'],
    problems: [400, 401, 429, 503],
  },
  {
    method: 'get',
    path: '/api/audit-log/{id}',
    summary: 'Get one entry',
    description:
      'Returns the entry with this ID, such as `postern:4711`. A number alone is an ID of Postern.',
    scope: 'read',
    query: noParameters,
    inPath: { id: '`<source>:<row id>`, or the row ID alone.' },
    answer: answers.entry,
    problems: [400, 401, 404, 429, 503],
  },
  {
    method: 'get',
    path: '/api/audit-log/stats',
    summary: 'Count entries',
    description: 'Returns counts by action, user, address, server, day and hour. Reads every matching entry.',
    scope: 'read',
    query: statsParameters,
    answer: answers.statsSchema,
    problems: [400, 401, 429, 503],
  },
  {
    method: 'get',
    path: '/api/audit-log/stream',
    summary: 'Stream new entries',
    description:
      'Sends server-sent events. `event: entry` has an entry as its data. A client that reconnects with Last-Event-ID gets the entries that it missed, at most 1,000; `event: gap` means that it missed more. `event: version` has a later version of an edited entry, whose ID is in `version_of`; it is not a new entry.',
    scope: 'read',
    query: streamParameters,
    answer: null,
    types: ['text/event-stream'],
    problems: [400, 401, 429, 503],
  },
  {
    method: 'get',
    path: '/api/bans',
    summary: 'List current bans',
    description: 'Returns the bans that fail2ban reports.',
    scope: 'read',
    query: noParameters,
    answer: answers.bansSchema,
    problems: [401, 429, 503],
  },
  {
    method: 'delete',
    path: '/api/bans/{ip}',
    summary: 'Lift a ban',
    description:
      'Lifts the ban of an address or a network as listed, or of the network that contains the address. Write a slash as %2F.',
    scope: 'admin',
    query: noParameters,
    inPath: { ip: 'Address or network.' },
    answer: answers.unbanned,
    problems: [400, 401, 403, 404, 429, 503],
  },
  {
    method: 'get',
    path: '/metrics',
    summary: 'Get metrics',
    description: 'Returns metrics for Prometheus. docs/reference/METRICS.md describes them.',
    scope: 'read',
    query: noParameters,
    answer: null,
    types: ['text/plain'],
    problems: [401, 429],
  },
  {
    method: 'get',
    path: '/healthz',
    summary: 'Check liveness',
    description: '200: the daemon works. 503: a part of it hangs, so it must be restarted.',
    scope: null,
    query: noParameters,
    answer: answers.healthSchema,
    problems: [],
  },
  {
    method: 'get',
    path: '/readyz',
    summary: 'Check readiness',
    description: '200: every source and sink works. 503: a source or sink fails; `failing` has its name.',
    scope: null,
    query: noParameters,
    answer: answers.healthSchema,
    problems: [],
  },
];

const PROBLEMS: Readonly<Record<number, string>> = {
  400: 'A parameter is invalid; `parameter` has its name.',
  401: 'The token is missing, invalid or expired.',
  403: 'The token can only read.',
  404: 'The entry or ban does not exist.',
  429: 'Too many failed attempts from this address.',
  503: 'Too many requests at once, the query took too long, or the database or fail2ban does not answer.',
};

/** The OpenAPI 3.1 document, generated from the schemas that validate requests. */
export function openApiDocument(): Json {
  const paths: Record<string, Record<string, Json>> = {};
  for (const operation of OPERATIONS) {
    paths[operation.path] = { ...paths[operation.path], [operation.method]: describeOperation(operation) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'postern-auditd',
      version: VERSION,
      description: 'The audit log of Postern Proxy: entries, counts, live events and bans. Times are UTC.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
    security: [{ token: [] }],
    paths,
    components: {
      schemas: schemas(),
      securitySchemes: {
        token: {
          type: 'http',
          scheme: 'bearer',
          description: 'Create one with: postern-auditd token create NAME',
        },
      },
    },
  };
}

const NAMED = {
  Entry: answers.entry,
  Page: answers.page,
  Stats: answers.statsSchema,
  Bans: answers.bansSchema,
  Health: answers.healthSchema,
  Problem: answers.problemSchema,
};

function schemas(): Json {
  const registry = z.registry<{ id: string }>();
  for (const [id, schema] of Object.entries(NAMED)) registry.add(schema, { id });
  registry.add(answers.ban, { id: 'Ban' });
  const { schemas: made } = z.toJSONSchema(registry, {
    uri: (id) => `#/components/schemas/${id}`,
    io: 'output',
  });
  return Object.fromEntries(Object.entries(made).map(([name, schema]) => [name, withoutIds(schema as Json)]));
}

/** The schema without members that have no meaning in an OpenAPI document. */
function withoutIds({ $schema: _schema, $id: _id, id: _name, ...rest }: Json): Json {
  return rest;
}

function describeOperation({
  summary,
  description,
  scope,
  query,
  inPath = {},
  answer,
  types = [],
  problems,
}: Operation): Json {
  const content = {
    ...(answer === null ? {} : { 'application/json': { schema: schemaOf(answer) } }),
    ...Object.fromEntries(types.map((type) => [type, { schema: { type: 'string' } }])),
  };
  const failures = problems.map((status) => [
    String(status),
    {
      description: PROBLEMS[status],
      content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
    },
  ]);
  return {
    summary,
    description: scope === null ? `${description} Needs no token.` : `${description} Scope: ${scope}.`,
    ...(scope === null ? { security: [] } : {}),
    parameters: [
      ...Object.entries(inPath).map(([name, text]) => ({
        name,
        in: 'path',
        required: true,
        description: text,
        schema: { type: 'string' },
      })),
      ...queryParameters(query),
    ],
    responses: { '200': { description: 'Success.', content }, ...Object.fromEntries(failures) },
  };
}

function schemaOf(answer: z.ZodType): Json {
  const name = Object.entries(NAMED).find(([, schema]) => schema === answer)?.[0];
  return name === undefined
    ? withoutIds(z.toJSONSchema(answer) as Json)
    : { $ref: `#/components/schemas/${name}` };
}

export interface QueryParameter {
  readonly name: string;
  readonly in: 'query';
  readonly required: false;
  readonly description: string;
  readonly schema: Json;
}

export function queryParameters(query: z.ZodObject): QueryParameter[] {
  const { properties = {} } = z.toJSONSchema(query, { io: 'input' });
  return Object.entries(properties).map(([name, property]) => {
    const {
      description = '',
      pattern: _pattern,
      ...schema
    } = property as Json & { readonly description?: string };
    const standard =
      schema.type === 'integer' && schema.default !== undefined ? { default: Number(schema.default) } : {};
    return { name, in: 'query', required: false, description, schema: { ...schema, ...standard } };
  });
}
