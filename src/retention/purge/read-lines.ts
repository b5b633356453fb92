import type { Readable } from 'node:stream';

/** The lines of a stream, without line ends. Stopping early leaves the stream writable. @throws Error at a line longer than `longest` characters */
export async function* readStreamLines(stream: Readable, longest: number): AsyncGenerator<string, void> {
  let rest = '';
  const chunks = stream.setEncoding('utf8').iterator({ destroyOnReturn: false });
  for await (const chunk of chunks as AsyncIterable<string>) {
    rest += chunk;
    for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n')) {
      yield rest.slice(0, end);
      rest = rest.slice(end + 1);
    }
    if (rest.length > longest) throw new Error('a line without end');
  }
}
