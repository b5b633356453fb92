import { z } from 'zod';

/** A server's heartbeat: the entry with its token in the bucket of servers. */
const beatSchema = z.object({
  v: z.literal(1),
  server: z.string().max(1_000),
  role: z.enum(['member', 'hub']),
  version: z.string().max(100),
  /** The server's clock when it sent the heartbeat, ms since the epoch. */
  time: z.number(),
  /** State of Postern's table. */
  state: z.string().max(100),
  /** Highest row id. */
  rows: z.number(),
  /** Events that the stream has not acknowledged yet. */
  lag_events: z.number(),
  lag_seconds: z.number(),
});

export type Beat = z.infer<typeof beatSchema>;

export function parseBeat(text: string): Beat | null {
  try {
    return beatSchema.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    return null;
  }
}
