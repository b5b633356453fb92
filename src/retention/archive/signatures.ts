import type { Signed } from './manifest.js';

/** Nobody vouches for an archive. */
export class Unvouched extends Error {
  constructor(
    /** Its name. */
    readonly manifest: string,
    what: string,
  ) {
    super(what);
  }
}

interface Unsigned {
  readonly name: string;
  readonly isRecorded: boolean;
}

/**
 * Whether somebody vouches for each archive of a chain where archives are signed: its own signature, that of a later one to which it is
 * linked, or the record of it in state.db. So what was made before `sign` was set, or with the key before, is good, and what was put
 * there by somebody without the key is not.
 */
export class Signatures {
  private unsigned: Unsigned[] = [];

  /** The archives in the order of the chain. @throws Unvouched */
  add(name: string, signed: Signed, isRecorded: boolean): void {
    if (signed === 'wrong') throw new Unvouched(name, 'its signature is wrong');
    if (signed === 'yes') this.unsigned = [];
    else this.unsigned.push({ name, isRecorded });
  }

  /** The next one is not linked to those before: at a gap, and at the end. @throws as `add` */
  end(): void {
    const found = this.unsigned.find(({ isRecorded }) => !isRecorded);
    this.unsigned = [];
    if (found === undefined) return;
    const what =
      'it is not signed with the key that retention.archive.sign names, no later one is, and it was never recorded';
    throw new Unvouched(found.name, what);
  }
}
