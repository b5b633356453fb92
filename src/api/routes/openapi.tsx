import { Hono } from 'hono';
import type { FC } from 'hono/jsx';
import { toSafeJson } from '../../audit/unsafe-characters.js';
import { VERSION } from '../../version.js';
import type { ApiEnv } from '../context.js';
import { OPERATIONS, openApiDocument, queryParameters } from '../openapi.js';

/** `/api/audit-log/openapi.json`, and the same as a page at `/api/audit-log/docs`. Neither says anything about this host, so neither needs a token. */
export function openapiRoutes(): Hono<ApiEnv> {
  const app = new Hono<ApiEnv>();
  let text: string | null = null;
  app.get('/api/audit-log/openapi.json', (c) => {
    text ??= `${toSafeJson(openApiDocument(), 2)}\n`;
    return c.body(text, 200, { 'content-type': 'application/json' });
  });
  app.get('/api/audit-log/docs.css', (c) =>
    c.body(STYLE, 200, { 'content-type': 'text/css; charset=utf-8' }),
  );
  app.get('/api/audit-log/docs', (c) => c.html(<Docs />));
  return app;
}

const Docs: FC = () => (
  <html lang="en">
    <head>
      <meta charset="utf-8" />
      <meta name="viewport" content="width=device-width, initial-scale=1" />
      <title>postern-auditd API</title>
      <link rel="stylesheet" href="/api/audit-log/docs.css" />
    </head>
    <body>
      <main>
        <h1>postern-auditd {VERSION}: the API</h1>
        <p>
          Send a token with each request: <code>Authorization: Bearer TOKEN</code>. Create one with{' '}
          <code>postern-auditd token create NAME</code>. Errors are problem details (RFC 9457):{' '}
          <code>detail</code> says what was found, <code>next</code> what to do, <code>parameter</code> which
          parameter is invalid. For programs: <a href="/api/audit-log/openapi.json">openapi.json</a> (OpenAPI
          3.1).
        </p>
        {OPERATIONS.map(({ method, path, summary, description, scope, query, inPath = {} }) => (
          <section>
            <h2>
              <code>
                {method.toUpperCase()} {path}
              </code>
            </h2>
            <p>
              <strong>{summary}.</strong> {description}{' '}
              {scope === null ? 'Needs no token.' : `Scope: ${scope}.`}
            </p>
            <Parameters
              rows={[
                ...Object.entries(inPath).map(([name, text]) => [name, text, 'in the path'] as const),
                ...queryParameters(query).map(
                  ({ name, description: text, schema }) => [name, text, allowedValues(schema)] as const,
                ),
              ]}
            />
          </section>
        ))}
      </main>
    </body>
  </html>
);

const Parameters: FC<{ rows: ReadonlyArray<readonly [string, string, string]> }> = ({ rows }) =>
  rows.length === 0 ? null : (
    <table>
      <thead>
        <tr>
          <th scope="col">Parameter</th>
          <th scope="col">Meaning</th>
          <th scope="col">Values</th>
        </tr>
      </thead>
      <tbody>
        {rows.map(([name, text, values]) => (
          <tr>
            <th scope="row">
              <code>{name}</code>
            </th>
            <td>{text}</td>
            <td>{values}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );

function allowedValues(schema: Readonly<Record<string, unknown>>): string {
  if (Array.isArray(schema.enum)) return schema.enum.join(', ');
  if (schema.minimum === undefined) return 'text';
  return `${String(schema.minimum)} to ${String(schema.maximum)}, default ${String(schema.default)}`;
}

const STYLE = `:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;margin:0}
main{max-width:60rem;margin:0 auto;padding:1rem}
h2{font-size:1.1rem;margin-top:2rem}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.3rem .6rem;border-bottom:1px solid #8886}
`;
