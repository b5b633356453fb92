import { execFileSync } from 'node:child_process';

const PARTS = ['output', 'platform', 'database', 'identity', 'program', 'service', 'fail2ban', 'purge'];

/** Runs a line of bash that can call the functions of install/. Returns its output. */
export function bash(
  line: string,
  options: { args?: readonly string[]; env?: NodeJS.ProcessEnv } = {},
): string {
  const parts = PARTS.map((part) => `. install/${part}.sh`).join('\n');
  const script = `set -Eeuo pipefail\n${parts}\n${line}`;
  return execFileSync('bash', ['-c', script, 'bash', ...(options.args ?? [])], {
    encoding: 'utf8',
    env: options.env ?? process.env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}
