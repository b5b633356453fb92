import { type Diagnosis, messageOf } from '../errors.js';

/** Key-value buckets beside the stream. Their keys are the tokens of servers, so that permissions can name them. */
export function serversBucket(stream: string): string {
  return `${stream}_SERVERS`;
}

export function leaseBucket(stream: string): string {
  return `${stream}_LEASE`;
}

/** Why a bucket can't be used. @param content what it holds */
export function bucketTrouble(content: string, bucket: string, error: unknown): Diagnosis {
  return {
    what: `can't use bucket ${bucket} (${content}): ${messageOf(error)}`,
    next: 'Create it (postern-auditd fleet init), or give this user the permissions of docs/guide/FLEET.md',
  };
}

/** A server without a heartbeat for so long is removed from the list. */
export const SERVERS_TTL_MS = 30 * 86_400_000;
/** A hub that does not renew its lease for so long loses it. */
export const LEASE_TTL_MS = 10_000;
