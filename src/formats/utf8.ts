/** Length of the text in bytes of UTF-8. A lone surrogate counts as three bytes, because U+FFFD is sent for it. */
export function utf8Length(text: string): number {
  return Buffer.byteLength(text, 'utf8');
}

/** Whether the text fits into this many bytes of UTF-8. Counts them only if the length in UTF-16 does not decide. */
export function fitsUtf8(text: string, bytes: number): boolean {
  if (text.length > bytes) return false;
  return text.length * 3 <= bytes || Buffer.byteLength(text, 'utf8') <= bytes;
}

/** The longest beginning of the text that fits into this many bytes of UTF-8. No character is split. */
export function cutUtf8(text: string, bytes: number): string {
  if (fitsUtf8(text, bytes)) return text;
  const encoded = Buffer.from(text.slice(0, Math.max(0, bytes)), 'utf8');
  let end = Math.min(Math.max(0, bytes), encoded.length);
  while (end > 0 && end < encoded.length && ((encoded[end] ?? 0) & 0xc0) === 0x80) end--;
  return encoded.toString('utf8', 0, end);
}

/** Like `cutUtf8`, for escaped text. No escape (`\\`, `\=`, `\n`, `\u005e`) is split either. */
export function cutEscaped(text: string, bytes: number): string {
  const cut = cutUtf8(text, bytes);
  if (cut.length === text.length) return cut;
  return cut.replace(/(?<!\\)((?:\\\\)*)\\(?:u[0-9a-f]{0,3})?$/, '$1');
}
