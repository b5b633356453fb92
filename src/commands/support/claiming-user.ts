import { userInfo } from 'node:os';

/** The user who called the command, before sudo. The daemon records it as a claim. */
export function claimingUser(): string | null {
  try {
    return process.env.SUDO_USER ?? userInfo().username;
  } catch {
    return null; // a user without an entry in passwd
  }
}
