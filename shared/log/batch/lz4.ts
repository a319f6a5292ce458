import lz4 from 'lz4js';
import xxh32 from 'lz4js/xxh32.js';
import { ByteFormatError, ByteReader, ByteWriter } from '../bytes.ts';
import { copyLiterals, copyMatch } from './copy-run.ts';

/**
 * LZ4 frames as Kafka writes and reads them ("LZ4 Frame Format Description" 1.6.x, and KIP-57): independent blocks of at
 * most 64 KiB, no content size, and only the header's checksum. The library compresses the blocks. The frame and the
 * decoder are our own code, because the library links blocks, which Kafka's Java client rejects, and does not bound its
 * output.
 */

const MAGIC = 0x184d2204;
const FLAGS_AT = 4;
const VERSION_1 = 0x40;
const VERSION_MASK = 0xc0;
const BLOCKS_INDEPENDENT = 0x20;
const BLOCK_CHECKSUMS = 0x10;
const CONTENT_SIZE = 0x08;
const CONTENT_CHECKSUM = 0x04;
const DICTIONARY_ID = 0x01;
const BLOCK_STORED = 0x8000_0000;
const BLOCK_BYTES_BY_CODE: Readonly<Record<number, number>> = { 4: 65_536, 5: 262_144, 6: 1_048_576, 7: 4_194_304 };
const BLOCK_CODE = 4;
const BLOCK_BYTES = 65_536;
const MATCH_LENGTH_MIN = 4;
/** With this length in the token, further bytes add to the length: any number of 255, then one that is less. */
const EXTENDED = 15;

/** The length that the library requires. */
const HASH_TABLE_LENGTH = 65_536;
/** Buffers of 320 KiB, made once: making them for each batch took 180 of the 190 µs of a batch of 1 KiB. */
let working: { readonly scratch: Uint8Array; readonly hashTable: Uint32Array } | undefined;

export function compressLz4(content: Uint8Array): Uint8Array<ArrayBuffer> {
  const frame = new ByteWriter(content.length / 2 + 64);
  const descriptor = Uint8Array.of(VERSION_1 | BLOCKS_INDEPENDENT, BLOCK_CODE << 4);
  uint32LittleEndian(frame, MAGIC);
  frame.write(descriptor);
  frame.uint8((xxh32.hash(0, descriptor, 0, descriptor.length) >>> 8) & 0xff);
  working ??= {
    scratch: new Uint8Array(lz4.compressBound(BLOCK_BYTES)),
    hashTable: new Uint32Array(HASH_TABLE_LENGTH),
  };
  const { scratch, hashTable } = working;
  for (let at = 0; at < content.length; at += BLOCK_BYTES) {
    const block = content.subarray(at, at + BLOCK_BYTES);
    hashTable.fill(0);
    const length = lz4.compressBlock(block, scratch, 0, block.length, hashTable);
    const stored = length === 0 || length >= block.length;
    uint32LittleEndian(frame, stored ? (block.length | BLOCK_STORED) >>> 0 : length);
    frame.write(stored ? block : scratch.subarray(0, length));
  }
  uint32LittleEndian(frame, 0);
  return frame.finish();
}

/** Whether the blocks of a frame can refer to blocks before them. Kafka's brokers and Java client read no such frame. */
export function hasLinkedBlocks(frame: Uint8Array): boolean {
  return ((frame[FLAGS_AT] ?? 0) & BLOCKS_INDEPENDENT) === 0;
}

