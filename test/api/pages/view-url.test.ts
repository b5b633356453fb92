import { describe, expect, it } from 'vitest';
import { exportLink, link, readView } from '../../../src/api/pages/view-url.js';

const NOW = Date.UTC(2026, 10, 22, 20, 21);
const read = (query: string) => readView(new URLSearchParams(query), NOW);

describe('the URL of the page', () => {
  it('the URL of the page has the filters; empty ones are ignored', () => {
    const view = read('resource_type=proxy_host&action=&user=anna&page=3&other=1');
    expect(view.written).toEqual({ resource_type: 'proxy_host', user: 'anna' });
    expect([view.filter.resourceType, view.filter.user, view.page, view.error]).toEqual([
      'proxy_host',
      'anna',
      3,
      null,
    ]);
  });

  it('the URL of the page keeps spaces in names, and ignores those around times and addresses', () => {
    for (const user of ['admin ', ' admin', ' ', 'admin\u00a0', 'admin\n', '\ufeffadmin']) {
      const { filter, written } = read(link({}, { user }).split('?')[1] ?? '');
      expect([filter.user, link(written)]).toEqual([user, link({}, { user })]);
    }
    const { filter, error } = read('from=+2026-11-20+&until=2026-11-22+&ip=+203.0.113.7+&q=+x+');
    expect(error).toBeNull();
    expect([filter.from, filter.q]).toEqual([Date.UTC(2026, 10, 20), ' x ']);
    expect(read('from=++&to=+&ip=+').written).toEqual({});
  });

  it('the URL of the page includes the last day, while the end of the API is exclusive', () => {
    const view = read('from=2026-11-20&until=2026-11-22');
    expect(view.filter.from).toBe(Date.UTC(2026, 10, 20));
    expect(view.filter.to).toBe(Date.UTC(2026, 10, 23));
    expect(exportLink(view, 'csv')).toBe('/api/audit-log?format=csv&limit=0&from=2026-11-20&to=2026-11-23');
  });

  it.each([
    ['from=yesterday', 'from'],
    ['until=2026-13-01', 'until'],
    ['until=soon', 'until'],
    ['from=2026-11-22&until=2026-11-20', 'until'],
    ['ip=example.org', 'ip'],
    ['outcome=maybe', 'outcome'],
    ['page=0', 'page'],
    ['page=-1', 'page'],
    ['page=99999999', 'page'],
    [`user=${'x'.repeat(2_000)}`, 'user'],
  ])('the URL of the page is rejected with the invalid parameter: %s', (query, parameter) => {
    expect(read(query).error?.parameter).toBe(parameter);
  });

  it('the URL of a link starts at page 1', () => {
    const { written } = read('user=anna&page=7&q=a%26b');
    expect(link(written, { action: 'auth.logout' })).toBe('/audit-log?user=anna&q=a%26b&action=auth.logout');
    expect(link(written, { user: null, q: null })).toBe('/audit-log');
    expect(link(written, { page: 2 })).toBe('/audit-log?user=anna&q=a%26b&page=2');
  });
});
