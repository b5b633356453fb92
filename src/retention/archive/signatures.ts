import type { Signed } from './manifest.js';

/** An archive that nothing vouches for. */
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
 * Checks that each archive of a signed chain is vouched for: by its own signature, by that of a later linked archive, or by its record in
 * state.db. So archives made before `sign` was set, or with an earlier key, are valid, and archives added by somebody without the key
 * are not.
 */
export class Signatures {
  private unsigned: Unsigned[] = [];

  /** Called with the archives in chain order. @throws Unvouched */
  add(name: string, signed: Signed, isRecorded: boolean): void {
    if (signed === 'wrong') throw new Unvouched(name, 'its signature is wrong');
    if (signed === 'yes') this.unsigned = [];
    else this.unsigned.push({ name, isRecorded });
  }

  /** Called at a gap and at the end: the next archive is not linked to the earlier ones. @throws as `add` */
  end(): void {
    const found = this.unsigned.find(({ isRecorded }) => !isRecorded);
    this.unsigned = [];
    if (found === undefined) return;
    const what =
      'it is not signed with the key that retention.archive.sign names, no later one is, and it was never recorded';
    throw new Unvouched(found.name, what);
  }
}
