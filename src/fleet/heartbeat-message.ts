import { z } from 'zod';

/** What a server says of itself now and then: the entry of its token in the bucket of servers. */
const beatSchema = z.object({
  v: z.literal(1),
  server: z.string().max(1_000),
  role: z.enum(['member', 'hub']),
  version: z.string().max(100),
  /** Its clock when it was sent, milliseconds since the epoch. */
  time: z.number(),
  /** Of Postern's table. */
  state: z.string().max(100),
  /** Highest row id. */
  rows: z.number(),
  /** Events that the stream has not acknowledged. */
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
