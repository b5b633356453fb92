/** Who is at the command, for the record: whoever may open the socket may say what he likes. */
export function claimedName(text: string | undefined): string | null {
  return text !== undefined && /^[\w.@-]{1,64}$/.test(text) ? text : null;
}
