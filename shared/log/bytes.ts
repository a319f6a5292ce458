/**
 * Reads and writes the byte formats that we exchange and persist: big-endian integers as in Kafka's protocol, and
 * variable-length integers (base 128, low groups first; signed ones zigzag) as in Kafka's records and our own entries.
 * The reader never reads past its end: it throws `ByteFormatError`, which the format's module turns into its own error. The
 * writer refuses 64-bit and variable-length integers that the reader would refuse, so that a bug fails before anything is stored.
 */

import { EventLogError } from './errors.ts';

export class ByteFormatError extends Error {
  override readonly name = 'ByteFormatError';
}

const VARINT_BYTES_MAX = 8;
const UTF8 = new TextEncoder();
const FROM_UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export class ByteReader {
  readonly bytes: Uint8Array;
  position: number;
  readonly end: number;
  private fixedSizes: DataView | undefined;

  constructor(bytes: Uint8Array, start = 0, end: number = bytes.length) {
    this.bytes = bytes;
    this.position = start;
    this.end = end;
  }

  /** A view that is made when it is first needed: formats that contain only bytes and varints never need it. */
  private get data(): DataView {
    this.fixedSizes ??= new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length);
    return this.fixedSizes;
  }

  get remaining(): number {
    return this.end - this.position;
  }

  private take(length: number): number {
    const at = this.position;
    if (length < 0 || length > this.end - at)
      throw new ByteFormatError(`needs ${length} bytes where ${this.end - at} are left`);
    this.position = at + length;
    return at;
  }

  uint8(): number {
    return this.bytes[this.take(1)] as number;
  }

  int8(): number {
    return this.data.getInt8(this.take(1));
  }

  int16(): number {
    return this.data.getInt16(this.take(2));
  }

  int32(): number {
    return this.data.getInt32(this.take(4));
  }

  uint32(): number {
    return this.data.getUint32(this.take(4));
  }

  /** An int64 that must be within ±(2^53 − 1). */
  int64(): number {
    const at = this.take(8);
    const value = this.data.getInt32(at) * 0x1_0000_0000 + this.data.getUint32(at + 4);
    if (!Number.isSafeInteger(value)) throw new ByteFormatError('a 64-bit integer is beyond ±(2^53 − 1)');
    return value;
  }

  /** Unsigned, up to 2^53 − 1. */
  varuint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < VARINT_BYTES_MAX; i++) {
      const byte = this.uint8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) break;
        return value;
      }
      scale *= 128;
    }
    throw new ByteFormatError('a variable-length integer is beyond 2^53 − 1');
  }

  /**
   * Signed zigzag, from −2^53 to 2^53 − 1. The lowest bit is the sign. It is removed first, because sign and value together
   * do not fit 53 bits.
   */
  varint(): number {
    const first = this.uint8();
    let magnitude = (first & 0x7f) >> 1;
    if (first >= 0x80) magnitude += this.varuint() * 64;
    if (magnitude > Number.MAX_SAFE_INTEGER)
      throw new ByteFormatError('a variable-length integer is beyond ±(2^53 − 1)');
    return first & 1 ? -magnitude - 1 : magnitude;
  }

  /** A view on the next `length` bytes, not a copy. */
  view(length: number): Uint8Array {
    const at = this.take(length);
    return this.bytes.subarray(at, at + length);
  }

  /** As `ByteWriter.text` has written it. @throws ByteFormatError if it is longer than the bytes, TypeError if it is not UTF-8 */
  text(): string {
    return FROM_UTF8.decode(this.view(this.varuint()));
  }
}

/** A buffer that grows as it is written to. */
export class ByteWriter {
  private buffer: Uint8Array<ArrayBuffer>;
  private fixedSizes: DataView | undefined;
  length = 0;

  constructor(capacity = 256) {
    this.buffer = new Uint8Array(capacity);
  }

  private get view(): DataView {
    this.fixedSizes ??= new DataView(this.buffer.buffer);
    return this.fixedSizes;
  }

