import { z } from 'zod';
import { VERSION } from '../version.js';
import { listParameters, noParameters, statsParameters, streamParameters } from './request-schemas.js';
import * as answers from './response-schemas.js';

type Json = Readonly<Record<string, unknown>>;

/** A route as its description has it. */
interface Operation {
  readonly method: 'get' | 'delete';
  readonly path: string;
  readonly summary: string;
  readonly description: string;
  readonly scope: 'read' | 'admin' | null;
  readonly query: z.ZodObject;
  readonly inPath?: Readonly<Record<string, string>>;
  readonly answer: z.ZodType | null;
  /** Besides JSON, or instead of it where there is no schema. */
  readonly types?: readonly string[];
  readonly problems: readonly number[];
}

/** What there is; a test asks each and compares its answer with the schema. */
export const OPERATIONS: readonly Operation[] = [
  {
    method: 'get',
    path: '/api/audit-log',
    summary: 'Entries, the newest first',
    description:
      'A page of what the filter means, or all of it as a stream with `limit=0`. CSV and NDJSON by `format` or Accept; the header Link names the next page.',
    scope: 'read',
    query: listParameters,
    answer: answers.page,
    types: ['application/x-ndjson', 'text/csv'],
    problems: [400, 401, 429, 503],
  },
  {
    method: 'get',
    path: '/api/audit-log/{id}',
    summary: 'One entry',
    description: 'By its id, `postern:4711`; a bare number means Postern.',
    scope: 'read',
    query: noParameters,
    inPath: { id: '`<source>:<row id>`, or the row id alone.' },
    answer: answers.entry,
    problems: [400, 401, 404, 429, 503],
  },
  {
    method: 'get',
    path: '/api/audit-log/stats',
    summary: 'Counts',
    description: 'Who did what from where, and how much a day. Goes over every entry that the filter means.',
    scope: 'read',
    query: statsParameters,
    answer: answers.statsSchema,
    problems: [400, 401, 429, 503],
  },
  {
    method: 'get',
    path: '/api/audit-log/stream',
    summary: 'What happens, live',
    description:
      'Server-sent events: `event: entry` with an entry as its data. Who comes back with Last-Event-ID is told what it missed, at most 1,000 entries; `event: gap` says that there were more. `event: version` has a later version of an edited entry, which `version_of` names: no new entry.',
    scope: 'read',
    query: streamParameters,
    answer: null,
    types: ['text/event-stream'],
    problems: [400, 401, 429, 503],
  },
  {
    method: 'get',
    path: '/api/bans',
    summary: 'Who is banned now',
    description: 'As fail2ban has it.',
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
      'Of an address or a network, as it is listed, or of the network that the address lies in. A slash is written %2F.',
    scope: 'admin',
    query: noParameters,
    inPath: { ip: 'Address or network.' },
    answer: answers.unbanned,
    problems: [400, 401, 403, 404, 429, 503],
  },
  {
    method: 'get',
    path: '/metrics',
    summary: 'Metrics',
    description: 'For Prometheus; docs/reference/METRICS.md lists them.',
    scope: 'read',
    query: noParameters,
    answer: null,
    types: ['text/plain'],
    problems: [401, 429],
  },
  {
    method: 'get',
    path: '/healthz',
    summary: 'Liveness: whether the daemon must be restarted',
    description: '503: a part of the daemon hangs; restart it.',
    scope: null,
    query: noParameters,
    answer: answers.healthSchema,
    problems: [],
  },
  {
    method: 'get',
    path: '/readyz',
    summary: 'Readiness: whether every source and sink works',
    description: '503: a source or a sink fails; `failing` names it.',
    scope: null,
    query: noParameters,
    answer: answers.healthSchema,
    problems: [],
  },
];

const PROBLEMS: Readonly<Record<number, string>> = {
  400: 'A parameter is invalid; the answer names it.',
  401: 'The token is missing or not valid.',
  403: 'The token may only read.',
  404: 'Not found.',
  429: 'Too many failed attempts from this address.',
  503: 'Not now: too many requests at once, the query took too long, or the database or fail2ban does not answer.',
};

/** OpenAPI 3.1, made of the schemas with which requests are checked. */
export function openApiDocument(): Json {
  const paths: Record<string, Record<string, Json>> = {};
  for (const operation of OPERATIONS) {
    paths[operation.path] = { ...paths[operation.path], [operation.method]: described(operation) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'postern-auditd',
      version: VERSION,
      description: 'The audit log of Postern Proxy: entries, counts, live events, bans. Times are UTC.',
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
  return Object.fromEntries(Object.entries(made).map(([name, schema]) => [name, plain(schema as Json)]));
}

/** Without what has no meaning inside an OpenAPI document. */
function plain({ $schema: _schema, $id: _id, id: _name, ...rest }: Json): Json {
  return rest;
}

function described({
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
    responses: { '200': { description: 'That is it.', content }, ...Object.fromEntries(failures) },
  };
}

function schemaOf(answer: z.ZodType): Json {
  const name = Object.entries(NAMED).find(([, schema]) => schema === answer)?.[0];
  return name === undefined
    ? plain(z.toJSONSchema(answer) as Json)
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
