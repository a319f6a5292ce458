import { crc32 } from 'node:zlib';

const VERSION = 20;
const LOCAL = 0x04034b50;
const CENTRAL = 0x02014b50;
const END = 0x06054b50;
/** A regular file that everyone may read. */
const MODE = 0o100644;

/** A ZIP archive of one file, not compressed: what a Lambda function is made of. */
export function zip(name: string, text: string): Uint8Array {
  const [path, content] = [Buffer.from(name), Buffer.from(text)];
  // Version, flags, method, time, date, checksum, both sizes, length of the name, length of the extra fields.
  const common = Buffer.alloc(26);
  common.writeUInt16LE(VERSION, 0);
  common.writeUInt32LE(crc32(content), 10);
  common.writeUInt32LE(content.length, 14);
  common.writeUInt32LE(content.length, 18);
  common.writeUInt16LE(path.length, 22);
  const local = Buffer.concat([word(LOCAL), common, path, content]);
  // Made on Unix; then the comment, the disk, the attributes, and where the file begins.
  const rest = Buffer.alloc(14);
  rest.writeUInt32LE((MODE << 16) >>> 0, 6);
  const central = Buffer.concat([word(CENTRAL), Buffer.from([VERSION, 3]), common, rest, path]);
  const end = Buffer.alloc(18);
  end.writeUInt16LE(1, 4);
  end.writeUInt16LE(1, 6);
  end.writeUInt32LE(central.length, 8);
  end.writeUInt32LE(local.length, 12);
  return Buffer.concat([local, central, word(END), end]);
}

function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
