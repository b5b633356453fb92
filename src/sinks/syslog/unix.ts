import { type AuditdError, messageOf } from '../../errors.js';
import { loadUnixDatagrams, type UnixDatagramSocket } from '../../load-unix-datagrams.js';
import { sinkFailed } from '../sink-failed.js';
import { collectorError } from './collector-error.js';
import type { Datagrams } from './udp.js';

/** The package gives the words of strerror(3) and no code. */
const CODES: Readonly<Record<string, string>> = {
  'No such file or directory': 'ENOENT',
  'Connection refused': 'ECONNREFUSED',
  'Message too long': 'EMSGSIZE',
  'Permission denied': 'EACCES',
  'Protocol wrong type for socket': 'EPROTOTYPE',
};

function trouble(path: string, error: unknown): AuditdError {
  const code = CODES[messageOf(error)];
  return collectorError(
    path,
    code === undefined ? error : Object.assign(new Error(messageOf(error)), { code }),
  );
}

/**
 * Datagrams to a unix socket such as /dev/log. Node itself has none; the optional package node-unix-socket has.
 *
 * The kernel drops nothing here: a receiver that is full holds the sender up, one that is gone refuses.
 */
export function openUnixDatagrams(path: string): Datagrams {
  const socket = openDatagramSocket();
  let failed: AuditdError | null = null;
  socket.on('error', (error) => {
    failed ??= trouble(path, error);
  });
  return {
    target: path,
    address: null,
    send(data, onDone) {
      if (failed !== null) {
        onDone(failed);
        return;
      }
      try {
        socket.sendTo(data, 0, data.length, path, (error) =>
          onDone(error == null ? null : trouble(path, error)),
        );
      } catch (error) {
        onDone(trouble(path, error));
      }
    },
    get failed() {
      return failed;
    },
    close: () => socket.close(),
  };
}

/** @throws AuditdError where the package is missing */
export function openDatagramSocket(): UnixDatagramSocket {
  try {
    return new (loadUnixDatagrams())();
  } catch (error) {
    throw sinkFailed(
      'unix datagram sockets need the optional package node-unix-socket, which is not installed for this platform',
      'Run "npm install node-unix-socket" where postern-auditd is installed, or use transport: unix-stream, or udp to 127.0.0.1',
      error,
    );
  }
}
