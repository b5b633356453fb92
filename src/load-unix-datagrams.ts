import { createRequire } from 'node:module';

/** A socket that sends datagrams to a path, such as /dev/log. */
export interface UnixDatagramSocket {
  sendTo(data: Buffer, from: number, length: number, path: string, onDone?: (error: unknown) => void): void;
  on(event: 'error', listener: (error: unknown) => void): unknown;
  close(): void;
}

/**
 * Node.js has no unix datagram sockets. The optional package node-unix-socket has them, on the platforms that it is built for.
 *
 * @throws Error where the package is missing or can't be loaded
 */
export function loadUnixDatagrams(): new () => UnixDatagramSocket {
  const module = createRequire(import.meta.url)('node-unix-socket') as {
    DgramSocket: new () => UnixDatagramSocket;
  };
  return module.DgramSocket;
}