/** @throws ByteFormatError when the frame is malformed or holds more than `bytesMax`. */
export function decompressLz4(frame: Uint8Array, bytesMax: number): Uint8Array<ArrayBuffer> {
  const reader = new ByteReader(frame);
  if (readUint32(reader) !== MAGIC) throw new ByteFormatError('not an LZ4 frame');
  const descriptorStart = reader.position;
  const flags = reader.uint8();
  if ((flags & VERSION_MASK) !== VERSION_1) throw new ByteFormatError('unknown version of the LZ4 frame');
  const blockBytesMax = BLOCK_BYTES_BY_CODE[(reader.uint8() >> 4) & 7];
  if (blockBytesMax === undefined) throw new ByteFormatError('unknown block size of the LZ4 frame');
  if (flags & CONTENT_SIZE) reader.view(8);
  if (flags & DICTIONARY_ID) throw new ByteFormatError('LZ4 frame with a dictionary');
  const descriptorLength = reader.position - descriptorStart;
  if (reader.uint8() !== ((xxh32.hash(0, frame, descriptorStart, descriptorLength) >>> 8) & 0xff)) {
    throw new ByteFormatError('wrong header checksum of the LZ4 frame');
  }
  let output = new Uint8Array(Math.min(bytesMax, Math.max(frame.length * 4, 1024)));
  let length = 0;
  for (;;) {
    const size = readUint32(reader);
    if (size === 0) break;
    const stored = size >= BLOCK_STORED;
    const block = reader.view(stored ? size - BLOCK_STORED : size);
    if (flags & BLOCK_CHECKSUMS) reader.view(4);
    const room = Math.min(bytesMax, length + blockBytesMax);
    if (output.length < room) {
      const grown = new Uint8Array(Math.min(bytesMax, Math.max(room, output.length * 2)));
      grown.set(output.subarray(0, length));
      output = grown;
    }
    if (stored) {
      if (length + block.length > room) throw new ByteFormatError(`decompresses to more than ${bytesMax} bytes`);
      output.set(block, length);
      length += block.length;
    } else {
      const dictionaryStart = flags & BLOCKS_INDEPENDENT ? length : 0;
      length = decompressBlock(block, output, length, room, dictionaryStart);
    }
  }
  if (flags & CONTENT_CHECKSUM) {
    if (readUint32(reader) !== xxh32.hash(0, output, 0, length))
      throw new ByteFormatError('wrong content checksum of the LZ4 frame');
  }
  if (reader.remaining > 0) throw new ByteFormatError('bytes after the LZ4 frame');
  return output.subarray(0, length);
}

/** Decodes one block into `output` from `start` on, at most up to `room`; returns the end position. */
function decompressBlock(
  block: Uint8Array,
  output: Uint8Array,
  start: number,
  room: number,
  dictionaryStart: number,
): number {
  let from = 0;
  let to = start;
  while (from < block.length) {
    const token = block[from++] as number;
    // Lengths are read inline: a function that advances `from` would keep `from` out of a register.
    let literals = token >> 4;
    if (literals === EXTENDED) {
      let byte = 255;
      for (; byte === 255 && from < block.length; literals += byte) byte = block[from++] as number;
      if (byte === 255) throw new ByteFormatError('an LZ4 block is cut short');
    }
    if (literals > block.length - from) throw new ByteFormatError('an LZ4 block is cut short');
    if (literals > room - to) throw new ByteFormatError('an LZ4 block is larger than its frame allows');
    copyLiterals(block, from, output, to, literals);
    from += literals;
    to += literals;
    if (from === block.length) return to;
    if (block.length - from < 2) throw new ByteFormatError('an LZ4 block is cut short');
    const distance = (block[from] as number) | ((block[from + 1] as number) << 8);
    from += 2;
    let length = token & 15;
    if (length === EXTENDED) {
      let byte = 255;
      for (; byte === 255 && from < block.length; length += byte) byte = block[from++] as number;
      if (byte === 255) throw new ByteFormatError('an LZ4 block is cut short');
    }
    length += MATCH_LENGTH_MIN;
    if (distance === 0 || distance > to - dictionaryStart)
      throw new ByteFormatError('an LZ4 block refers to bytes before it');
    if (length > room - to) throw new ByteFormatError('an LZ4 block is larger than its frame allows');
    copyMatch(output, to, distance, length);
    to += length;
  }
  return to;
}

function readUint32(reader: ByteReader): number {
  return (reader.uint8() | (reader.uint8() << 8) | (reader.uint8() << 16) | (reader.uint8() << 24)) >>> 0;
}

function uint32LittleEndian(writer: ByteWriter, value: number): void {
  for (let shift = 0; shift < 32; shift += 8) writer.uint8((value >>> shift) & 0xff);
}
