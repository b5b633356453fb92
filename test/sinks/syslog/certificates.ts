import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** A certificate and its key, as files. */
export interface Identity {
  readonly cert: string;
  readonly key: string;
  /** SHA-256, with colons. */
  readonly fingerprint: string;
}

/** A certificate authority for tests, made with openssl in a directory of its own. */
export class Authority {
  private readonly directory = mkdtempSync(join(tmpdir(), 'postern-ca-'));
  readonly cert = join(this.directory, 'ca.pem');
  private readonly key = join(this.directory, 'ca.key');

  /** @param parent the authority that this one is an intermediate of; left out: it is a root */
  constructor(parent?: Authority) {
    if (parent !== undefined) {
      const request = join(this.directory, 'ca.csr');
      this.openssl(
        'req',
        ...KEY,
        '-keyout',
        this.key,
        '-out',
        request,
        '-subj',
        '/CN=test intermediate',
        '-addext',
        'basicConstraints=critical,CA:TRUE',
      );
      parent.sign(request, this.cert, 30);
      return;
    }
    this.openssl(
      'req',
      '-x509',
      ...KEY,
      '-keyout',
      this.key,
      '-out',
      this.cert,
      '-subj',
      '/CN=test CA',
      '-days',
      '30',
    );
  }

  /** @param days until it expires; 0: it has expired by the time this returns. Less is refused by OpenSSL 3.5 */
  issue(name: string, altNames: string, days = 100): Identity {
    const [cert, key, request] = ['pem', 'key', 'csr'].map((end) =>
      join(this.directory, `${name}.${end}`),
    ) as [string, string, string];
    const subject = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=${altNames}`];
    this.openssl('req', ...KEY, '-keyout', key, '-out', request, ...subject);
    this.sign(request, cert, days);
    if (days === 0) execFileSync('sleep', ['1.1']); // it is good for the second in which it was made
    return { cert, key, fingerprint: new X509Certificate(readFileSync(cert)).fingerprint256 };
  }

  private sign(request: string, cert: string, days: number): void {
    const signer = ['-CA', this.cert, '-CAkey', this.key, '-CAcreateserial', '-copy_extensions', 'copy'];
    this.openssl('x509', '-req', '-in', request, ...signer, '-days', String(days), '-out', cert);
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  private openssl(...args: string[]): void {
    execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  }
}

/** The names of this host that a test's collector answers to. */
export const HERE = 'DNS:localhost,IP:127.0.0.1';
