import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { createMiddleware } from 'hono/factory';
import type { ApiConfig } from '../../config/api.js';
import type { Client } from '../access/client-address.js';
import type { ApiEnv } from '../context.js';
import { problemResponse } from './problem.js';

/** Longer names are cut off. */
const LONGEST_KEPT = 200;

export interface HostRule {
  readonly config: Pick<ApiConfig, 'hosts'>;
  /** Names of this server and of its certificate. */
  readonly ownNames: () => readonly string[];
}

/**
 * Whether the Host of a request is allowed. With DNS rebinding, a page of another site makes a browser send requests to this address under
 * that site's name, which is then in Host. An IP address in Host can't result from that, and is always accepted.
 */
export function isAllowedHost(client: Client, { config, ownNames }: HostRule): boolean {
  const name = hostName(client.host);
  if (name === null) return false;
  if (name === 'localhost' || isIP(name) !== 0) return true;
  if (config.hosts === null) return client.viaProxy || matches(name, ownNames());
  return matches(name, config.hosts);
}

/** The host without port, brackets and final dot, in lower case; null if it is invalid. */
function hostName(host: string): string | null {
  const found = /^(?:\[([0-9a-f:.]+)\]|([^\s:/@[\]]+?)\.?)(?::\d{0,5})?$/i.exec(host);
  return (found?.[1] ?? found?.[2])?.toLowerCase() ?? null;
}

function matches(name: string, allowed: readonly string[]): boolean {
  return allowed.some((entry) => {
    const pattern = entry.toLowerCase();
    if (pattern === '*') return true;
    return pattern.startsWith('*.') ? name.endsWith(pattern.slice(1)) : name === pattern;
  });
}

/** The names in the certificate of this file. Empty if it can't be read, which the listener reports. */
export function certificateNames(file: string): string[] {
  try {
    const { subject, subjectAltName } = new X509Certificate(readFileSync(file));
    const names = [...(subjectAltName ?? '').matchAll(/DNS:([^\s,"]+)/g)].map(([, name]) => name ?? '');
    const common = /^CN=(\S+)$/m.exec(subject ?? '')?.[1];
    return common === undefined ? names : [...names, common];
  } catch {
    return [];
  }
}

export interface HostGuard extends HostRule {
  readonly onRefused: (host: string) => void;
}

/** Rejects requests with several Host headers, with another authority in the request line, or for other hosts. */
export function guardHost(rule: HostGuard) {
  return createMiddleware<ApiEnv>(async (c, next) => {
    const { incoming } = c.env;
    const named = incoming.headersDistinct.host ?? [];
    if (named.length !== 1)
      return problemResponse(
        c,
        400,
        'The request is not valid',
        `It has ${named.length} Host headers instead of one.`,
      );
    const authority = /^https?:\/\/([^/?#]*)/i.exec(incoming.url ?? '')?.[1];
    if (authority !== undefined && authority.toLowerCase() !== named[0]?.toLowerCase())
      return problemResponse(
        c,
        400,
        'The request is not valid',
        'Its request line and its header Host name different hosts.',
      );
    const { client } = c.var;
    if (isAllowedHost(client, rule)) return next();
    const host = client.host.slice(0, LONGEST_KEPT);
    rule.onRefused(host);
    return problemResponse(
      c,
      421,
      'This is another host',
      `The header Host is ${JSON.stringify(host)}, which is not a name of this server.`,
      {
        next: 'If it is a name of this server, add it to api.hosts. If a proxy is in front of it, list the proxy under api.trusted_proxies',
      },
    );
  });
}
