const PCAP_MAGIC = 0xa1b2c3d4;
/** LINKTYPE_RAW: each packet begins with its IP header. */
const RAW_IP = 101;

function ipv4(payload: Buffer): Buffer {
  const header = Buffer.alloc(28);
  header.writeUInt8(0x45, 0);
  header.writeUInt16BE(28 + payload.length, 2);
  header.writeUInt8(64, 8);
  header.writeUInt8(17, 9);
  Buffer.from([192, 0, 2, 1, 192, 0, 2, 2]).copy(header, 12);
  let sum = 0;
  for (let at = 0; at < 20; at += 2) sum += header.readUInt16BE(at);
  header.writeUInt16BE(~((sum & 0xffff) + (sum >> 16)) & 0xffff, 10);
  // From any port to 514, UDP without a checksum (RFC 768).
  header.writeUInt16BE(40_000, 20);
  header.writeUInt16BE(514, 22);
  header.writeUInt16BE(8 + payload.length, 24);
  return Buffer.concat([header, payload]);
}

/** A capture file in which each message is one datagram to the syslog port. */
export function captureOf(messages: readonly string[]): Buffer {
  const head = Buffer.alloc(24);
  head.writeUInt32BE(PCAP_MAGIC, 0);
  head.writeUInt16BE(2, 4);
  head.writeUInt16BE(4, 6);
  head.writeUInt32BE(65_535, 16);
  head.writeUInt32BE(RAW_IP, 20);
  const packets = messages.flatMap((message, at) => {
    const packet = ipv4(Buffer.from(message));
    const record = Buffer.alloc(16);
    record.writeUInt32BE(at, 0);
    record.writeUInt32BE(packet.length, 8);
    record.writeUInt32BE(packet.length, 12);
    return [record, packet];
  });
  return Buffer.concat([head, ...packets]);
}
