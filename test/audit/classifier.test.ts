import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { catalog, createClassifier } from '../../src/audit/catalog.js';
import { resourceNames } from '../../src/audit/event-catalog.js';

const classify = createClassifier();
const canonical = new Set(catalog.map(({ action }) => action));

describe('the classified event', () => {
  it.each<[string, string | null, string]>([
    ['auth.login_failure', null, 'auth.login_failure'],
    ['auth.login_failure', 'proxy_host', 'auth.login_failure'],
    ['login_failure', null, 'auth.login_failure'],
    ['login_failure', 'auth', 'auth.login_failure'],
    ['login_failed', 'user', 'auth.login_failure'],
    ['login_failed', 'users', 'auth.login_failure'],
    ['login_failed', '', 'auth.login_failure'],
    ['login_failed', 'web-ui', 'auth.login_failure'],
    ['login.failure', null, 'auth.login_failure'],
    ['login.failed', 'user', 'auth.login_failure'],
    ['login-failed', 'User', 'auth.login_failure'],
    ['Login Failed', 'Auth', 'auth.login_failure'],
    ['loginFailed', 'auth', 'auth.login_failure'],
    ['LoginFailure', null, 'auth.login_failure'],
    ['LOGIN_FAILED', 'USER', 'auth.login_failure'],
    ['loginfailed', null, 'auth.login_failure'],
    ['failed_login', null, 'auth.login_failure'],
    ['failed', 'login', 'auth.login_failure'],
    ['failed', 'auth', 'auth.login_failure'],
    ['fail', 'authentication', 'auth.login_failure'],
    ['log_in_failed', null, 'auth.login_failure'],
    ['sign-in failed', null, 'auth.login_failure'],
    ['auth:login:failed', null, 'auth.login_failure'],
    ['user/login_failed', null, 'auth.login_failure'],
    ['user.login.failed', 'session', 'auth.login_failure'],
    ['auth_failed', 'user', 'auth.login_failure'],
    ['login', 'user', 'auth.login_success'],
    ['login', 'auth', 'auth.login_success'],
    ['login_successful', null, 'auth.login_success'],
    ['logged_in', 'user', 'auth.login_success'],
    ['logged_out', 'user', 'auth.logout'],
    ['logoff', 'auth', 'auth.logout'],
    ['token_created', 'user', 'auth.token_create'],
    ['create', 'token', 'auth.token_create'],
    ['deletion', 'token', 'auth.token_delete'],
    ['revoked', 'api-token', 'auth.token_delete'],
    ['create', 'proxy_host', 'proxy_host.create'],
    ['updated', 'proxy-host', 'proxy_host.update'],
    ['update', 'ProxyHost', 'proxy_host.update'],
    ['delete', 'proxyhosts', 'proxy_host.delete'],
    ['proxy_host.enabled', 'proxy_host', 'proxy_host.enable'],
    ['proxy_host_disable', null, 'proxy_host.disable'],
    ['updateProxyHost', null, 'proxy_host.update'],
    ['delete', 'redirection-host', 'redirection_host.delete'],
    ['created', 'stream_host', 'stream.create'],
    ['disabled', 'streams', 'stream.disable'],
    ['create', '404 host', 'dead_host.create'],
    ['renewed', 'certificates', 'certificate.renew'],
    ['certificate.renewal', null, 'certificate.renew'],
    ['uploaded', 'ssl_certificate', 'certificate.upload'],
    ['update', 'ACL', 'access_list.update'],
    ['enable', 'port-forward', 'port_forward.enable'],
    ['password_changed', 'user', 'user.password_change'],
    ['changePassword', 'user', 'user.password_change'],
    ['password_change', 'auth', 'user.password_change'],
    ['update', 'settings', 'setting.update'],
    ['settings.updated', null, 'setting.update'],
    ['downloaded', 'backup', 'backup.download'],
    ['restore_completed', 'backups', 'backup.restore'],
    ['ban', 'ban', 'ban.ban'],
    ['daemon.start', null, 'daemon.start'],
  ])('%s of %s is the event %s', (action, resourceType, expected) => {
    expect(classify(action, resourceType).action).toBe(expected);
  });

  it.each<[string, string | null]>([
    ['update', null],
    ['frobnicate', 'proxy_host'],
    ['login', 'proxy_host'],
    ['login_failed', 'access_list'],
    ['login_failed', 'certificate'],
    ['failed', null],
    ['password', 'user'],
    ['login_failed ', null],
    [' login_failed', null],
    ['login_failed\n', 'user'],
    ['login_failed\u0000user', null],
    ['login_failed\u0000', 'user'],
    ['login_failed', 'user\u0000'],
    ['lоgin_failed', 'user'], // a Cyrillic о
    ['login_failed\u200b', 'user'],
    ['not_login_failed', 'user'],
    ['login_failed_not', 'user'],
    ['x.auth.login_failure', null],
    ['auth.login_failure', 'user"},"source":{"ip":"203.0.113.7'],
    ['login_failure'.repeat(10), 'auth'],
    ['constructor', null],
    ['__proto__', '__proto__'],
    ['', ''],
  ])('%j of %j is not an event of the catalog', (action, resourceType) => {
    expect(classify(action, resourceType)).toMatchObject({
      known: false,
      outcome: 'unknown',
      severity: 'info',
    });
  });

  it('a row outside the catalog gets a name that is safe in every format', () => {
    expect(classify('Frobnicated!', 'Magic Widget')).toMatchObject({
      action: 'magic_widget.frobnicated',
      category: 'magic_widget',
      title: 'Magic widget frobnicated',
    });
    expect(classify('widget.frobnicate', null)).toMatchObject({
      action: 'widget.frobnicate',
      category: 'widget',
    });
    expect(classify('', null).action).toBe('unknown.unknown');
    expect(classify('login_failure', 'auth\u2028')).toMatchObject({
      action: 'unknown.login_failure',
      category: 'unknown',
    });
  });

  it('any spelling of category and action gives the same event', () => {
    const past = (text: string) => `${text.replace(/e$/, '')}ed`;
    const upper = (text: string) => text.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
    for (const type of catalog) {
      const word = type.action.slice(type.category.length + 1);
      for (const spelling of [word, ...type.aliases]) {
        for (const name of resourceNames.get(type.category) ?? []) {
          for (const change of [
            String,
            upper,
            (text: string) => text.replaceAll('_', '-'),
            (text: string) => text.toUpperCase(),
          ]) {
            expect(classify(change(spelling), change(name)).action, `${spelling} of ${name}`).toBe(
              type.action,
            );
            expect(classify(change(spelling), change(`${name}s`)).action).toBe(type.action);
            expect(classify(change(`${name}_${spelling}`), null).action).toBe(type.action);
            expect(classify(`${name}.${spelling}`, name).action).toBe(type.action);
          }
        }
      }
      if (['create', 'update', 'delete', 'enable', 'disable', 'renew', 'upload'].includes(word)) {
        expect(classify(past(word), type.category)).toBe(type);
      }
    }
  });

  it('only spellings of a known name get that name', () => {
    const hostile = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({
        unit: fc.constantFrom(
          'login',
          'failed',
          'failure',
          '_',
          '.',
          '-',
          ' ',
          '\0',
          '\u2028',
          'auth',
          '"',
          'user',
          'x',
        ),
      }),
    );
    fc.assert(
      fc.property(hostile, fc.option(hostile), (action, resourceType) => {
        const type = classify(action, resourceType);
        expect(type.known).toBe(canonical.has(type.action));
        expect(type.action).toMatch(/^[a-z0-9_]{1,64}\.[a-z0-9_]{1,64}$/);
        if (type.action === 'auth.login_failure') {
          expect(action).toMatch(/^[a-z][a-z_. -]*$/);
          // The two words may be in two columns: action `login`, resource_type `failed`.
          const words = `${action} ${resourceType ?? ''}`;
          expect(words).toMatch(/fail/);
          expect(words).toMatch(/login|auth/);
        }
        expect(createClassifier()(action, resourceType)).toEqual(type);
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('configured spellings', () => {
  const own = createClassifier({
    'auth.login_failure': ['signin_denied_by_policy', 'sso.denied', 'Anmeldung fehlgeschlagen', 'échec'],
    'proxy_host.update': ['login'],
  });

  it.each<[string, string | null, string]>([
    ['signin_denied_by_policy', null, 'auth.login_failure'],
    ['Signin-Denied-By-Policy', 'proxy_host', 'auth.login_failure'],
    ['denied', 'sso', 'auth.login_failure'],
    ['sso_denied', null, 'auth.login_failure'],
    ['Anmeldung fehlgeschlagen', 'user', 'auth.login_failure'],
    ['échec', 'user', 'auth.login_failure'],
    ['denied', 'user', 'user.denied'],
    ['Échec', 'user', 'user.chec'],
    ['login', 'auth', 'proxy_host.update'],
  ])('a configured spelling: %s of %s is %s', (action, resourceType, expected) => {
    expect(own(action, resourceType).action).toBe(expected);
  });

  it('rejects spellings for an action that is not in the catalog', () => {
    expect(() => createClassifier({ 'auth.login_failed': ['x'] })).toThrow(
      /no action "auth\.login_failed".*auth\.login_failure/,
    );
  });
});

describe('the cache of the classifier', () => {
  it('hostile input does not grow the cache of the classifier', () => {
    const busy = createClassifier();
    const login = busy('login_failed', 'user');
    for (let n = 0; n < 10_000; n++) busy(`hostile_${n}`, `kind_${n % 7}`);
    expect(busy('login_failed', 'user')).toBe(login);
    expect(busy('hostile_1', 'kind_1')).toBe(busy('hostile_1', 'kind_1'));
  });
});
