import { LOGIN } from '../paths.js';
import { Brand, Layout, type LayoutProps } from './layout.js';

export interface LoginProps {
  readonly assets: LayoutProps['assets'];
  /** Why the last attempt failed; null before the first. */
  readonly failed: string | null;
  /** Where the browser goes after the login. */
  readonly next: string;
}

const REASONS: Readonly<Record<string, string>> = {
  wrong: 'This token is not valid. It may have been revoked or copied incompletely.',
  expired: 'This token has expired. Create another one.',
  limited: 'Too many failed attempts from your address. Wait a minute, then try again.',
};

export function Login({ assets, failed, next }: LoginProps) {
  const reason = failed === null ? null : (REASONS[failed] ?? 'The login failed. Try again.');
  return (
    <Layout title="Log in · Audit Log" person={null} assets={assets}>
      <div class="login">
        <Brand />
        <h1>Audit Log</h1>
        <form method="post" action={LOGIN}>
          <input type="hidden" name="next" value={next} />
          <label for="token">Access token</label>
          <input
            id="token"
            name="token"
            type="password"
            required
            autofocus
            autocomplete="current-password"
            spellcheck={false}
            aria-describedby={reason === null ? 'token-help' : 'token-error token-help'}
            aria-invalid={reason === null ? undefined : 'true'}
          />
          {reason === null ? null : (
            <p class="error" id="token-error" role="alert">
              {reason}
            </p>
          )}
          <button type="submit" class="primary">
            Log in
          </button>
          <p class="note" id="token-help">
            An administrator of this server can create one with
            <code>sudo postern-auditd token create NAME --scope admin</code>
          </p>
        </form>
      </div>
    </Layout>
  );
}
