/** One of a sink's own files, as it lies there. */
export interface LogFile {
  readonly number: number;
  readonly size: number;
  /** Where its first event stands, behind a header line. */
  readonly start: number;
  /** When it was begun, milliseconds since the epoch. */
  readonly since: number;
}

/** How a sink's files are called, found and begun. Numbers go up and none is used twice. */
export interface LogFileSet {
  /** Own files ascending by number; what is not ours, or unreadable as ours, is not in it. */
  list(): LogFile[];
  path(number: number): string;
  /**
   * Begins a file with a number above `above`, empty or with its header line, and its name on the medium.
   *
   * @param replaces true if the file `above` is gone and this one stands in for it
   */
  create(above: number, replaces: boolean, now: number): Promise<LogFile>;
  /** Sees to what belongs beside the current file: a link to it, or the other one of a pair. */
  ensureCompanions(current: LogFile, now: number): Promise<void>;
}
