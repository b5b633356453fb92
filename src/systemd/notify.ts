import { loadUnixDatagrams, type UnixDatagramSocket } from '../load-unix-datagrams.js';

/** Tells systemd about this process (sd_notify(3)). A no-op without NOTIFY_SOCKET; never throws. */
export interface Notifier {
  /** False without a service manager, or if the datagram module is missing. */
  readonly active: boolean;
  /** Interval within which systemd expects `WATCHDOG=1`, in ms; null without a watchdog. */
  readonly watchdogMs: number | null;
  notify(lines: Readonly<Record<string, string>>): void;
  close(): void;
}

/**
 * If the datagram module can't be loaded, the daemon runs without it. The setup then writes the unit as `Type=exec` without
 * a watchdog.
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
  // A leading @ means the NUL of an abstract address.
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
        // systemd restarts a unit that does not answer; nobody else can be notified
      }
    },
    close: () => socket.close(),
  };
}

function openSocket(): UnixDatagramSocket | null {
  try {
    const socket = new (loadUnixDatagrams())();
    socket.on('error', () => undefined);
    return socket;
  } catch {
    return null;
  }
}
