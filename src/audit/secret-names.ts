/** Names of secrets, anywhere in a key: `smtp_password`, `apiKey2`, `Set-Cookie`, `passwordHash`. Words apart. */
export const secretNames: readonly string[] = [
  'password',
  'passwd',
  'passphrase',
  'passcode',
  'pwd',
  'secret',
  'token',
  'credential',
  'authorization',
  'auth header',
  'cookie',
  'session id',
  'session key',
  'api key',
  'access key',
  'secret key',
  'private key',
  'encryption key',
  'signing key',
  'master key',
  'shared key',
  'account key',
  'license key',
  'client key',
  'server key',
  'certificate key',
  'cert key',
  'ssl key',
  'tls key',
  'ssh key',
  'key pem',
  'recovery code',
  'backup code',
  'verification code',
  'otp code',
  'mfa code',
  'smtp pass',
  'mail pass',
  'db pass',
  'user pass',
  'admin pass',
  'auth pass',
  'basic pass',
  'ldap pass',
  'pass word',
  'pass phrase',
  'basic auth',
];
/** Secret as a whole key alone: as parts of others (`proxy_pass`, `mapping`, `session_timeout`) they are none. */
const WHOLE: readonly string[] = ['pass', 'pin', 'otp', 'totp', 'salt', 'pepper', 'session', 'jwt', 'psk'];
/** Also found at the end of a word that is written together: `smtppassword`, `accesstoken`. */
const ENDINGS =
  /(?:passwords?|passwd|passphrase|secrets?|tokens?|apikeys?|privatekey|secretkey|accesskey|credentials?|cookies?)$/;
/** And these at its beginning: `passwordhash`. */
const BEGINNINGS = /^(?:password|passwd|passphrase)/;

/** A key that ends in one of these says something about a secret, and not the secret: `token_id`, `tokens_created`, `password_changed_at`. */
const ABOUT = new Set(
  (
    'id ids name names label description type kind algorithm method scheme scope scopes count counts total number ' +
    'length size min max strength score policy rule rules required enabled disabled set present exists valid status state ' +
    'created updated changed modified deleted revoked issued used expired at in on by date time expires expiry expiration ttl ' +
    'lifetime timeout age days hours minutes seconds url uri endpoint domain path file filename version'
  ).split(' '),
);

/** Longest key that is looked at word by word; what is longer is no name, and is taken for a secret where it has such a word. */
const LONGEST = 256;
const REMEMBERED = 1_000;

/** One of these is in every name above. */
const STEMS = 'pass|pwd|secret|token|key|cred|auth|cookie|session|code|otp|pin|salt|pepper|jwt|psk';

export interface SecretNames {
  /** Is what stands under this key a secret? Case and separators do not count. */
  readonly isSecret: (key: string) => boolean;
  /**
   * Source of a regular expression (flag `i`) that finds every text that has such a key, and others. Each alternative costs 8 ns
   * for 100 characters; the exact names would cost three times as much as all of these.
   */
  readonly hint: string;
}

/** @param added names of the configuration: whatever key has their words side by side is secret */
export function createSecretNames(added: readonly string[]): SecretNames {
  const own = added.map((name) => wordsOf(name).map(singular)).filter((name) => name.length > 0);
  const names = secretNames.map((name) => name.split(' ').map(singular));
  const known = new Map<string, boolean>();

  const decide = (key: string): boolean => {
    const words = wordsOf(key.slice(0, LONGEST));
    const plain = words.map(singular);
    if (own.some((name) => endOf(plain, name) > 0)) return true;
    if (words.length === 1 && WHOLE.some((name) => name === words[0] || name === plain[0])) return true;
    const last = words.at(-1) ?? '';
    return (
      names.some((name) => isAsked(plain, endOf(plain, name), last)) ||
      words.some((word, at) => (ENDINGS.test(word) || BEGINNINGS.test(word)) && isAsked(plain, at + 1, last))
    );
  };
  return {
    isSecret: (key) => {
      const before = known.get(key);
      if (before !== undefined) return before;
      const secret = decide(key);
      if (known.size >= REMEMBERED) known.clear();
      if (key.length <= LONGEST) known.set(key, secret);
      return secret;
    },
    hint: [STEMS, ...own.map(longest)].join('|'),
  };
}

/** @param end behind the last word of the name, 0 if it is not there */
function isAsked(words: readonly string[], end: number, last: string): boolean {
  return end > 0 && (end === words.length || !ABOUT.has(last));
}

/** Behind the last place where the words of a name stand side by side; 0 if they do not. */
function endOf(words: readonly string[], name: readonly string[]): number {
  for (let at = words.length - name.length; at >= 0; at--) {
    if (name.every((word, offset) => words[at + offset] === word)) return at + name.length;
  }
  return 0;
}

/** `x-API-Key2` → x, api, key, 2. */
function wordsOf(key: string): string[] {
  return key
    .replace(/(\p{Ll})(\p{Lu})/gu, '$1 $2')
    .replace(/(\p{Lu})(\p{Lu}\p{Ll})/gu, '$1 $2')
    .replace(/(\p{L})(\p{N})/gu, '$1 $2')
    .toLowerCase()
    .split(/[^\p{L}\p{N}]+/u)
    .filter((word) => word !== '');
}

function singular(word: string): string {
  return word.length > 2 && word.endsWith('s') && !word.endsWith('ss') ? word.slice(0, -1) : word;
}

function longest(words: readonly string[]): string {
  return words.reduce((best, word) => (word.length > best.length ? word : best), '');
}
