import { userInfo } from 'node:os';

/** Who is at the command, before sudo: what the daemon records as claimed. */
export function claimingUser(): string | null {
  try {
    return process.env.SUDO_USER ?? userInfo().username;
  } catch {
    return null; // a user without an entry in passwd
  }
}
