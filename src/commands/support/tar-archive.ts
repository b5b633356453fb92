/** A file of an archive. */
export interface TarFile {
  /** Relative, at most 100 characters of ASCII. */
  readonly path: string;
  readonly text: string;
}

const BLOCK = 512;
const MODE = '0000644';

/**
 * A tar archive (POSIX ustar) of regular files that belong to root, mode 0644.
 *
 * @param seconds modification time since the epoch
 */
export function tarOf(files: readonly TarFile[], seconds: number): Buffer {
  const parts = files.flatMap(({ path, text }) => {
    const bytes = Buffer.from(text);
    return [header(path, bytes.length, seconds), bytes, Buffer.alloc(-bytes.length & (BLOCK - 1))];
  });
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK)]);
}

function header(path: string, size: number, seconds: number): Buffer {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, digits: number) => value.toString(8).padStart(digits, '0');
  if (path.length > 100) throw new RangeError(`a path of an archive has at most 100 characters: ${path}`);
  block.write(path, 0, 'latin1');
  block.write(MODE, 100);
  block.write(octal(0, 7), 108); // owner
  block.write(octal(0, 7), 116); // group
  block.write(octal(size, 11), 124);
  block.write(octal(seconds, 11), 136);
  block.write(' '.repeat(8), 148); // what its own checksum counts as
  block.write('0', 156); // a regular file
  block.write('ustar\u000000', 257);
  block.write('root', 265);
  block.write('root', 297);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${octal(sum, 6)}\0 `, 148);
  return block;
}
