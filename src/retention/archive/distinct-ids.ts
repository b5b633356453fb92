/** Ids per block of memory. */
const PIECE = 65_536;

/** Counts distinct ids with one bit each: ten million take little more than a megabyte. */
export class DistinctIds {
  count = 0;
  private readonly pieces = new Map<string, Uint8Array>();

  /** @returns the counter for the ids of one table */
  of(table: string): (id: number) => void {
    return (id) => {
      const key = `${table} ${Math.floor(id / PIECE)}`;
      const bits = this.pieces.get(key) ?? new Uint8Array(PIECE / 8);
      this.pieces.set(key, bits);
      const at = ((id % PIECE) + PIECE) % PIECE;
      const [byte, bit] = [at >> 3, 1 << (at & 7)];
      if (((bits[byte] ?? 0) & bit) !== 0) return;
      bits[byte] = (bits[byte] ?? 0) | bit;
      this.count++;
    };
  }
}
