/** What to do about a client certificate without its key, or the reverse, as `[key, what to do]`; nothing if both are given, or neither. */
export function certificatePair(
  tls: { readonly cert?: string | undefined; readonly key?: string | undefined } | undefined,
): Array<['tls', string]> {
  if ((tls?.cert === undefined) === (tls?.key === undefined)) return [];
  return [['tls', 'cert and key belong together; give both or neither']];
}

/** The same about a user and a password. */
export function loginPair({
  user,
  password,
}: {
  readonly user?: string | undefined;
  readonly password?: string | undefined;
}): Array<['user' | 'password', string]> {
  if ((user === undefined) === (password === undefined)) return [];
  return [[user === undefined ? 'password' : 'user', 'user and password belong together']];
}
