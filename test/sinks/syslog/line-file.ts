import { closeSync, existsSync, fstatSync, openSync, readSync } from 'node:fs';

/** A file that somebody else appends to, line by line; what was read once is not read again. */
export class LineFile {
  private readonly found: string[] = [];
  private at = 0;

  constructor(private readonly path: string) {}

  /** Its whole lines up to now; more of them at the next call. */
  read(): readonly string[] {
    if (!existsSync(this.path)) return this.found;
    const fd = openSync(this.path, 'r');
    try {
      const bytes = Buffer.alloc(fstatSync(fd).size - this.at); // all of it may be more than a string can hold
      const length = readSync(fd, bytes, 0, bytes.length, this.at);
      let from = 0;
      for (let end = bytes.indexOf(10); end >= 0 && end < length; end = bytes.indexOf(10, from)) {
        this.found.push(bytes.toString('utf8', from, end));
        from = end + 1;
      }
      this.at += from;
    } finally {
      closeSync(fd);
    }
    return this.found;
  }
}
