import { isIP } from 'node:net';
import { z } from 'zod';
import { absolutePath, fileMode, only } from './duration-and-size.js';
import { parseTarget } from './syslog.js';

const NAME = 'a host name such as audit.example.net, *.example.net for all below it, or "*" for any';
const HOST_NAME = /^(?:\*|(?:\*\.)?[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?)$/i;
const LISTEN = 'an address and a port such as "127.0.0.1:8181", or "unix:" and an absolute path';

const tls = z.strictObject({
  cert: absolutePath.describe('Certificate with its chain, a PEM file.'),
  key: absolutePath.describe('Its key, a PEM file that the daemon can read.'),
});

export const api = z
  .strictObject({
    enabled: z.boolean().default(true).describe('Whether the HTTP API, the page and /metrics are served.'),
    listen: z
      .string()
      .refine((text) => listenAddress(text) !== null, only(LISTEN))
      .default('127.0.0.1:8181')
      .describe(
        'Address and port; beyond loopback it takes tls, or allow_remote. Or `unix:/path/of/socket` for a proxy on this host: whoever may open the socket is believed like a trusted proxy.',
      ),
    socket_mode: fileMode
      .prefault('0660')
      .describe('Mode of the unix socket that `listen` names: who may open it may name any client address.'),
    socket_group: z
      .string()
      .min(1)
      .nullable()
      .default(null)
      .describe(
        "Group of that socket, such as the proxy's, www-data; the daemon has to be in it. Null: its own.",
      ),
    hosts: z
      .array(z.string().regex(HOST_NAME, only(NAME)))
      .min(1)
      .nullable()
      .default(null)
      .describe(
        "Names that requests may carry in Host; `*.example.net` means all below it. Null: localhost, the server's name, those of the certificate, and any that a trusted proxy brings. Addresses may always stand there.",
      ),
    allow_remote: z
      .boolean()
      .default(false)
      .describe(
        'Listen beyond loopback without TLS all the same: tokens then cross the network in the clear.',
      ),
    trusted_proxies: z
      .array(z.string())
      .default([])
      .describe(
        'Addresses and networks of reverse proxies, whose X-Forwarded-For and X-Forwarded-Proto are believed. Nobody by default: any program of that address could name others, and have them banned.',
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
