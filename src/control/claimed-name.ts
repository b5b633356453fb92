/** The name that the user of a command claims, for the record. Everyone who may open the socket can claim any name. */
export function claimedName(text: string | undefined): string | null {
  return text !== undefined && /^[\w.@-]{1,64}$/.test(text) ? text : null;
}
