import type { FilterKey } from '../../query/filter.js';
import { PAGE } from '../paths.js';
import { resourceTitle } from './entries.js';
import { markInvisible } from './escape-invisible.js';
import { Icon } from './icons.js';
import { ACTIONS, nounOf } from './labels.js';
import { exportLink, link, type View } from './view-url.js';

export interface FiltersProps {
  readonly view: View;
  /** Values for the menus. */
  readonly users: readonly string[];
  readonly servers: readonly string[];
}

const NAMES: Readonly<Record<FieldName, string>> = {
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

type FieldName = FilterKey | 'until';
type Option = readonly [value: string, title: string];

/** How a filter is entered: a menu of options, a menu with groups, a date, or text. */
type FieldSpec = { readonly name: FieldName } & (
  | { readonly kind: 'menu'; readonly options: (props: FiltersProps) => readonly Option[] }
  | { readonly kind: 'actions' }
  | { readonly kind: 'date' }
  | {
      readonly kind: 'text';
      readonly maxLength: number;
      readonly placeholder?: string;
      /** Proposals, under the id of their list. */
      readonly proposals?: {
        readonly id: string;
        readonly values: (props: FiltersProps) => readonly string[];
      };
      /** Text written by people, which may run from right to left. */
      readonly isProse?: boolean;
    }
);

const ALL: Option = ['', 'All'];

const FIELDS: readonly FieldSpec[] = [
  {
    name: 'resource_type',
    kind: 'menu',
    options: ({ view: { written } }) => [
      ALL,
      ...withCurrent(
        ACTIONS.map(([category]) => category),
        written.resource_type,
      ).map((type): Option => [type, resourceTitle(type)]),
    ],
  },
  { name: 'action', kind: 'actions' },
  {
    name: 'user',
    kind: 'text',
    maxLength: 200,
    placeholder: 'Name or email',
    proposals: { id: 'users', values: ({ users }) => users },
    isProse: true,
  },
  { name: 'from', kind: 'date' },
  { name: 'until', kind: 'date' },
];

/** Shown if there is more than one server. */
const SERVER_FIELD: FieldSpec = {
  name: 'server',
  kind: 'menu',
  options: ({ servers, view: { written } }) => [
    ALL,
    ...withCurrent(servers, written.server).map((server): Option => [server, markInvisible(server, 60)]),
  ],
};

const MORE_FIELDS: readonly FieldSpec[] = [
  { name: 'ip', kind: 'text', maxLength: 60, placeholder: '203.0.113.7 or 192.0.2.0/24' },
  {
    name: 'outcome',
    kind: 'menu',
    options: () => [
      ALL,
      ...['success', 'failure', 'unknown'].map((outcome): Option => [outcome, nounOf(outcome)]),
    ],
  },
  {
    name: 'source',
    kind: 'menu',
    options: () => [
      ['', 'Both'],
      ['postern', 'Postern'],
      ['auditd', 'The audit daemon'],
    ],
  },
  { name: 'q', kind: 'text', maxLength: 200, isProse: true },
  {
    name: 'archives',
    kind: 'menu',
    options: () => [
      ['', 'Included'],
      ['false', 'Excluded'],
    ],
  },
];

/** The form with the filters, links to spans of time, the active filters, and the links to exports. */
export function Filters(props: FiltersProps) {
  const { view, servers } = props;
  const { written } = view;
  const isOpen = MORE_FIELDS.some(({ name }) => written[name] !== undefined);
  const hasServers = servers.length > 1 || written.server !== undefined;
  const fields = hasServers ? [...FIELDS, SERVER_FIELD] : FIELDS;
  return (
    <section class="filters" aria-label="Filters">
      <form method="get" action={PAGE}>
        <div class="fields">
          {fields.map((spec) => (
            <Field spec={spec} props={props} />
          ))}
          <div class="field go">
            <button type="submit" class="primary">
              Apply
            </button>
          </div>
        </div>
        {written.to === undefined ? null : <input type="hidden" name="to" value={written.to} />}
        <details class="more" open={isOpen}>
          <summary>More filters</summary>
          <div class="fields">
            {MORE_FIELDS.map((spec) => (
              <Field spec={spec} props={props} />
            ))}
          </div>
        </details>
      </form>
      <div class="under">
        <Spans view={view} />
        <Chips view={view} />
        {view.error === null ? <Exports view={view} /> : null}
      </div>
    </section>
  );
}

/** Links to the usual spans of time. */
function Spans({ view: { written } }: { view: View }) {
  const isSpan = written.until === undefined && written.to === undefined;
  return (
    <nav class="spans" aria-label="Time">
      {SPANS.map(([from, title]) => (
        <a
          href={link(written, { from, to: null, until: null })}
          aria-current={isSpan && written.from === from ? 'true' : undefined}
        >
          {title}
        </a>
      ))}
      <a
        href={link(written, { from: null, to: null, until: null })}
        aria-current={(written.from ?? written.until ?? written.to) ? undefined : 'true'}
      >
        All time
      </a>
    </nav>
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

/** The active filters, each with a link that removes it. */
function Chips({ view: { written } }: { view: View }) {
  const spans: readonly string[] = SPANS.map(([from]) => from);
  const active = (Object.keys(NAMES) as FieldName[]).filter(
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
  readonly spec: FieldSpec;
  readonly props: FiltersProps;
}

function Field({ spec, props }: FieldProps) {
  const { name } = spec;
  const { error } = props.view;
  const wrong = error?.parameter === name ? error.message : null;
  return (
    <div class={wrong === null ? `field f-${name}` : `field f-${name} wrong`}>
      <label for={`f-${name}`}>{NAMES[name]}</label>
      <Control spec={spec} props={props} />
      {wrong === null ? null : <p class="error">{markInvisible(wrong, 200)}</p>}
    </div>
  );
}

function Control({ spec, props }: FieldProps) {
  const { name } = spec;
  const value = props.view.written[name] ?? '';
  const id = `f-${name}`;
  switch (spec.kind) {
    case 'menu':
      return (
        <select name={name} id={id}>
          {spec.options(props).map(([option, title]) => (
            <option value={option} selected={option !== '' && option === value}>
              {title}
            </option>
          ))}
        </select>
      );
    case 'actions':
      return <ActionMenu current={props.view.written.action} />;
    case 'date':
      return <input type="date" name={name} id={id} value={DATE.test(value) ? value : ''} />;
    case 'text':
      return (
        <>
          <input
            name={name}
            id={id}
            value={value}
            list={spec.proposals?.id}
            placeholder={spec.placeholder}
            autocomplete="off"
            maxlength={spec.maxLength}
            dir={spec.isProse === true ? 'auto' : undefined}
          />
          {spec.proposals === undefined ? null : (
            <datalist id={spec.proposals.id}>
              {spec.proposals.values(props).map((proposal) => (
                <option value={proposal} />
              ))}
            </datalist>
          )}
        </>
      );
  }
}

/** The actions of the catalog by category, and the current one if it is not in the catalog. */
function ActionMenu({ current }: { current: string | undefined }) {
  const isKnown = ACTIONS.some(([, all]) => all.some(({ action }) => action === current));
  return (
    <select name="action" id="f-action">
      <option value="">All</option>
      {current === undefined || isKnown ? null : (
        <option value={current} selected>
          {markInvisible(current, 60)}
        </option>
      )}
      {ACTIONS.map(([category, actions]) => (
        <optgroup label={nounOf(category)}>
          {actions.map(({ action, title }) => (
            <option value={action} selected={action === current}>
              {title}
            </option>
          ))}
        </optgroup>
      ))}
    </select>
  );
}

function withCurrent(all: readonly string[], current: string | undefined): readonly string[] {
  return current === undefined || all.includes(current) ? all : [current, ...all];
}
