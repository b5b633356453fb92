import { readFileSync } from 'node:fs';
import type { HttpSinkConfig } from '../../config/http.js';
import { messageOf } from '../../errors.js';
import { sinkFailed } from '../sink-failed.js';

/** The word before a token in Authorization. */
export type AuthScheme = 'Bearer' | 'ApiKey' | 'Splunk';

/**
 * The headers with the secrets of the configuration. The files are read for each request, so that a renewed secret needs no restart.
 *
 * @throws AuditdError that names the key, never the content
 */
export function credentialHeaders(
  auth: HttpSinkConfig['auth'],
  scheme: AuthScheme,
): Readonly<Record<string, string>> {
  if (auth === undefined) return {};
  const { token, user, password, header } = auth;
  const headers: Record<string, string> = {};
  if (token !== undefined) headers.Authorization = `${scheme} ${secretIn(token, 'auth.token')}`;
  else if (user !== undefined && password !== undefined) {
    const pair = `${user}:${secretIn(password, 'auth.password', false)}`;
    headers.Authorization = `Basic ${Buffer.from(pair).toString('base64')}`;
  }
  if (header !== undefined) headers[header.name] = secretIn(header.file, 'auth.header.file');
  return headers;
}

/** The content of a file with a secret, without its last newline. @throws AuditdError that names the key, never the content */
export function secretIn(path: string, key: string, inHeader = true): string {
  let text: string;
  try {
    text = readFileSync(path, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    const next = "Correct the path, or let the daemon's user read the file";
    throw sinkFailed(`${key}: ${messageOf(error)}`, next, error);
  }
  if (text === '') throw sinkFailed(`${key}: ${path} is empty`, 'Write the secret into the file');
  if (inHeader && !/^[\x20-\x7e]+$/.test(text)) {
    const what = `${key}: ${path} has more than one line, or characters that no header may have`;
    throw sinkFailed(what, 'Write the secret alone into the file, on one line');
  }
  return text;
}
