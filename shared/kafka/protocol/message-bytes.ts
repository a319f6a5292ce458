import { ByteFormatError, ByteReader, ByteWriter } from '../../log/bytes.ts';

/**
 * The elements of all arrays of one message. Each takes an object, and a byte is enough to announce one: without this limit a
 * frame of some megabytes would fill gigabytes of memory. A request about 100,000 partitions is within it.
 */
const ELEMENTS_MAX = 200_000;

/** How many more elements the arrays of a message may have. */
interface ElementBudget {
  left: number;
}

/** Reads one message of Kafka's protocol. Throws `ByteFormatError` where the bytes end too early or count too much. */
export class MessageReader extends ByteReader {
  readonly #budget: ElementBudget;

  constructor(
    bytes: Uint8Array,
    start = 0,
    end: number = bytes.length,
    budget: ElementBudget = { left: ELEMENTS_MAX },
  ) {
    super(bytes, start, end);
    this.#budget = budget;
  }

  /** A reader of the next `length` bytes, which this one passes over. */
  part(length: number): MessageReader {
    const start = this.position;
    this.view(length);
    return new MessageReader(this.bytes, start, start + length, this.#budget);
  }

  /** Takes note of an array. Every element has at least one byte. */
  elements(count: number): void {
    if (count > this.remaining) throw new ByteFormatError(`${count} elements in ${this.remaining} bytes`);
    this.#budget.left -= count;
    if (this.#budget.left < 0) throw new ByteFormatError(`more than ${ELEMENTS_MAX} elements`);
  }
}

/** Bytes from this size on are handed on as they are, not copied. */
const CHUNK_BYTES_MIN = 4_096;

/** Writes one message. Large byte fields are not copied: they become chunks of their own. */
export class MessageWriter {
  out = new ByteWriter(512);
  readonly #chunks: Uint8Array[] = [];
  #chunkBytes = 0;

  get length(): number {
    return this.#chunkBytes + this.out.length;
  }

  /** The caller must not change these bytes until they are sent. */
  bytes(bytes: Uint8Array): void {
    if (bytes.length < CHUNK_BYTES_MIN) {
      this.out.write(bytes);
      return;
    }
    this.#push(this.out.finish());
    this.#push(bytes);
    this.out = new ByteWriter(512);
  }

  finish(): Uint8Array[] {
    this.#push(this.out.finish());
    return this.#chunks;
  }

  #push(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#chunkBytes += chunk.length;
  }
}
