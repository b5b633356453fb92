import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OPERATIONS, openApiDocument } from '../../src/api/openapi.js';
import { ApiRig } from './api-fixture.js';

let rig: ApiRig;
let token: string;

beforeAll(async () => {
  rig = await ApiRig.start();
  token = await rig.token('admin', 'admin');
  rig.daemon.append(10);
  await rig.daemon.shipped();
});
afterAll(() => rig.close());

interface Described {
  readonly paths: Record<
    string,
    Record<string, { responses: Record<string, unknown>; parameters: Array<{ name: string }> }>
  >;
}

describe('the description of the API', () => {
  it('the API description is OpenAPI 3.1 without dangling references', async () => {
    const document = (await rig.ask('/api/audit-log/openapi.json', null)).json();
    expect(document.openapi).toBe('3.1.0');
    expect(document).toEqual(JSON.parse(JSON.stringify(openApiDocument())));
    const text = JSON.stringify(document);
    const references = [...text.matchAll(/"\$ref":"#\/([^"]+)"/g)].map(([, path = '']) => path.split('/'));
    expect(references.length).toBeGreaterThan(10);
    for (const path of references) {
      const found = path.reduce(
        (at: Record<string, unknown> | undefined, key) => at?.[key] as Record<string, unknown>,
        document,
      );
      expect(found, path.join('/')).toBeDefined();
    }
  });

  it.each(OPERATIONS.map((operation) => [`${operation.method} ${operation.path}`, operation] as const))(
    '%s answers as described',
    async (_, { method, path, answer, types, problems, scope }) => {
      if (path.endsWith('/stream')) return; // never ends; test/api/stream.test.ts has it
      const { status, text, headers } = await rig.ask(
        path.replace('{id}', '3').replace('{ip}', '192.0.2.1'),
        scope === null ? null : token,
        {
          method: method.toUpperCase(),
        },
      );
      if (status === 200) {
        if (answer === null)
          expect(types?.some((type) => headers.get('content-type')?.startsWith(type))).toBe(true);
        else answer.parse(JSON.parse(text));
      } else {
        expect(path).toMatch(/^\/(api\/bans|readyz)/); // there is no fail2ban with our jail here
        if (path !== '/readyz') expect(problems).toContain(status);
      }
    },
  );

  it('the API description lists exactly the parameters that are accepted', async () => {
    const { paths } = openApiDocument() as unknown as Described;
    const names = paths['/api/audit-log']?.get?.parameters.map(({ name }) => name) ?? [];
    expect(names).toContain('resource_type');
    for (const name of names) {
      const values: Record<string, string> = {
        page: '1',
        limit: '1',
        ip: '192.0.2.1',
        outcome: 'failure',
        source: 'postern',
        from: '-1d',
        to: 'now',
        format: 'json',
      };
      const { status } = await rig.ask(`/api/audit-log?${name}=${values[name] ?? ''}`, token);
      expect([name, status]).toEqual([name, 200]);
    }
  });

  it('the API description is available as a page that loads nothing from other hosts', async () => {
    const { text, headers } = await rig.ask('/api/audit-log/docs', null);
    expect(headers.get('content-type')).toMatch(/^text\/html/);
    for (const { path } of OPERATIONS) expect(text).toContain(path);
    expect(text).not.toMatch(/(src|href)="https?:|<script|style=/);
    expect((await rig.ask('/api/audit-log/docs.css', null)).headers.get('content-type')).toMatch(
      /^text\/css/,
    );
  });
});
