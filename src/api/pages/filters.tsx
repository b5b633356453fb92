import type { FilterKey } from '../../query/filter.js';
import { PAGE } from '../paths.js';
import { resourceTitle } from './entries.js';
import { markInvisible } from './escape-invisible.js';
import { Icon } from './icons.js';
import { ACTIONS, nounOf } from './labels.js';
import { exportLink, link, type View } from './view-url.js';

export interface FiltersProps {
  readonly view: View;
  /** For the menus: what there is. */
  readonly users: readonly string[];
  readonly servers: readonly string[];
}

const NAMES: Readonly<Record<FilterKey | 'until', string>> = {
  resource_type: 'Resource type',
  action: 'Action',
  user: 'User',
  from: 'From',
  to: 'Before',
  until: 'Until',
  server: 'Server',
  ip: 'Address',
  outcome: 'Outcome',
  source: 'Recorded by',
  q: 'Details contain',
  archives: 'Archived entries',
  allow_missing: 'Missing archives',
};

const SPANS = [
  ['-1h', 'Last hour'],
  ['-24h', '24 hours'],
  ['-7d', '7 days'],
  ['-30d', '30 days'],
] as const;

const DATE = /^\d{4}-\d\d-\d\d$/;

export function Filters({ view, users, servers }: FiltersProps) {
  const { written } = view;
  const hidden = (['from', 'to'] as const).filter((key) => key === 'to' && written.to !== undefined);
  const more = (['ip', 'outcome', 'source', 'q', 'archives'] as const).some(
    (key) => written[key] !== undefined,
  );
  const multi = servers.length > 1 || written.server !== undefined;
  return (
    <section class="filters" aria-label="Filters">
      <form method="get" action={PAGE}>
        <div class="fields">
          <Field name="resource_type" view={view}>
            <select name="resource_type" id="f-resource_type">
              <option value="">All</option>
              {withCurrent(
                ACTIONS.map(([category]) => category),
                written.resource_type,
              ).map((type) => (
                <option value={type} selected={type === written.resource_type}>
                  {resourceTitle(type)}
                </option>
              ))}
            </select>
          </Field>
          <Field name="action" view={view}>
            <select name="action" id="f-action">
              <option value="">All</option>
              {written.action === undefined ||
              ACTIONS.some(([, all]) => all.some(({ action }) => action === written.action)) ? null : (
                <option value={written.action} selected>
                  {markInvisible(written.action, 60)}
                </option>
              )}
              {ACTIONS.map(([category, actions]) => (
                <optgroup label={nounOf(category)}>
                  {actions.map(({ action, title }) => (
                    <option value={action} selected={action === written.action}>
                      {title}
                    </option>
                  ))}
                </optgroup>
              ))}
            </select>
          </Field>
          <Field name="user" view={view}>
            <input
              name="user"
              id="f-user"
              value={written.user ?? ''}
              list="users"
              placeholder="Name or email"
              autocomplete="off"
              maxlength={200}
              dir="auto"
            />
            <datalist id="users">
              {users.map((user) => (
                <option value={user} />
              ))}
            </datalist>
          </Field>
          <Field name="from" view={view}>
            <input
              type="date"
              name="from"
              id="f-from"
              value={DATE.test(written.from ?? '') ? written.from : ''}
            />
          </Field>
          <Field name="until" view={view}>
            <input type="date" name="until" id="f-until" value={written.until ?? ''} />
          </Field>
          {multi ? (
            <Field name="server" view={view}>
              <select name="server" id="f-server">
                <option value="">All</option>
                {withCurrent(servers, written.server).map((server) => (
                  <option value={server} selected={server === written.server}>
                    {markInvisible(server, 60)}
                  </option>
                ))}
              </select>
            </Field>
          ) : null}
          <div class="field go">
            <button type="submit" class="primary">
              Apply
            </button>
          </div>
        </div>
        {hidden.map((key) => (
          <input type="hidden" name={key} value={written[key] ?? ''} />
        ))}
        <details class="more" open={more}>
          <summary>More filters</summary>
          <div class="fields">
            <Field name="ip" view={view}>
              <input
                name="ip"
                id="f-ip"
                value={written.ip ?? ''}
                placeholder="203.0.113.7 or 192.0.2.0/24"
                autocomplete="off"
                maxlength={60}
              />
            </Field>
            <Field name="outcome" view={view}>
              <select name="outcome" id="f-outcome">
                {['', 'success', 'failure', 'unknown'].map((outcome) => (
                  <option value={outcome} selected={outcome === (written.outcome ?? '')}>
                    {outcome === '' ? 'All' : nounOf(outcome)}
                  </option>
                ))}
              </select>
            </Field>
            <Field name="source" view={view}>
              <select name="source" id="f-source">
                {[
                  ['', 'Both'],
                  ['postern', 'Postern'],
                  ['auditd', 'The audit daemon'],
                ].map(([source, title]) => (
                  <option value={source} selected={source === (written.source ?? '')}>
                    {title}
                  </option>
                ))}
              </select>
            </Field>
            <Field name="q" view={view}>
              <input
                name="q"
                id="f-q"
                value={written.q ?? ''}
                autocomplete="off"
                maxlength={200}
                dir="auto"
              />
            </Field>
            <Field name="archives" view={view}>
              <select name="archives" id="f-archives">
                <option value="">Shown, too</option>
                <option value="false" selected={written.archives === 'false'}>
                  Left out
                </option>
              </select>
            </Field>
          </div>
        </details>
      </form>
      <div class="under">
        <nav class="spans" aria-label="Time">
          {SPANS.map(([from, title]) => {
            const current = written.from === from && written.until === undefined && written.to === undefined;
            return (
              <a
                href={link(written, { from, to: null, until: null })}
                aria-current={current ? 'true' : undefined}
              >
                {title}
              </a>
            );
          })}
          <a
            href={link(written, { from: null, to: null, until: null })}
            aria-current={(written.from ?? written.until ?? written.to) ? undefined : 'true'}
          >
            All time
          </a>
        </nav>
        <Chips view={view} />
        {view.error === null ? <Exports view={view} /> : null}
      </div>
    </section>
  );
}

