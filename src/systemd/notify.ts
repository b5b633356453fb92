import { createRequire } from 'node:module';

interface DatagramSocket {
  sendTo(data: Buffer, from: number, length: number, path: string, onDone?: (error: unknown) => void): void;
  on(event: 'error', listener: (error: unknown) => void): unknown;
  close(): void;
}

/** Tells systemd about this process (sd_notify(3)). A no-op without NOTIFY_SOCKET; never throws. */
export interface Notifier {
  /** False without a service manager, or where the datagram module is missing. */
  readonly active: boolean;
  /** Interval in which `WATCHDOG=1` must come, ms; null if systemd does not watch. */
  readonly watchdogMs: number | null;
  notify(lines: Readonly<Record<string, string>>): void;
  close(): void;
}

/**
 * Node has no unix datagram sockets; the optional package node-unix-socket has. Where it can't be loaded the daemon runs
 * all the same, and the unit has to be `Type=exec` without a watchdog (install.sh sees to that).
 */
export function createNotifier(env: NodeJS.ProcessEnv, pid: number = process.pid): Notifier {
  const path = env.NOTIFY_SOCKET;
  const watched = env.WATCHDOG_PID === undefined || env.WATCHDOG_PID === String(pid);
  const microseconds = Number(env.WATCHDOG_USEC);
  const watchdogMs = watched && microseconds > 0 ? microseconds / 1_000 : null;
  const socket = path === undefined ? null : openSocket();
  if (path === undefined || socket === null) {
    return { active: false, watchdogMs, notify: () => undefined, close: () => undefined };
  }
  // A leading @ stands for the NUL of an abstract address.
  const address = path.startsWith('@') ? `\0${path.slice(1)}` : path;
  return {
    active: true,
    watchdogMs,
    notify(lines) {
      const text = Object.entries(lines)
        .map(([key, value]) => `${key}=${value.replaceAll('\n', ' ')}`)
        .join('\n');
      const data = Buffer.from(text);
      try {
        socket.sendTo(data, 0, data.length, address, () => undefined);
      } catch {
        // systemd restarts a unit that does not answer; nothing else can be informed
      }
    },
    close: () => socket.close(),
  };
}

function openSocket(): DatagramSocket | null {
  try {
    const module = createRequire(import.meta.url)('node-unix-socket') as {
      DgramSocket: new () => DatagramSocket;
    };
    const socket = new module.DgramSocket();
    socket.on('error', () => undefined);
    return socket;
  } catch {
    return null;
  }
}
