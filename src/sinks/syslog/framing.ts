/** How messages are told apart in a byte stream (RFC 6587 section 3.4). */
export type Framing = 'octet-counting' | 'newline';

/** `LENGTH SP MESSAGE`, length in bytes (RFC 6587 section 3.4.1, RFC 5425 section 4.3). */
export function countedFrame(message: string): string {
  return `${Buffer.byteLength(message)} ${message}`;
}

/** `MESSAGE LF` (RFC 6587 section 3.4.2). A line end inside of a message would break the frame: it becomes a space. */
export function lineFrame(message: string): string {
  return message.includes('\n') ? `${message.replace(/\r?\n/g, ' ')}\n` : `${message}\n`;
}
