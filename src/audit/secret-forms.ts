import { type Cover, Covering } from './mask.js';

type Form = readonly [mark: string, cover: (covering: Covering) => void];

/**
 * Secrets that are recognized by their form, under any name. Each function takes time in proportion to the length of the text: it
 * searches for a mark, reads the secret from there, and continues behind it.
 */
const FORMS: readonly Form[] = [
  ['', coverSchemes],
  ['$', coverHashes],
  ['}', coverLdapHashes],
  ['eyJ', coverJsonWebTokens],
  ['kty', coverJsonWebKeys],
];
/** In these stands what could be taken for a name and its value. */
const FORMS_WITH_SIGNS: readonly Form[] = [
  ['BEGIN ', coverPem],
  ['Private-Lines', coverPutty],
  ['://', coverUrls],
  ['@', coverDataSources],
];

/** Source of a regular expression for texts in lower case, for the forms that neither a name of a secret nor one of the signs gives away. */
export const FORM_HINT = 'b(?:earer|asic)|digest|eyj|kty|\\{(?:s|md5|crypt)';
/** Of a password in a URL, and of a password hash. */
export const FORM_SIGNS = ['@', '$'] as const;

export function maskForms(text: string, cover: Cover): string {
  return maskEach(FORMS, text, cover);
}

/** To be masked before names of secrets are looked for. */
export function maskFormsWithSigns(text: string, cover: Cover): string {
  return maskEach(FORMS_WITH_SIGNS, text, cover);
}

function maskEach(forms: readonly Form[], text: string, cover: Cover): string {
  let masked = text;
  for (const [mark, coverIn] of forms) {
    if (!masked.includes(mark)) continue;
    const covering = new Covering(masked, cover);
    coverIn(covering);
    masked = covering.result();
  }
  return masked;
}

const PEM_BEGINNING = /-{4,5} ?BEGIN ([A-Z0-9 ]{1,80})-{4,5}/g;
const PEM_END = /-{4,5} ?END [A-Z0-9 ]{1,80}-{4,5}/g;

/** Blocks of private keys, of OpenPGP and SSH too; one that was cut off goes to the end. */
function coverPem(covering: Covering): void {
  PEM_BEGINNING.lastIndex = 0;
  for (;;) {
    const found = PEM_BEGINNING.exec(covering.text);
    if (found === null) return;
    if (found[1]?.includes('PRIVATE KEY') !== true) continue;
    PEM_END.lastIndex = PEM_BEGINNING.lastIndex;
    const end = PEM_END.exec(covering.text) === null ? covering.text.length : PEM_END.lastIndex;
    covering.piece(found.index, end);
    PEM_BEGINNING.lastIndex = end;
  }
}

const PUTTY_HASH = /\W{0,4}[0-9a-f]{0,128}/iy;

/** The private lines of a PuTTY key, and the hash behind them. */
function coverPutty(covering: Covering): void {
  const { text } = covering;
  for (let at = text.indexOf('Private-Lines'); at !== -1; at = text.indexOf('Private-Lines', covering.done)) {
    const hash = text.indexOf('Private-MAC', at);
    PUTTY_HASH.lastIndex = hash + 'Private-MAC'.length;
    covering.piece(at, hash !== -1 && PUTTY_HASH.test(text) ? PUTTY_HASH.lastIndex : text.length);
  }
}

