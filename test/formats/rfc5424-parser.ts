/** Parses an RFC 5424 message by the ABNF of section 6. Throws if the message violates it. */
export interface ParsedSyslog {
  readonly pri: number;
  readonly timestamp: string | null;
  readonly hostname: string | null;
  readonly appName: string | null;
  readonly procId: string | null;
  readonly msgId: string | null;
  readonly structuredData: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly bom: boolean;
  readonly message: string;
}

const printUsAscii = /^[\x21-\x7e]+$/;

export function parseRfc5424(text: string): ParsedSyslog {
  let at = 0;

  function take(expected: string): void {
    if (!text.startsWith(expected, at)) throw new Error(`${JSON.stringify(expected)} expected at ${at}`);
    at += expected.length;
  }

  function field(longest: number): string | null {
    const end = text.indexOf(' ', at);
    const value = text.slice(at, end === -1 ? text.length : end);
    if (!printUsAscii.test(value) || value.length > longest) throw new Error(`bad field at ${at}: ${value}`);
    at += value.length;
    return value === '-' ? null : value;
  }

  function elements(): Record<string, Record<string, string>> {
    if (text.charAt(at) === '-') {
      at++;
      return {};
    }
    const found: Record<string, Record<string, string>> = {};
    while (text.charAt(at) === '[') {
      const name = /^\[([^\s=\]"]{1,32})/.exec(text.slice(at))?.[1];
      if (name === undefined) throw new Error(`bad SD-ID at ${at}`);
      at += 1 + name.length;
      const params: Record<string, string> = {};
      while (text.charAt(at) === ' ') {
        const match = /^ ([^\s=\]"]{1,32})="((?:[^"\\\]]|\\["\\\]])*)"/.exec(text.slice(at));
        if (match === null) throw new Error(`bad SD-PARAM at ${at}`);
        at += match[0].length;
        params[match[1] ?? ''] = (match[2] ?? '').replace(/\\(["\\\]])/g, '$1');
      }
      take(']');
      found[name] = params;
    }
    if (Object.keys(found).length === 0) throw new Error(`no structured data at ${at}`);
    return found;
  }

  const pri = /^<(0|[1-9]\d{0,2})>1 /.exec(text);
  if (pri === null || Number(pri[1]) > 191) throw new Error('bad PRI or VERSION');
  at = pri[0].length;
  const timestamp = field(32);
  if (
    timestamp !== null &&
    !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)$/.test(timestamp)
  ) {
    throw new Error(`bad TIMESTAMP ${timestamp}`);
  }
  take(' ');
  const hostname = field(255);
  take(' ');
  const appName = field(48);
  take(' ');
  const procId = field(128);
  take(' ');
  const msgId = field(32);
  take(' ');
  const structuredData = elements();
  if (at < text.length) take(' ');
  const bom = text.charAt(at) === '\ufeff';
  const message = text.slice(bom ? at + 1 : at);
  return { pri: Number(pri[1]), timestamp, hostname, appName, procId, msgId, structuredData, bom, message };
}
