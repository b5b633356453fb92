/** One of a sink's own files, as found in the directory. */
export interface LogFile {
  readonly number: number;
  readonly size: number;
  /** The offset of its first event, after a header line. */
  readonly start: number;
  /** When it was begun, milliseconds since the epoch. */
  readonly since: number;
}

/** How a sink's files are named, listed and created. Numbers go up and none is used twice. */
export interface LogFileSet {
  /** Own files ascending by number; what is not ours, or unreadable as ours, is not in it. */
  list(): LogFile[];
  path(number: number): string;
  /**
   * Begins a file with a number above `above`, empty or with its header line, and its name on the medium.
   *
   * @param replaces true if the file `above` is gone and this one replaces it
   */
  create(above: number, replaces: boolean, now: number): Promise<LogFile>;
  /** Makes sure that the companions of the current file exist: a link to it, or the other one of a pair. */
  ensureCompanions(current: LogFile, now: number): Promise<void>;
}
