declare module 'pino-roll' {
  import type { EventEmitter } from 'node:events';

  interface RollOptions {
    readonly file: string;
    readonly size?: string;
    readonly limit?: { readonly count: number; readonly removeOtherLogFiles?: boolean };
    readonly sync?: boolean;
    readonly mode?: number;
  }

  /** A sonic-boom that rolls: a stream with `write` and `end`. */
  export default function pinoRoll(
    options: RollOptions,
  ): Promise<EventEmitter & { write(text: string): boolean; end(): void }>;
}
