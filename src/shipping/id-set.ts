/** Ids that share a piece of memory, and a row of state.db. */
const PIECE_IDS = 4_096;

/** A set of row ids, a bit each: ten million of them take little more than a megabyte. */
export class IdSet {
  private readonly pieces = new Map<number, Uint8Array>();

  /** @param pieces as `entries` gave them */
  constructor(pieces: Iterable<readonly [piece: number, bits: Uint8Array]> = []) {
    for (const [piece, bits] of pieces) this.pieces.set(piece, Uint8Array.from(bits));
  }

  has(id: number): boolean {
    const bits = this.pieces.get(IdSet.pieceOf(id));
    const [byte, bit] = placeOf(id);
    return bits !== undefined && ((bits[byte] ?? 0) & bit) !== 0;
  }

  add(id: number): void {
    const piece = IdSet.pieceOf(id);
    const bits = this.pieces.get(piece) ?? new Uint8Array(PIECE_IDS / 8);
    this.pieces.set(piece, bits);
    const [byte, bit] = placeOf(id);
    bits[byte] = (bits[byte] ?? 0) | bit;
  }

  /** The pieces that have any of it. */
  entries(): Iterable<[piece: number, bits: Uint8Array]> {
    return this.pieces.entries();
  }

  static pieceOf(id: number): number {
    return Math.floor(id / PIECE_IDS);
  }
}

function placeOf(id: number): [byte: number, bit: number] {
  const at = ((id % PIECE_IDS) + PIECE_IDS) % PIECE_IDS;
  return [at >> 3, 1 << (at & 7)];
}
