import { codeOf, messageOf } from '../errors.js';

/** Why a directory can't be watched, and how to fix it: names the kernel's inotify limit. */
export function watchTrouble(error: unknown): { readonly what: string; readonly next: string } {
  const raised = (key: string) =>
    `Raise it: sysctl fs.inotify.${key} says what it is, a larger value in /etc/sysctl.d stays`;
  switch (codeOf(error)) {
    case 'EMFILE':
      return {
        what: "no more watches can be begun: fs.inotify.max_user_instances is used up by programs of the daemon's user (EMFILE)",
        next: `${raised('max_user_instances')}; or LimitNOFILE= of the unit is used up`,
      };
    case 'ENOSPC':
      return {
        what: "no more directories can be watched: fs.inotify.max_user_watches is used up by programs of the daemon's user (ENOSPC)",
        next: raised('max_user_watches'),
      };
    default:
      return { what: messageOf(error), next: 'Watching needs r and x on the directory' };
  }
}
