import { ByteReader, concatBytes } from '../../log/bytes.ts';

/** A frame is an int32 with the length of what follows. */
const LENGTH_BYTES = 4;
/** So many chunks below this size become one. */
const SMALL_CHUNKS_MAX = 1_024;
const SMALL_BYTES = 1_024;

/** A length that no frame may have. The connection cannot go on: nobody knows where the next frame begins. */
export class FrameLengthError extends Error {
  override readonly name = 'FrameLengthError';
}

/**
 * Puts frames together from chunks that are split at any byte. Memory is taken for bytes that have come, not for those that
 * a length announces. A frame within one chunk is a view on it.
 */
export class FrameReader {
  /** The longest frame that may come next. */
  bytesMax: number;
  #chunks: Uint8Array[] = [];
  #bytes = 0;
  /** How many of the last chunks are small; some of them may be taken already. */
  #smallChunks = 0;
  /** The length of the frame that the chunks begin with, once it is known. */
  #length: number | undefined;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /** The length of the frame that is not complete yet, if it is known. */
  get announced(): number | undefined {
    return this.#length;
  }

  /** Whether bytes of a frame have come that is not complete. */
  get isInFrame(): boolean {
    return this.#bytes > 0 || this.#length !== undefined;
  }

  push(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    this.#smallChunks = chunk.length < SMALL_BYTES ? this.#smallChunks + 1 : 0;
    if (this.#smallChunks === SMALL_CHUNKS_MAX) this.#joinSmall();
  }

  /** The next whole frame, without its length; `undefined` if more bytes are needed. @throws FrameLengthError */
  next(): Uint8Array | undefined {
    if (this.#length === undefined) {
      if (this.#bytes < LENGTH_BYTES) return undefined;
      const length = new ByteReader(this.#take(LENGTH_BYTES)).int32();
      if (length <= 0 || length > this.bytesMax)
        throw new FrameLengthError(`A frame of ${length} bytes: 1 to ${this.bytesMax} are allowed.`);
      this.#length = length;
    }
    if (this.#bytes < this.#length) return undefined;
    const frame = this.#take(this.#length);
    this.#length = undefined;
    return frame;
  }

  /** Who sends single bytes would fill memory by the objects around them. */
  #joinSmall(): void {
    const start = Math.max(0, this.#chunks.length - SMALL_CHUNKS_MAX);
    this.#chunks.push(concatBytes(this.#chunks.splice(start)));
    this.#smallChunks = 0;
  }

  #take(length: number): Uint8Array {
    const first = this.#chunks[0] as Uint8Array;
    this.#bytes -= length;
    if (first.length >= length) {
      if (first.length === length) this.#chunks.shift();
      else this.#chunks[0] = first.subarray(length);
      return first.subarray(0, length);
    }
    let missing = length;
    let count = 0;
    while (missing > 0 && (this.#chunks[count] as Uint8Array).length <= missing)
      missing -= (this.#chunks[count++] as Uint8Array).length;
    const parts = this.#chunks.slice(0, count);
    this.#chunks = this.#chunks.slice(count);
    if (missing > 0) {
      const last = this.#chunks[0] as Uint8Array;
      parts.push(last.subarray(0, missing));
      this.#chunks[0] = last.subarray(missing);
    }
    return concatBytes(parts);
  }
}
