/** Names of secrets, with their words separated. They count anywhere in a key: `smtp_password`, `apiKey2`, `Set-Cookie`, `passwordHash`. */
export const secretNames: readonly string[] = [
  'password',
  'passwd',
  'passphrase',
  'passcode',
  'pwd',
  'pw',
  'secret',
  'token',
  'credential',
  'authorization',
  'auth header',
  'cookie',
  'csrf',
  'xsrf',
  'psk',
  'session id',
  'sess id',
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
  'priv key',
  'hmac key',
  'auth key',
  'app key',
  'application key',
  'consumer key',
  'webhook key',
  'storage key',
  'key pem',
  'recovery code',
  'backup code',
  'verification code',
  'access code',
  'security code',
  'otp code',
  'mfa code',
  'pin code',
  'smtp pass',
  'mail pass',
  'db pass',
  'user pass',
  'admin pass',
  'auth pass',
  'basic pass',
  'bind pass',
  'root pass',
  'redis pass',
  'require pass',
  'ldap pass',
  'new pass',
  'old pass',
  'current pass',
  'confirm pass',
  'repeat pass',
  'pass hash',
  'pass code',
  'cred',
  'preshared key',
  'unseal key',
  'pass word',
  'pass phrase',
  'basic auth',
];
/** Names that are secret only as a whole key, with or without a number (`pass2`). As parts of a key (`proxy_pass`, `mapping`, `session_timeout`) they are not. */
const WHOLE: readonly string[] = ['pass', 'pin', 'otp', 'totp', 'salt', 'pepper', 'session', 'jwt'];
/** Names that are also found at the end of a compound word: `smtppassword`, `accesstoken`. */
const ENDINGS =
  /(?:passwords?|passwd|passphrase|secrets?|tokens?|apikeys?|privatekey|privkey|secretkey|accesskey|authkey|appkey|sshkey|credentials?|cookies?|sessionid|sessid|pincode|(?:require|db|smtp|mail|user|admin|root|new|old)pass|(?:root|admin|user|bind|db)pw)$/;
/** Names that are also found at the beginning of a compound word: `passwordhash`. */
const BEGINNINGS = /^(?:password|passwd|passphrase)/;

/** A key that ends in one of these describes a secret and does not hold it: `token_id`, `tokens_created`, `password_changed_at`. */
const ABOUT = new Set(
  (
    'id ids name names label description type kind algorithm method scheme scope scopes count counts total number ' +
    'length size min max strength score policy rule rules required enabled disabled set present exists valid status state ' +
    'created updated changed modified deleted revoked issued used expired at in on by date time expires expiry expiration ttl ' +
    'lifetime timeout age days hours minutes seconds url uri endpoint domain path file filename version flags provider prompt ' +
    'stdin'
  ).split(' '),
);

/** Longest key that is examined word by word. A longer key is not a name; it is treated as secret if it contains such a word. */
const LONGEST = 256;
const REMEMBERED = 1_000;
/** Texts that can be a name when a name is stored as a value. */
const AS_VALUE = /^[\p{L}\p{N}_ ./:$-]+$/u;
const LONGEST_VALUE = 64;

/**
 * Every name above contains one of these, in lower case. They have few first letters on purpose: an expression tests for these letters
 * at each position of a text. One more letter that is frequent in texts (l, m) doubled its time.
 */
const STEMS = 'p(?:ass|w|in|epper|sk)|s(?:ecret|ess|alt|rf)|token|key|c(?:red|o(?:okie|de))|auth|otp|jwt';

interface KeyMeaning {
  readonly isSecret: boolean;
  /** See SecretNames.isNamed. */
  readonly isNamed: boolean;
  /** `settingKey` → key */
  readonly lastWord: string;
  /** Letters, digits, `_`, `.` and `-` alone: it holds no secret itself. */
  readonly isPlain: boolean;
}

export interface SecretNames {
  /** Whether the value of this key is a secret. Case and separators are ignored. */
  readonly isSecret: (key: string) => boolean;
  /** Whether this text, a name stored as a value, names a secret. `smtp password` does, `Password reset mail` does not. */
  readonly isNamed: (text: string) => boolean;
  /** What a key means. */
  readonly meaningOf: (key: string) => KeyMeaning;
  /** Source of a regular expression that finds every lower-case text with such a key. It also finds some others. */
  readonly hint: string;
}

/** @param added names from the configuration: a key that contains their words in sequence is secret */
export function createSecretNames(added: readonly string[]): SecretNames {
  const own = added.map((name) => wordsOf(name).map(singular)).filter((name) => name.length > 0);
  const names = secretNames.map((name) => name.split(' ').map(singular));
  const known = new Map<string, KeyMeaning>();

  const decide = (key: string): boolean => {
    const words = wordsOf(key.slice(0, LONGEST));
    const plain = words.map(singular);
    if (own.some((name) => endOf(plain, name) > 0)) return true;
    const isWhole = words.length === 1 || (words.length === 2 && /^\d{1,2}$/.test(words[1] ?? ''));
    if (isWhole && WHOLE.some((name) => name === words[0] || name === plain[0])) return true;
    const last = words.at(-1) ?? '';
    return (
      names.some((name) => isAsked(plain, endOf(plain, name), last)) ||
      words.some((word, at) => (ENDINGS.test(word) || BEGINNINGS.test(word)) && isAsked(plain, at + 1, last))
    );
  };
  /** In a text with spaces, a secret's name is at the end. */
  const ends = (text: string): boolean => {
    const words = wordsOf(text);
    if (words.length === 0) return false;
    const plain = words.map(singular);
    return (
      [...names, ...own].some((name) => endOf(plain, name) === plain.length) ||
      WHOLE.some((name) => words.length === 1 && name === words[0]) ||
      ENDINGS.test(words.at(-1) ?? '')
    );
  };
  const meaningOf = (key: string): KeyMeaning => {
    const before = known.get(key);
    if (before !== undefined) return before;
    // The end of a long key decides.
    const lastWord = wordsOf(key.slice(-LONGEST)).at(-1) ?? '';
    const isSecret = decide(key);
    const isNamed = AS_VALUE.test(key) && (key.includes(' ') ? ends(key) : isSecret);
    const meaning = { isSecret, isNamed, lastWord, isPlain: /^[\w.-]*$/.test(key) };
    if (known.size >= REMEMBERED) known.clear();
    if (key.length <= LONGEST) known.set(key, meaning);
    return meaning;
  };
  return {
    isSecret: (key) => meaningOf(key).isSecret,
    isNamed: (text) => text.length <= LONGEST_VALUE && meaningOf(text).isNamed,
    meaningOf,
    hint: [STEMS, ...own.map(longest)].join('|'),
  };
}

/** @param end index after the last word of the name, 0 if the name is missing */
function isAsked(words: readonly string[], end: number, last: string): boolean {
  return end > 0 && (end === words.length || !ABOUT.has(last));
}

/** Index after the last occurrence of the words of a name in sequence; 0 if there is none. */
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
