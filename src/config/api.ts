import { isIP } from 'node:net';
import { z } from 'zod';
import { absolutePath, fileMode, only } from './duration-and-size.js';
import { parseTarget } from './syslog.js';

const NAME = 'a host name such as audit.example.net, *.example.net for all below it, or "*" for any';
const HOST_NAME = /^(?:\*|(?:\*\.)?[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?)$/i;
const LISTEN = 'an address and a port such as "127.0.0.1:8181", or "unix:" and an absolute path';

const tls = z.strictObject({
  cert: absolutePath.describe('Certificate with its chain, a PEM file.'),
  key: absolutePath.describe('Private key of the certificate, a PEM file that the daemon can read.'),
});

export const api = z
  .strictObject({
    enabled: z.boolean().default(true).describe('Whether the HTTP API, the page and /metrics are served.'),
    listen: z
      .string()
      .refine((text) => listenAddress(text) !== null, only(LISTEN))
      .default('127.0.0.1:8181')
      .describe(
        'Address and port; beyond loopback it needs tls or allow_remote. Or `unix:/path/of/socket` for a proxy on this host: every client of the socket is trusted like a trusted proxy.',
      ),
    socket_mode: fileMode
      .prefault('0660')
      .describe(
        'Mode of the unix socket that `listen` names. Every user who may open it can claim any client address.',
      ),
    socket_group: z
      .string()
      .min(1)
      .nullable()
      .default(null)
      .describe(
        "Group of that socket, such as www-data for the proxy; the daemon must be a member. Null: the daemon's own group.",
      ),
    hosts: z
      .array(z.string().regex(HOST_NAME, only(NAME)))
      .min(1)
      .nullable()
      .default(null)
      .describe(
        "Host names that requests may use; `*.example.net` means all names below it. Null: localhost, the server's name, the names of the certificate, and every name that a trusted proxy forwards. IP addresses are always allowed.",
      ),
    allow_remote: z
      .boolean()
      .default(false)
      .describe('Allow an address beyond loopback without TLS: tokens then cross the network in clear text.'),
    trusted_proxies: z
      .array(z.string())
      .default([])
      .describe(
        'Addresses and networks of reverse proxies whose X-Forwarded-For and X-Forwarded-Proto are trusted. Empty by default: any program at a trusted address can claim other addresses and have them banned.',
      ),
    tls: tls
      .nullable()
      .default(null)
      .describe('`{ cert: FILE, key: FILE }`, PEM files, read again at a reload; null for plain HTTP.'),
  })
  .describe('The HTTP API and the page.');

export type ApiConfig = z.infer<typeof api>;

export type ListenAddress =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string };

/** Host without brackets, and port; or the path of a unix socket. Null if it is neither. */
export function listenAddress(text: string): ListenAddress | null {
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length);
    return absolutePath.safeParse(path).success && !path.endsWith('/') ? { kind: 'unix', path } : null;
  }
  const target = parseTarget(text);
  if (target?.kind !== 'host' || (isIP(target.host) === 0 && target.host !== 'localhost')) return null;
  return { kind: 'tcp', host: target.host, port: target.port };
}

/** Whether only this host itself can reach it. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}
