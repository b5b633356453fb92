import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { compiled, removeCompiled } from '../support/compiled.js';

// A namespace of users has limits of its own, so that nobody else's are touched.
const IN_NAMESPACE = ['--user', '--map-root-user', 'sh', '-c'];
const there =
  spawnSync('unshare', [...IN_NAMESPACE, 'echo 9 >/proc/sys/user/max_inotify_watches']).status === 0;
if (!there && process.env.CI !== undefined) throw new Error('unshare --user does not work here');
if (!there) console.warn("SKIPPED: no user namespaces here (unshare --user): the kernel's limits on watches");

afterAll(removeCompiled);

const program = `
  const { watchDatabase } = await import(process.argv[1]);
  const log = { warn: (_, text) => console.log(text) };
  const never = () => false;
  watchDatabase({ database: () => '/tmp/x.db', pollInterval: 1000, mayHaveChanged: never, log }, never).close();`;

it.skipIf(!there).each([
  ['max_inotify_instances', 'EMFILE', 'fs.inotify.max_user_instances'],
  ['max_inotify_watches', 'ENOSPC', 'fs.inotify.max_user_watches'],
])('the warning about an exhausted %s names the key to raise', (limit, code, key) => {
  const line = `echo 0 >/proc/sys/user/${limit} && exec "$0" "$@"`;
  const { stdout, stderr } = spawnSync(
    'unshare',
    [
      ...IN_NAMESPACE,
      line,
      process.execPath,
      '--input-type=module',
      '-e',
      program,
      join(compiled(), 'source/watch.js'),
    ],
    { encoding: 'utf8' },
  );
  expect(stderr).toBe('');
  expect(stdout).toMatch(
    new RegExp(`^/tmp can't be watched: .*${key} is used up by programs of the daemon's user \\(${code}\\)`),
  );
  expect(stdout).toContain('It is polled every 1000 ms instead. Raise it: sysctl fs.inotify.');
});
