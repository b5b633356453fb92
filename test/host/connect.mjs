// Tries once to reach a port from a test host's `client` namespace. Prints open, refused, timeout or an error's code.
// Arguments: protocol (tcp or udp), from, to, port, milliseconds. Over UDP `open` means that an answer arrived.
import dgram from 'node:dgram';
import net from 'node:net';

const [protocol, from, to, port, wait] = process.argv.slice(2);
const done = (word) => {
  process.stdout.write(word);
  process.exit(0);
};
const failed = (error) => done(error.code === 'ECONNREFUSED' ? 'refused' : (error.code ?? String(error)));
setTimeout(() => done('timeout'), Number(wait));
if (protocol === 'udp') {
  const socket = dgram.createSocket(to.includes(':') ? 'udp6' : 'udp4');
  socket.on('error', failed);
  socket.on('message', () => done('open'));
  socket.bind(0, from, () => socket.connect(Number(port), to, () => socket.send('?')));
} else {
  net.connect({ host: to, port: Number(port), localAddress: from }, () => done('open')).on('error', failed);
}