  /** Makes room, possibly in another buffer: callers must access `buffer` and `view` after this call, not before. */
  private reserve(length: number): number {
    const at = this.length;
    const needed = at + length;
    if (needed > this.buffer.length) {
      const grown = new Uint8Array(Math.max(needed, this.buffer.length * 2));
      grown.set(this.buffer.subarray(0, at));
      this.buffer = grown;
      this.fixedSizes = undefined;
    }
    this.length = needed;
    return at;
  }

  uint8(value: number): void {
    const at = this.reserve(1);
    this.buffer[at] = value;
  }

  int16(value: number): void {
    const at = this.reserve(2);
    this.view.setInt16(at, value);
  }

  int32(value: number): void {
    const at = this.reserve(4);
    this.view.setInt32(at, value);
  }

  uint32(value: number): void {
    const at = this.reserve(4);
    this.view.setUint32(at, value);
  }

  /** @throws EventLogError `internal` if it is not an integer within ±(2^53 − 1) */
  int64(value: number): void {
    const at = this.reserve(8);
    setInt64(this.view, at, value);
  }

  /** @throws EventLogError `internal` if it is not an integer from 0 to 2^53 − 1 */
  varuint(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) throw unreadable(value);
    let rest = value;
    while (rest >= 0x80) {
      this.uint8((rest % 128) | 0x80);
      rest = Math.floor(rest / 128);
    }
    this.uint8(rest);
  }

  /** Signed zigzag. @throws EventLogError `internal` if it is not an integer from −2^53 to 2^53 − 1 */
  varint(value: number): void {
    const magnitude = value >= 0 ? value : -value - 1;
    if (!Number.isSafeInteger(magnitude)) throw unreadable(value);
    const lowest = (magnitude % 64) * 2 + (value >= 0 ? 0 : 1);
    this.uint8(magnitude < 64 ? lowest : lowest | 0x80);
    if (magnitude >= 64) this.varuint(Math.floor(magnitude / 64));
  }

  write(bytes: Uint8Array): void {
    const at = this.reserve(bytes.length);
    this.buffer.set(bytes, at);
  }

  /** Its length in bytes as a varuint, then UTF-8. */
  text(value: string): void {
    const bytes = UTF8.encode(value);
    this.varuint(bytes.length);
    this.write(bytes);
  }

  /** Returns a view of the written bytes. The caller must write nothing more afterwards. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.buffer.subarray(0, this.length);
  }

  /** Returns a copy of the written bytes, and forgets them. */
  take(): Uint8Array<ArrayBuffer> {
    const bytes = this.buffer.slice(0, this.length);
    this.length = 0;
    return bytes;
  }
}

/** Writes what `ByteReader.int64` reads. @throws EventLogError `internal` if it is not an integer within ±(2^53 − 1) */
export function setInt64(view: DataView, position: number, value: number): void {
  if (!Number.isSafeInteger(value)) throw unreadable(value);
  view.setInt32(position, Math.floor(value / 0x1_0000_0000));
  view.setUint32(position + 4, value >>> 0);
}

function unreadable(value: number): EventLogError {
  return new EventLogError('internal', `A reader would refuse the number ${value}, so it is not written.`);
}

/** The number of bytes that `ByteWriter.varint` writes for `value`. */
export function varintLength(value: number): number {
  const magnitude = value >= 0 ? value : -value - 1;
  return magnitude < 64 ? 1 : 1 + varuintLength(Math.floor(magnitude / 64));
}

export function varuintLength(value: number): number {
  let length = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 128)) length++;
  return length;
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

export function concatBytes(chunks: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  let length = 0;
  for (const chunk of chunks) length += chunk.length;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

/** Converts an even number of hexadecimal digits to bytes. */
export function fromHex(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: text.length / 2 }, (_, i) => Number.parseInt(text.slice(2 * i, 2 * i + 2), 16));
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

export function toHex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += HEX[byte];
  return text;
}
