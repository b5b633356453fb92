/** What a setup did, for programs. */
interface SetupReport {
  readonly ok: boolean;
  readonly exit_code: number;
  /** What was changed, or with --dry-run would be. */
  readonly changes: readonly string[];
  readonly unchanged: readonly string[];
  /** What is kept, restored or noted, and the summary at the end. */
  readonly messages: readonly string[];
  readonly warnings: readonly string[];
  readonly error: { readonly what: string; readonly next: string | null } | null;
}

/** Reads the output of install/setup.sh (install/output.sh writes the lines). */
export function readReport(out: string, err: string, exitCode: number): SetupReport {
  const lines = out.split('\n').filter((line) => line !== '');
  const marked = (word: RegExp) =>
    lines.flatMap((line) => (word.exec(line) === null ? [] : [line.slice(13)]));
  const changes = marked(/^ {2}(?:done|would) {2,}/);
  const unchanged = marked(/^ {2}unchanged {2}/);
  return {
    ok: exitCode === 0,
    exit_code: exitCode,
    changes,
    unchanged,
    messages: lines
      .filter((line) => !/^ {2}(?:done|would|unchanged) {2,}/.test(line))
      .map((line) => line.trim()),
    warnings: warningsOf(err),
    error: exitCode === 0 ? null : errorOf(err),
  };
}

/** A warning goes on until the next one, or until the error, which stands behind an empty line. */
function warningsOf(err: string): string[] {
  const [before = ''] = err.split('\npostern-auditd setup');
  return before
    .split(/^(?=warning: )/m)
    .flatMap((text) => (text.startsWith('warning: ') ? [text.slice('warning: '.length).trim()] : []));
}

function errorOf(err: string): SetupReport['error'] {
  const found = /\npostern-auditd setup(?:: | )([\s\S]*?)(?:\n {2}next: (.*)|$)/.exec(`\n${err}`);
  return found === null
    ? { what: err.trim(), next: null }
    : { what: (found[1] ?? '').trim(), next: found[2] ?? null };
}
