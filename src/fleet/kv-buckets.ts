import { messageOf } from '../errors.js';

/** Key-value buckets beside the stream. Their keys are the tokens of servers, so that permissions can name them. */
export function serversBucket(stream: string): string {
  return `${stream}_SERVERS`;
}

export function leaseBucket(stream: string): string {
  return `${stream}_LEASE`;
}

/** What is said of a bucket that does not answer. @param what it holds */
export function bucketTrouble(what: string, bucket: string, error: unknown): string {
  return `${what}, bucket ${bucket}: ${messageOf(error)}. Make it (postern-auditd fleet init), or give this user the permissions of docs/guide/FLEET.md`;
}

/** A server that is gone for so long is forgotten. */
export const SERVERS_TTL_MS = 30 * 86_400_000;
/** A hub that does not renew its lease for so long has lost it. */
export const LEASE_TTL_MS = 10_000;
