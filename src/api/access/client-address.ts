import { NetworkSet, parseAddress } from '../../audit/address.js';

/** The origin of a request, as far as it can be trusted. */
export interface Client {
  /** Canonical text; null over a unix socket without a proxy, or if a trusted proxy sends no address. */
  readonly address: string | null;
  /** Whether the client itself uses TLS, directly or to a trusted proxy that reports it. */
  readonly secure: boolean;
  /** Host and port as in the client's request. */
  readonly host: string;
  /** Whether a trusted proxy reports these values. */
  readonly viaProxy: boolean;
}

export interface RequestHeaders {
  header(name: string): string | undefined;
}

/** Hops read at most: no real chain of proxies is longer. */
const MOST_HOPS = 20;

/**
 * Finds the client behind trusted proxies. `X-Forwarded-For` is read from the right, and a hop counts as long as the hop that added it is
 * trusted. So text that the client itself puts into the header is never reached: the first proxy added the client's address after it.
 */
export class ClientAddresses {
  private readonly trusted: NetworkSet;
  private isReported = false;

  /**
   * @param trusted addresses and networks, as in api.trusted_proxies
   * @param onIgnored called once: with the untrusted peer that sent X-Forwarded-For, or with `null` for a proxy at the unix socket that
   * sent none
   * @param unixPeers the other end of a unix socket: `proxy`, trusted as the socket's mode admits nothing else, or `local`, a client without
   * an address
   */
  constructor(
    trusted: readonly string[],
    private readonly onIgnored: (peer: string | null) => void = () => undefined,
    private readonly unixPeers: 'proxy' | 'local' = 'local',
  ) {
    this.trusted = new NetworkSet(trusted);
  }

  /**
   * @param peer address of the connection's other end; undefined for a unix socket
   * @param encrypted whether that connection is TLS
   */
  of(peer: string | undefined, encrypted: boolean, headers: RequestHeaders): Client {
    const direct = parseAddress(peer ?? null);
    const host = headers.header('host') ?? '';
    const forwarded = headers.header('x-forwarded-for');
    const viaProxy = direct === null ? this.unixPeers === 'proxy' : this.trusted.contains(direct);
    if (!viaProxy) {
      if (direct !== null && forwarded !== undefined) this.reportIgnored(direct);
      return { address: direct, secure: encrypted, host, viaProxy };
    }
    if (direct === null && forwarded === undefined) this.reportIgnored(null);
    const proto = last(headers.header('x-forwarded-proto'));
    return {
      address: this.clientBehind(direct, forwarded),
      secure: proto === undefined ? encrypted : proto.toLowerCase() === 'https',
      host: last(headers.header('x-forwarded-host')) ?? host,
      viaProxy,
    };
  }

  private reportIgnored(peer: string | null): void {
    if (!this.isReported) this.onIgnored(peer);
    this.isReported = true;
  }

  private clientBehind(direct: string | null, forwarded: string | undefined): string | null {
    const hops = (forwarded ?? '').split(',').map((hop) => hop.trim());
    let address = direct;
    for (const hop of hops.reverse().slice(0, MOST_HOPS)) {
      if (hop === '') continue;
      const next = parseAddress(hop);
      if (next === null) return null; // the hop is not an address
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
