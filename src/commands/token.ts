import { Argument, type Command, Option } from 'commander';
import type { ShownToken } from '../api/routes/tokens.js';
import { toSafeJson } from '../audit/unsafe-characters.js';
import type { Contacts } from '../config/load.js';
import { AuditdError } from '../errors.js';
import { contactsOf } from './support/contacts.js';
import { byDaemonOrOffline } from './support/daemon-or-offline.js';
import { aligned, createPaint, wantsColour } from './support/terminal.js';
import { shownTime, timesFor, type UtcOption, withUtc } from './support/times.js';

interface Options extends UtcOption {
  readonly scope: 'read' | 'admin';
  readonly expires?: string;
  readonly config?: string;
  readonly json?: boolean;
}

type Verb = 'create' | 'list' | 'revoke';

export function registerToken(program: Command): void {
  withUtc(program.command('token').description('Create, list and revoke tokens of the HTTP API'))
    .addArgument(new Argument('<verb>', 'action').choices(['create', 'list', 'revoke']))
    .argument('[name]', 'name of the token; revoke also accepts its id')
    .addOption(
      new Option('--scope <scope>', 'read, or admin to also change things')
        .choices(['read', 'admin'])
        .default('read'),
    )
    .option('--expires <span>', 'lifetime, such as 90d (default: never expires)')
    .option('--config <file>', 'configuration file (names the control socket and the state)')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
A token is shown once, when it is created; only its hash is kept. Creating and revoking are recorded as events. The daemon
does both; when it is not running, the command does.

Examples:
  $ sudo postern-auditd token create grafana --expires 90d
  $ sudo postern-auditd token create ada --scope admin
  $ sudo postern-auditd token list
  $ sudo postern-auditd token revoke grafana`,
    )
    .action(async (verb: Verb, name: string | undefined, options: Options) => {
      const config = await contactsOf(options.config, 'control');
      if (verb !== 'list' && name === undefined) {
        throw new AuditdError('USAGE', `token ${verb}: the name is missing`, {
          next: `Give it: postern-auditd token ${verb} grafana`,
        });
      }
      if (verb === 'create') await create(config, name ?? '', options);
      else if (verb === 'revoke') await revoke(config, name ?? '', options);
      else await list(config, options);
    });
}

interface Made {
  readonly token: string;
  readonly info: ShownToken;
}

async function create(config: Contacts, name: string, options: Options): Promise<void> {
  const { scope, json } = options;
  const expires = options.expires ?? null;
  const { newToken } = await import('../api/request-schemas.js');
  const parsed = newToken.safeParse({ name, scope, expires });
  if (!parsed.success) {
    throw new AuditdError('USAGE', `--expires: found ${JSON.stringify(expires)}`, {
      next: 'Give a lifetime such as 90d, 12h or 1y',
    });
  }
  const made = await byDaemonOrOffline<Made>(
    config,
    { method: 'POST', path: '/api/tokens', body: { name, scope, expires } },
    async (by) => {
      const [{ withTokens }, { shownToken }] = await offline();
      const expiresAt = parsed.data.expires === null ? null : Date.now() + parsed.data.expires;
      const { text, token } = withTokens(config.state, (tokens) =>
        tokens.create({ name, scope, expiresAt, by }),
      );
      return { token: text, info: shownToken(token) };
    },
  );
  if (json === true) process.stdout.write(`${toSafeJson(made, 2)}\n`);
  else {
    process.stdout.write(`${made.token}\n`);
    const expiry =
      made.info.expires_at === null
        ? 'never expires'
        : `expires at ${shownTime(made.info.expires_at, timesFor(process.stderr, options))}`;
    process.stderr.write(`Token ${name}, scope ${scope}, ${expiry}. It is not shown again.\n`);
  }
}

async function revoke(config: Contacts, name: string, { json }: Options): Promise<void> {
  const path = `/api/tokens/${encodeURIComponent(name)}`;
  const { revoked } = await byDaemonOrOffline<{ revoked: ShownToken }>(
    config,
    { method: 'DELETE', path },
    async (by) => {
      const [{ withTokens }, { shownToken }] = await offline();
      return {
        revoked: shownToken(withTokens(config.state, (tokens) => tokens.revoke(name, by))),
      };
    },
  );
  process.stdout.write(json === true ? `${toSafeJson(revoked, 2)}\n` : `Token ${revoked.name} is revoked.\n`);
}

async function list(config: Contacts, options: Options): Promise<void> {
  const { tokens } = await byDaemonOrOffline<{ tokens: ShownToken[] }>(
    config,
    { method: 'GET', path: '/api/tokens' },
    async () => {
      const [{ withTokens }, { shownToken }] = await offline();
      return { tokens: withTokens(config.state, (store) => store.list()).map(shownToken) };
    },
  );
  if (options.json === true) process.stdout.write(`${toSafeJson({ tokens }, 2)}\n`);
  else if (tokens.length === 0)
    process.stdout.write('There are no tokens. Create one: postern-auditd token create NAME\n');
  else {
    const paint = createPaint(wantsColour(process.stdout, process.env));
    const times = timesFor(process.stdout, options);
    const shown = (iso: string) => shownTime(iso, times);
    const rows = tokens.map(
      ({ name, id, scope, created_at: created, expires_at: expires, last_used_at: used }) => [
        name,
        id,
        scope,
        shown(created),
        expires === null
          ? 'never'
          : Date.parse(expires) < Date.now()
            ? paint.red(`${shown(expires)}, expired`)
            : shown(expires),
        used === null ? 'not yet' : shown(used),
      ],
    );
    const [heading = '', ...lines] = aligned([
      ['NAME', 'ID', 'SCOPE', 'CREATED', 'EXPIRES', 'LAST USED'],
      ...rows,
    ]);
    process.stdout.write(`${[paint.bold(heading), ...lines].join('\n')}\n`);
  }
}

function offline() {
  return Promise.all([import('../api/access/tokens.js'), import('../api/routes/tokens.js')]);
}
