import { groupedDigits } from '../../grouped-digits.js';
import type { PageResult } from '../../query/page.js';
import { link, PER_PAGE, type View } from './view-url.js';

export function Pager({ view, result }: { view: View; result: PageResult }) {
  const { page, written } = view;
  const total = result.total ?? 0;
  const pages = Math.max(1, Math.ceil(total / PER_PAGE));
  const first = (page - 1) * PER_PAGE + 1;
  const last = first + result.entries.length - 1;
  const of = `${result.total_exact ? '' : 'more than '}${groupedDigits(total)}`;
  const more = result.next !== null;
  return (
    <nav class="pager" aria-label="Pages">
      <p>
        {result.entries.length === 0
          ? `No entries on page ${groupedDigits(page)}`
          : `${groupedDigits(first)}–${groupedDigits(last)} of ${of}`}
      </p>
      <ul>
        <Step to={page > 1 ? link(written) : null} title="First" rel="first" />
        <Step to={page > 1 ? link(written, { page: page - 1 }) : null} title="Previous" rel="prev" />
        <li>
          <span aria-current="page">
            Page {groupedDigits(page)}
            {result.total_exact ? ` of ${groupedDigits(pages)}` : ''}
          </span>
        </li>
        <Step to={more ? link(written, { page: page + 1 }) : null} title="Next" rel="next" />
        {result.total_exact ? (
          <Step to={more && pages > page ? link(written, { page: pages }) : null} title="Last" rel="last" />
        ) : null}
      </ul>
    </nav>
  );
}

function Step({ to, title, rel }: { to: string | null; title: string; rel: string }) {
  return (
    <li>
      {to === null ? (
        <span class="off" aria-disabled="true">
          {title}
        </span>
      ) : (
        <a href={to} rel={rel}>
          {title}
        </a>
      )}
    </li>
  );
}
