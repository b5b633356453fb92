import { AuditdError, codeOf, messageOf } from '../../errors.js';

const NEXT: Readonly<Record<string, string>> = {
  ENOSPC: 'Free space on its disk',
  EDQUOT: 'Raise the quota or free space',
  EROFS: 'Mount its file system writable',
  EACCES: "Give the daemon's user write access to its directory",
  EPERM: "Give the daemon's user write access to its directory",
  EIO: 'Check the disk with dmesg',
  ENOTDIR: 'Move away what is in place of the directory',
  EEXIST: 'Move away what is in its place',
  EISDIR: 'Move away the directory of that name',
  ELOOP: 'Move away the link of that name',
  EMFILE: 'Raise LimitNOFILE of the unit',
};

/** The error of a system call on a path, with the next step. An `AuditdError` stays as it is. */
export function diskError(what: string, path: string, error: unknown): AuditdError {
  if (error instanceof AuditdError) return error;
  const next = NEXT[codeOf(error) ?? ''] ?? 'Check the file and its directory';
  return new AuditdError('SINK_FAILED', `${what} ${path}: ${messageOf(error)}`, {
    next: `${next}; the sink then resumes by itself`,
    cause: error,
  });
}