const AUTHORITY = /[^\s/?#"'<>\\`]*/y;
/** A password that holds what ends an authority. */
const BEYOND = /[^\s"'<>@]{0,256}@/y;
const SCHEME_BEFORE = /[a-z]{2,16}$/i;
const WEB = /^(?:https?|wss?)$/i;
/** A token that was masked before by HMAC. */
const COVERED = /^hmac:[0-9a-f]{16}(?::|$)/;
/** What stands as a password where the name is the token. */
const NO_PASSWORD = /^(?:|x|x-oauth-basic)$/i;

/** `https://user:SECRET@host`, also with an `@` or a `/` in it; `https://TOKEN@host`, but no name alone (`ssh://git@host`). */
function coverUrls(covering: Covering): void {
  const { text } = covering;
  for (let at = text.indexOf('://'); at !== -1; at = text.indexOf('://', AUTHORITY.lastIndex)) {
    const start = at + 3;
    AUTHORITY.lastIndex = start;
    AUTHORITY.test(text);
    const authority = text.slice(start, endOfLogin(text, start, AUTHORITY.lastIndex));
    const login = authority.slice(0, Math.max(0, authority.lastIndexOf('@')));
    if (login === '') continue;
    const scheme = SCHEME_BEFORE.exec(text.slice(Math.max(0, at - 16), at))?.[0] ?? '';
    const colon = login.indexOf(':', COVERED.test(login) ? 'hmac:'.length : 0);
    const name = colon === -1 ? login : login.slice(0, colon);
    const isPassword = colon !== -1 && !(WEB.test(scheme) && NO_PASSWORD.test(login.slice(colon + 1)));
    if (isPassword) covering.piece(start + colon + 1, start + login.length);
    else if (WEB.test(scheme) || isToken(name)) covering.piece(start, start + name.length);
    AUTHORITY.lastIndex = start + authority.length;
  }
}

/** Where an authority ends, or the `@` behind it if it ends within a password: behind its colon stands no port. */
function endOfLogin(text: string, start: number, end: number): number {
  const authority = text.slice(start, end);
  if (authority.includes('@') || !/^[^[:]*:(?!\d*$)/.test(authority)) return end;
  BEYOND.lastIndex = end;
  return BEYOND.test(text) ? BEYOND.lastIndex : end;
}

/** Too long and too mixed for a name. */
function isToken(text: string): boolean {
  return text.length >= 20 && /\d/.test(text) && /[a-z]/i.test(text) && !text.includes('.');
}

const DRIVER = /[\s"'`:]|@(?:(?:tcp|udp|unix)[46]?\(|\/)/g;

/** `user:SECRET@tcp(host:3306)/base`, as Go's drivers take it. */
function coverDataSources(covering: Covering): void {
  const { text } = covering;
  if (!/@(?:[tu]|\/)/.test(text)) return;
  /** The first colon of the word, where no `//` follows. */
  let colon = -1;
  for (const { index, 0: found } of text.matchAll(DRIVER)) {
    if (found === ':') {
      if (colon === -1 && /[\w.-]/.test(text[index - 1] ?? '')) colon = index;
    } else if (!found.startsWith('@')) colon = -1;
    else if (colon !== -1 && !text.startsWith('//', colon + 1)) covering.piece(colon + 1, index);
  }
}

const SCHEME = /\b(?:bearer|basic|digest)\s{1,8}([\w.~+/=-]{8,})/gi;
const PARAMETERS = /^\w{1,32}=$/;
const LINE = /[^\r\n]*/y;
/** `basic authentication` is prose. */
const PROSE = /^[A-Za-z][a-z]{0,22}(?:[-/][a-z]{1,22}){0,3}[.=]?$/;

/** `Bearer TOKEN`, `Basic BASE64`, `Digest username="…", response="…"`. */
function coverSchemes(covering: Covering): void {
  const { text } = covering;
  for (const { index, 0: all, 1: token = '' } of text.matchAll(SCHEME)) {
    const start = index + all.length - token.length;
    if (PARAMETERS.test(token)) {
      LINE.lastIndex = start;
      LINE.test(text);
      covering.piece(start, LINE.lastIndex);
    } else if (!PROSE.test(token)) covering.piece(start, index + all.length);
  }
}

/** Of crypt(3), and as Django and Werkzeug write them. */
const HASH =
  /\$2[abxy]?\$\d\d\$[./\w]{20,}|\$[56]\$(?:rounds=\d{1,9}\$)?[./\w]{0,16}\$[./\w]{20,}|\$(?:g?y|7)\$[./\w]{1,20}\$[./\w]{1,90}\$[./\w]{20,}|\$(?:1|apr1)\$[./\w]{1,8}\$[./\w]{22}|\$argon2(?:id?|d)\$[\w./$,=+-]{8,}|\$[PH]\$[./\w]{20,}|(?:pbkdf2|scrypt)[\w:-]{0,40}(?:\$[\w./+=,-]{1,256}){2,4}/g;

function coverHashes(covering: Covering): void {
  for (const { index, 0: all } of covering.text.matchAll(HASH)) covering.piece(index, index + all.length);
}

const LDAP_HASH = /\{(?:s?sha\d{0,3}|s?md5|crypt|pbkdf2[\w-]{0,16}|argon2\w{0,2})\}[\w./$,=+-]{8,}/gi;

function coverLdapHashes(covering: Covering): void {
  for (const { index, 0: all } of covering.text.matchAll(LDAP_HASH))
    covering.piece(index, index + all.length);
}

const SEGMENT = /[\w-]*/y;

function endOfSegment(text: string, at: number): number {
  SEGMENT.lastIndex = at;
  SEGMENT.test(text);
  return SEGMENT.lastIndex;
}

/** `eyJ…`, a point and more, up to five pieces. What is no token is not read again from within: each letter is met twice at most. */
function coverJsonWebTokens(covering: Covering): void {
  const { text } = covering;
  for (let at = text.indexOf('eyJ'); at !== -1; ) {
    const head = endOfSegment(text, at);
    let end = head;
    let pieces = 1;
    while (pieces < 5 && text[end] === '.') {
      end = endOfSegment(text, end + 1);
      pieces++;
    }
    const isWord = at > 0 && /\w/.test(text[at - 1] ?? '');
    const isWhole = !isWord && head - at >= 11 && pieces >= 3 && end - head >= 10;
    if (isWhole) covering.piece(at, end);
    at = text.indexOf('eyJ', isWhole ? end : head);
  }
}

const PRIVATE_MEMBER = /["'](?:d|k|p|q|dp|dq|qi)\\{0,16}["']\s{0,8}:\s{0,8}\\{0,16}["']([\w+/=:-]+)/g;

/** The private members of a JSON Web Key in what is no JSON as a whole. */
function coverJsonWebKeys(covering: Covering): void {
  for (const { index, 0: all, 1: value = '' } of covering.text.matchAll(PRIVATE_MEMBER)) {
    covering.piece(index + all.length - value.length, index + all.length);
  }
}
