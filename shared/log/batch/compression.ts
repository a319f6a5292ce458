import zlib from 'node:zlib';
import snappy from 'snappyjs';
import { ByteFormatError, ByteReader, ByteWriter, concatBytes } from '../bytes.ts';
import type { Compression } from './codecs.ts';
import { compressLz4, decompressLz4 } from './lz4.ts';
import { decompressSnappyBlock } from './snappy.ts';

export function compress(compression: Compression, content: Uint8Array): Uint8Array {
  switch (compression) {
    case 'none':
      return content;
    case 'gzip':
      return zlib.gzipSync(content);
    case 'snappy':
      return compressSnappy(content);
    case 'lz4':
      return compressLz4(content);
    case 'zstd':
      return zlib.zstdCompressSync(content);
  }
}

/**
 * Decompresses to at most `bytesMax` bytes, which also bounds the memory used.
 * @throws ByteFormatError when the input is malformed or holds more.
 */
export function decompress(compression: Compression, content: Uint8Array, bytesMax: number): Uint8Array {
  switch (compression) {
    case 'none':
      return content;
    case 'gzip':
      return inflate(() => zlib.gunzipSync(content, { maxOutputLength: bytesMax }), bytesMax);
    case 'snappy':
      return decompressSnappy(content, bytesMax);
    case 'lz4':
      return decompressLz4(content, bytesMax);
    case 'zstd':
      return decompressZstd(content, bytesMax);
  }
}

function inflate(run: () => Uint8Array, bytesMax: number): Uint8Array {
  try {
    return run();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    throw new ByteFormatError(
      code === 'ERR_BUFFER_TOO_LARGE'
        ? `decompresses to more than ${bytesMax} bytes`
        : `does not decompress (${String(code)})`,
    );
  }
}

/** Each takes 20 µs, however small it is. */
const ZSTD_FRAMES_MAX = 1_024;

/** What `zlib` returns with the option `info`. Its types do not say so. */
interface Inflated {
  readonly buffer: Uint8Array;
  /** `bytesWritten`: the bytes of the input that were used. */
  readonly engine: { readonly bytesWritten: number };
}

/** All frames, one after the other, as Kafka's Java client reads them: Node reads the first, and ignores what follows. */
function decompressZstd(content: Uint8Array, bytesMax: number): Uint8Array {
  const frames: Uint8Array[] = [];
  let length = 0;
  let at = 0;
  do {
    if (frames.length === ZSTD_FRAMES_MAX) throw new ByteFormatError(`has more than ${ZSTD_FRAMES_MAX} zstd frames`);
    const options = { info: true, maxOutputLength: Math.max(1, bytesMax - length) };
    const inflated = inflate(() => zlib.zstdDecompressSync(content.subarray(at), options), bytesMax);
    const { buffer, engine } = inflated as unknown as Inflated;
    frames.push(buffer);
    length += buffer.length;
    if (length > bytesMax) throw new ByteFormatError(`decompresses to more than ${bytesMax} bytes`);
    at += engine.bytesWritten;
  } while (at < content.length);
  return frames.length === 1 ? (frames[0] as Uint8Array) : concatBytes(frames);
}

/**
 * Kafka's Java client frames snappy blocks as xerial's snappy-java does: this magic, two int32 versions, then blocks, each
 * preceded by its int32 length. Other clients write one bare block. We read both forms and write the framed one.
 */
const XERIAL_MAGIC = Uint8Array.of(0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00);
const XERIAL_VERSION = 1;
const XERIAL_BLOCK_BYTES = 32 * 1024;

function compressSnappy(content: Uint8Array): Uint8Array {
  const framed = new ByteWriter(content.length / 2 + 64);
  framed.write(XERIAL_MAGIC);
  framed.int32(XERIAL_VERSION);
  framed.int32(XERIAL_VERSION);
  for (let at = 0; at < content.length; at += XERIAL_BLOCK_BYTES) {
    const block = snappy.compress(content.subarray(at, at + XERIAL_BLOCK_BYTES));
    framed.int32(block.length);
    framed.write(block);
  }
  return framed.finish();
}

function decompressSnappy(content: Uint8Array, bytesMax: number): Uint8Array {
  if (!XERIAL_MAGIC.every((byte, i) => content[i] === byte)) return decompressSnappyBlock(content, bytesMax);
  const reader = new ByteReader(content, XERIAL_MAGIC.length + 8);
  const blocks: Uint8Array[] = [];
  let room = bytesMax;
  while (reader.remaining > 0) {
    const block = decompressSnappyBlock(reader.view(reader.int32()), room);
    room -= block.length;
    blocks.push(block);
  }
  return concatBytes(blocks);
}
