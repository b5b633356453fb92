import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { signingKey } from '../../../src/retention/archive/signing-key.js';

const directory = mkdtempSync(join(tmpdir(), 'postern-key-'));
afterAll(() => rmSync(directory, { recursive: true }));

function file(name: string, key: KeyObject): string {
  const path = join(directory, name);
  const type = key.type === 'private' ? 'pkcs8' : 'spki';
  writeFileSync(path, key.export({ format: 'pem', type } as never));
  return path;
}

it('archives are signed only with keys that verify accepts', () => {
  const ed25519 = generateKeyPairSync('ed25519');
  expect(signingKey(file('good', ed25519.privateKey)).asymmetricKeyType).toBe('ed25519');
  const rsa = file('rsa', generateKeyPairSync('rsa', { modulusLength: 1_024 }).privateKey);
  expect(() => signingKey(rsa)).toThrow(/is of type rsa, archives are signed with ed25519\. Make one/);
  expect(() => signingKey(file('public', ed25519.publicKey))).toThrow(/can't be used: .*Make one/);
  expect(() => signingKey(join(directory, 'none'))).toThrow(/ENOENT.*Make one/);
});
