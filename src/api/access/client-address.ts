import { NetworkSet, parseAddress } from '../../audit/address.js';

/** Where a request comes from, as far as it can be believed. */
export interface Client {
  /** Canonical text; null over a unix socket without a proxy, or where a trusted proxy names none. */
  readonly address: string | null;
  /** Whether the client itself speaks TLS: to us, or to a trusted proxy that says so. */
  readonly secure: boolean;
  /** Host and port as the client's browser has them. */
  readonly host: string;
  /** Whether a trusted proxy says all that. */
  readonly viaProxy: boolean;
}

export interface RequestHeaders {
  header(name: string): string | undefined;
}

/** More hops than that has no chain of proxies. */
const MOST_HOPS = 20;

/**
 * Finds the client behind trusted proxies. `X-Forwarded-For` is read from the right: each hop is believed as long as the one that
 * names it is trusted, so what a client writes into the header himself stands behind the address that the first proxy saw.
 */
export class ClientAddresses {
  private readonly trusted: NetworkSet;
  private isTold = false;

  /**
   * @param trusted addresses and networks, as in api.trusted_proxies
   * @param onIgnored called once, with who names another address and is not believed; with `null` for a proxy at the unix socket that
   * names nobody
   * @param unixPeers who is at the other end of a unix socket: a proxy that is trusted, as the socket's mode lets in nobody else, or
   * somebody without an address
   */
  constructor(
    trusted: readonly string[],
    private readonly onIgnored: (peer: string | null) => void = () => undefined,
    private readonly unixPeers: 'proxy' | 'local' = 'local',
  ) {
    this.trusted = new NetworkSet(trusted);
  }

  /**
   * @param peer address of the other end of the connection; undefined for a unix socket
   * @param encrypted whether that connection is TLS
   */
  of(peer: string | undefined, encrypted: boolean, headers: RequestHeaders): Client {
    const direct = parseAddress(peer ?? null);
    const host = headers.header('host') ?? '';
    const forwarded = headers.header('x-forwarded-for');
    const viaProxy = direct === null ? this.unixPeers === 'proxy' : this.trusted.contains(direct);
    if (!viaProxy) {
      if (direct !== null && forwarded !== undefined) this.ignored(direct);
      return { address: direct, secure: encrypted, host, viaProxy };
    }
    if (direct === null && forwarded === undefined) this.ignored(null);
    const proto = last(headers.header('x-forwarded-proto'));
    return {
      address: this.behind(direct, forwarded),
      secure: proto === undefined ? encrypted : proto.toLowerCase() === 'https',
      host: last(headers.header('x-forwarded-host')) ?? host,
      viaProxy,
    };
  }

  private ignored(peer: string | null): void {
    if (!this.isTold) this.onIgnored(peer);
    this.isTold = true;
  }

  private behind(direct: string | null, forwarded: string | undefined): string | null {
    const hops = (forwarded ?? '').split(',').map((hop) => hop.trim());
    let address = direct;
    for (const hop of hops.reverse().slice(0, MOST_HOPS)) {
      if (hop === '') continue;
      const next = parseAddress(hop);
      if (next === null) return null; // the proxy names somebody, but not by an address
      address = next;
      if (!this.trusted.contains(next)) break;
    }
    return address;
  }
}

function last(list: string | undefined): string | undefined {
  const words = list?.split(',').map((word) => word.trim());
  return words?.at(-1) || undefined;
}
