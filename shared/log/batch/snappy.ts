import { ByteFormatError, ByteReader } from '../bytes.ts';

/**
 * Decodes one snappy block ("Snappy compressed format description"). Ours, because the library does not bound what it
 * reads: a literal of a negative length makes it go round for ever, and a block that is cut short comes out as zeros.
 *
 * @throws ByteFormatError when the block is malformed or holds more than `bytesMax`.
 */
export function decompressSnappyBlock(block: Uint8Array, bytesMax: number): Uint8Array<ArrayBuffer> {
  const reader = new ByteReader(block);
  const length = reader.varuint();
  if (length > bytesMax) throw new ByteFormatError(`decompresses to more than ${bytesMax} bytes`);
  // A copy of 64 bytes takes 3: what claims more is malformed, and would only make us allocate it.
  if (length > block.length * 22 + 64) throw new ByteFormatError('a snappy block claims more than it can hold');
  const output = new Uint8Array(length);
  let to = 0;
  while (reader.remaining > 0) {
    const tag = reader.uint8();
    const kind = tag & 3;
    if (kind === LITERAL) {
      const code = tag >> 2;
      const literal = 1 + (code < LONG_LITERAL ? code : littleEndian(reader, code - LONG_LITERAL + 1));
      if (literal > length - to) throw new ByteFormatError('a snappy block holds more than it claims');
      output.set(reader.view(literal), to);
      to += literal;
      continue;
    }
    const copied = kind === NEAR_COPY ? 4 + ((tag >> 2) & 7) : 1 + (tag >> 2);
    const distance =
      kind === NEAR_COPY ? (tag >> 5) * 256 + reader.uint8() : littleEndian(reader, kind === FAR_COPY ? 4 : 2);
    if (distance === 0 || distance > to) throw new ByteFormatError('a snappy block refers to bytes before it');
    if (copied > length - to) throw new ByteFormatError('a snappy block holds more than it claims');
    for (const end = to + copied; to < end; to++) output[to] = output[to - distance] as number;
  }
  if (to !== length) throw new ByteFormatError('a snappy block holds less than it claims');
  return output;
}

/** Kinds of elements, in the two lowest bits of the tag; 2 is a copy from up to 64 KiB back. */
const LITERAL = 0;
const NEAR_COPY = 1;
const FAR_COPY = 3;
/** From this code on the length of a literal follows the tag, in one byte to four. */
const LONG_LITERAL = 60;

function littleEndian(reader: ByteReader, length: number): number {
  let value = 0;
  for (let i = 0; i < length; i++) value += reader.uint8() * 256 ** i;
  return value;
}
