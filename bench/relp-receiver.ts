import { createServer } from 'node:net';

// Counts syslog messages over RELP and acknowledges each as soon as it is complete. A separate process, so that its
// cost is not the sender's. Prints its port, and a line when EXPECTED messages have arrived.

const expected = Number(process.env.EXPECTED ?? 0);
const OFFERS = '200 OK\nrelp_version=0\nrelp_software=bench\ncommands=syslog';
const SP = 0x20;
const LF = 0x0a;
let count = 0;
let first = 0;

function counted(messages: number): void {
  if (messages === 0) return;
  if (count === 0) first = performance.now();
  const before = count;
  count += messages;
  if (before < expected && count >= expected) {
    console.log(JSON.stringify({ count, seconds: (performance.now() - first) / 1_000 }));
  }
}

/** `TXNR SP COMMAND SP DATALEN [SP DATA] LF`: the answers to all complete frames, how many were syslog, and where they end. */
function answer(data: Buffer): { answers: string; messages: number; end: number } {
  let answers = '';
  let messages = 0;
  let at = 0;
  for (;;) {
    const afterTxnr = data.indexOf(SP, at);
    const afterCommand = afterTxnr < 0 ? -1 : data.indexOf(SP, afterTxnr + 1);
    if (afterCommand < 0) break;
    let end = afterCommand + 1;
    let length = 0;
    while (end < data.length && data[end] !== SP && data[end] !== LF)
      length = length * 10 + (data[end++] ?? 0) - 0x30;
    if (length > 0) end += length + 1;
    if (end >= data.length) break;
    const txnr = data.toString('latin1', at, afterTxnr);
    const command = data.toString('latin1', afterTxnr + 1, afterCommand);
    if (command === 'syslog') messages++;
    answers += command === 'open' ? `${txnr} rsp ${OFFERS.length} ${OFFERS}\n` : `${txnr} rsp 6 200 OK\n`;
    at = end + 1;
  }
  return { answers, messages, end: at };
}

const server = createServer({ noDelay: true }, (socket) => {
  let rest = Buffer.alloc(0);
  socket.on('data', (data) => {
    const all = rest.length === 0 ? data : Buffer.concat([rest, data]);
    const { answers, messages, end } = answer(all);
    rest = Buffer.from(all.subarray(end));
    if (answers !== '') socket.write(answers, 'latin1');
    counted(messages);
  });
  socket.on('error', () => undefined);
});

server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  console.log(JSON.stringify({ port: typeof address === 'object' ? address?.port : 0 }));
});