function Exports({ view }: { view: View }) {
  return (
    <div class="exports">
      <span id="export-what">Export</span>
      <a
        class="button"
        href={exportLink(view, 'csv')}
        download="audit-log.csv"
        aria-describedby="export-what"
      >
        <Icon name="down" />
        CSV
      </a>
      <a
        class="button"
        href={exportLink(view, 'ndjson')}
        download="audit-log.ndjson"
        aria-describedby="export-what"
      >
        <Icon name="down" />
        NDJSON
      </a>
    </div>
  );
}

/** What is filtered now, each to be taken away. */
function Chips({ view: { written } }: { view: View }) {
  const spans: readonly string[] = SPANS.map(([from]) => from);
  const active = (Object.keys(NAMES) as Array<FilterKey | 'until'>).filter(
    (key) => written[key] !== undefined && !(key === 'from' && spans.includes(written.from ?? '')),
  );
  if (active.length === 0) return null;
  return (
    <ul class="chips" aria-label="Active filters">
      {active.map((key) => (
        <li>
          <a href={link(written, { [key]: null })}>
            <span class="sr">Remove the filter </span>
            {NAMES[key]}: <bdi>{markInvisible(written[key] ?? '', 40)}</bdi> <span aria-hidden="true">×</span>
          </a>
        </li>
      ))}
      <li>
        <a class="clear" href={PAGE}>
          Clear all
        </a>
      </li>
    </ul>
  );
}

interface FieldProps {
  readonly name: FilterKey | 'until';
  readonly view: View;
  readonly children?: unknown;
}

function Field({ name, view, children }: FieldProps) {
  const wrong = view.error?.parameter === name ? view.error.message : null;
  return (
    <div class={wrong === null ? `field f-${name}` : `field f-${name} wrong`}>
      <label for={`f-${name}`}>{NAMES[name]}</label>
      {children}
      {wrong === null ? null : <p class="error">{markInvisible(wrong, 200)}</p>}
    </div>
  );
}

function withCurrent(all: readonly string[], current: string | undefined): readonly string[] {
  return current === undefined || all.includes(current) ? all : [current, ...all];
}
