import { createServer } from 'node:net';

// Counts syslog messages over TCP. The first byte decides between octet counting (RFC 6587 3.4.1) and lines. A separate process,
// so that its cost is not the sender's. Prints its port, and a line when EXPECTED messages have arrived.

const expected = Number(process.env.EXPECTED ?? 0);
let count = 0;
let first = 0;

function counted(messages: number): void {
  if (count === 0) first = performance.now();
  const before = count;
  count += messages;
  if (before < expected && count >= expected) {
    console.log(JSON.stringify({ count, seconds: (performance.now() - first) / 1_000 }));
  }
}

const server = createServer((socket) => {
  let skip = 0; // bytes of the current message that have not arrived
  let digits = '';
  let lines: boolean | null = null;
  socket.on('data', (data) => {
    lines ??= data[0] === 0x3c; // "<PRI>" begins a line, a digit begins a frame
    let messages = 0;
    let at = 0;
    while (at < data.length) {
      if (lines) {
        const end = data.indexOf(10, at);
        if (end < 0) break;
        messages++;
        at = end + 1;
      } else if (skip > 0) {
        const taken = Math.min(skip, data.length - at);
        skip -= taken;
        at += taken;
        if (skip === 0) messages++;
      } else {
        const byte = data[at++] ?? 0;
        if (byte === 0x20) {
          skip = Number(digits);
          digits = '';
        } else {
          digits += String.fromCharCode(byte);
        }
      }
    }
    if (messages > 0) counted(messages);
  });
  socket.on('error', () => undefined);
});

server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  console.log(JSON.stringify({ port: typeof address === 'object' ? address?.port : 0 }));
});
