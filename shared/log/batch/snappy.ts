import { ByteFormatError, ByteReader } from '../bytes.ts';
import { copyLiterals, copyMatch } from './copy-run.ts';

/** Kinds of elements, in the two lowest bits of the tag; 3 is a copy with a distance of four bytes. */
const LITERAL = 0;
const NEAR_COPY = 1;
const COPY = 2;
/** From this code on, the length of a literal follows the tag, in one to four bytes. */
const LONG_LITERAL = 60;

/**
 * Decodes one snappy block ("Snappy compressed format description"). This is our own code, because the library does not
 * check its input: it loops forever on a literal of a negative length, and decodes a truncated block to zeros.
 *
 * @throws ByteFormatError if the block is malformed or holds more than `bytesMax`
 */
export function decompressSnappyBlock(block: Uint8Array, bytesMax: number): Uint8Array<ArrayBuffer> {
  const reader = new ByteReader(block);
  const length = reader.varuint();
  if (length > bytesMax) throw new ByteFormatError(`decompresses to more than ${bytesMax} bytes`);
  // A copy of 64 bytes takes 3 bytes. A block that claims a larger ratio is malformed, and would waste an allocation.
  if (length > block.length * 22 + 64) throw new ByteFormatError('a snappy block claims more than it can hold');
  const output = new Uint8Array(length);
  let from = reader.position;
  let to = 0;
  while (from < block.length) {
    const tag = block[from++] as number;
    const kind = tag & 3;
    const code = tag >> 2;
    if (kind === LITERAL) {
      let literals = code + 1;
      if (code >= LONG_LITERAL) {
        literals = 1 + littleEndian(block, from, code - LONG_LITERAL + 1);
        from += code - LONG_LITERAL + 1;
      }
      if (literals > length - to) throw new ByteFormatError('a snappy block holds more than it claims');
      if (literals > block.length - from) throw new ByteFormatError('a snappy block is cut short');
      copyLiterals(block, from, output, to, literals);
      from += literals;
      to += literals;
      continue;
    }
    let copied = code + 1;
    let distance: number;
    if (kind === NEAR_COPY) {
      copied = 4 + (code & 7);
      distance = (tag >> 5) * 256 + littleEndian(block, from, 1);
      from += 1;
    } else if (kind === COPY) {
      distance = littleEndian(block, from, 2);
      from += 2;
    } else {
      distance = littleEndian(block, from, 4);
      from += 4;
    }
    if (distance === 0 || distance > to) throw new ByteFormatError('a snappy block refers to bytes before it');
    if (copied > length - to) throw new ByteFormatError('a snappy block holds more than it claims');
    copyMatch(output, to, distance, copied);
    to += copied;
  }
  if (to !== length) throw new ByteFormatError('a snappy block holds less than it claims');
  return output;
}

/** Reads an unsigned number of up to four bytes. @throws ByteFormatError if the block ends within the number */
function littleEndian(block: Uint8Array, at: number, bytes: number): number {
  if (bytes > block.length - at) throw new ByteFormatError('a snappy block is cut short');
  if (bytes === 1) return block[at] as number;
  const low = (block[at] as number) | ((block[at + 1] as number) << 8);
  if (bytes === 2) return low;
  const high = (block[at + 2] as number) | (bytes === 4 ? (block[at + 3] as number) << 8 : 0);
  return low + high * 0x1_0000;
}
