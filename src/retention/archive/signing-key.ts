import { createPrivateKey, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { AuditdError, messageOf } from '../../errors.js';

const NEXT =
  'Make one with openssl genpkey -algorithm ed25519, readable by the daemon, or set retention.archive.sign to null';

/**
 * The private key that signs archives. Keys of other types can sign as well, but `archive verify --key` would reject their signatures.
 *
 * @param next the next step if it can't be used
 * @throws AuditdError `ARCHIVE_FAILED` if it can't be read, or is not an ed25519 key
 */
export function signingKey(path: string, next = NEXT): KeyObject {
  let key: KeyObject;
  try {
    key = createPrivateKey(readFileSync(path));
  } catch (error) {
    throw new AuditdError('ARCHIVE_FAILED', `The key ${path} can't be used: ${messageOf(error)}`, {
      next,
      cause: error,
    });
  }
  if (key.asymmetricKeyType === 'ed25519') return key;
  const what = `The key ${path} is of type ${key.asymmetricKeyType}, archives are signed with ed25519`;
  throw new AuditdError('ARCHIVE_FAILED', what, { next });
}
