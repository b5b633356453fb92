import { isIP } from 'node:net';
import { z } from 'zod';
import { parseTarget } from './syslog.js';
import { absolutePath, only } from './units.js';

const tls = z.strictObject({
  cert: absolutePath.describe('Certificate with its chain, a PEM file.'),
  key: absolutePath.describe('Its key, a PEM file that the daemon can read.'),
});

export const api = z
  .strictObject({
    enabled: z.boolean().default(true).describe('Whether the HTTP API, the page and /metrics are served.'),
    listen: z
      .string()
      .refine((text) => listenAddress(text) !== null, only('an address and a port, such as "127.0.0.1:8181"'))
      .default('127.0.0.1:8181')
      .describe('Address and port; beyond loopback it takes tls, or allow_remote.'),
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

/** Host without brackets, and port; null if it is no address with a port. */
export function listenAddress(text: string): { readonly host: string; readonly port: number } | null {
  const target = parseTarget(text);
  if (target?.kind !== 'host' || (isIP(target.host) === 0 && target.host !== 'localhost')) return null;
  return { host: target.host, port: target.port };
}

/** Whether only this host itself can reach it. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}
