/**
 * The bytes in which the file adapter stores the attributes of an item. Persisted: a change needs a new version byte.
 *
 *     item      = version attribute*                     one byte 0x01, then the attributes in no particular order
 *     attribute = text tag value
 *     value     = text                                   tag 0x01: string
 *               | integer                                tag 0x02: number
 *               | bytes                                  tag 0x03: bytes
 *               | count bytes*                           tag 0x04: list of bytes
 *     text      = length, then that many bytes of UTF-8
 *     bytes     = length, then that many bytes
 *     length, count = unsigned LEB128: seven bits to a byte, lowest first, the top bit set on all but the last
 *     integer   = the same over 2n for n >= 0 and −2n − 1 for n < 0 (zigzag); below 2^54, so at most eight bytes
 *
 * An item without attributes is only the version byte. Nothing follows the last attribute.
 */
import { varintLength, varuintLength } from '../../log/bytes.ts';
import { EventLogError } from '../../log/errors.ts';
import type { Attributes, AttributeValue } from '../ports.ts';

const VERSION = 1;
const TAG_STRING = 1;
const TAG_INTEGER = 2;
const TAG_BYTES = 3;
const TAG_LIST = 4;

/** An upper bound on the bytes of a length. */
const VARINT_BYTES_MAX = 8;

/** Encodes checked attributes. The result shares no memory with them, and its buffer holds nothing else. */
export function encodeItem(attributes: Attributes): Uint8Array<ArrayBuffer> {
  const names = Object.keys(attributes);
  let bytes = 1;
  for (const name of names) bytes += textBytes(name) + 1 + valueBytes(attributes[name]!);
  // Not from the pool, since the whole buffer goes to another thread; and not filled with zeros first.
  const buffer = Buffer.allocUnsafeSlow(bytes);
  buffer[0] = VERSION;
  let position = 1;
  for (const name of names) {
    position = writeText(buffer, position, name);
    position = writeValue(buffer, position, attributes[name]!);
  }
  return new Uint8Array(buffer.buffer);
}

/**
 * Decodes an item that `encodeItem` made. Its bytes are views on `bytes`.
 * @throws EventLogError `corrupt_data` for anything else, including a later version.
 */
export function decodeItem(bytes: Uint8Array): Attributes {
  const reader: Reader = {
    bytes: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
    position: 0,
  };
  if (readByte(reader) !== VERSION) throw corrupt('an unknown version');
  const attributes: [string, AttributeValue][] = [];
  while (reader.position < bytes.byteLength) attributes.push([readText(reader), readValue(reader)]);
  return Object.fromEntries(attributes);
}

function textBytes(text: string): number {
  const bytes = Buffer.byteLength(text, 'utf8');
  return varuintLength(bytes) + bytes;
}

function valueBytes(value: AttributeValue): number {
  if (typeof value === 'string') return textBytes(value);
  if (typeof value === 'number') return varintLength(value);
  if (value instanceof Uint8Array) return varuintLength(value.byteLength) + value.byteLength;
  let bytes = varuintLength(value.length);
  for (const element of value) bytes += varuintLength(element.byteLength) + element.byteLength;
  return bytes;
}

function writeValue(buffer: Buffer, start: number, value: AttributeValue): number {
  let position = start;
  if (typeof value === 'string') {
    buffer[position++] = TAG_STRING;
    return writeText(buffer, position, value);
  }
  if (typeof value === 'number') {
    buffer[position++] = TAG_INTEGER;
    return writeInteger(buffer, position, value);
  }
  if (value instanceof Uint8Array) {
    buffer[position++] = TAG_BYTES;
    return writeBytes(buffer, position, value);
  }
  buffer[position++] = TAG_LIST;
  position = writeLength(buffer, position, value.length);
  for (const element of value) position = writeBytes(buffer, position, element);
  return position;
}

function writeText(buffer: Buffer, start: number, text: string): number {
  // Most names and many strings are short ASCII: then the length is one byte and known beforehand.
  if (text.length < 0x80) {
    const written = buffer.write(text, start + 1, 'utf8');
    if (written < 0x80) {
      buffer[start] = written;
      return start + 1 + written;
    }
  }
  const position = writeLength(buffer, start, Buffer.byteLength(text, 'utf8'));
  return position + buffer.write(text, position, 'utf8');
}

function writeBytes(buffer: Buffer, start: number, bytes: Uint8Array): number {
  const position = writeLength(buffer, start, bytes.byteLength);
  buffer.set(bytes, position);
  return position + bytes.byteLength;
}

function writeLength(buffer: Buffer, start: number, length: number): number {
  let position = start;
  let rest = length;
  while (rest >= 0x80) {
    buffer[position++] = (rest % 0x80) + 0x80;
    rest = Math.floor(rest / 0x80);
  }
  buffer[position++] = rest;
  return position;
}

function writeInteger(buffer: Buffer, start: number, value: number): number {
  // 2n may pass 2^53, so the sign goes into the first byte, and what is beyond that byte is a plain varint.
  const sign = value < 0 ? 1 : 0;
  const magnitude = value < 0 ? -(value + 1) : value;
  const first = (magnitude % 0x40) * 2 + sign;
  if (magnitude < 0x40) {
    buffer[start] = first;
    return start + 1;
  }
  buffer[start] = first + 0x80;
  return writeLength(buffer, start + 1, Math.floor(magnitude / 0x40));
}

interface Reader {
  readonly bytes: Buffer;
  position: number;
}

function readValue(reader: Reader): AttributeValue {
  const tag = readByte(reader);
  switch (tag) {
    case TAG_STRING:
      return readText(reader);
    case TAG_INTEGER:
      return readInteger(reader);
    case TAG_BYTES:
      return readBytes(reader);
    case TAG_LIST: {
      const count = readLength(reader);
      const list: Uint8Array[] = [];
      for (let i = 0; i < count; i++) list.push(readBytes(reader));
      return list;
    }
    default:
      throw corrupt(`the unknown tag ${tag}`);
  }
}

function readText(reader: Reader): string {
  const [start, end] = take(reader, readLength(reader));
  return reader.bytes.toString('utf8', start, end);
}

function readBytes(reader: Reader): Uint8Array {
  const [start, end] = take(reader, readLength(reader));
  const { buffer, byteOffset } = reader.bytes;
  return new Uint8Array(buffer, byteOffset + start, end - start);
}

function readInteger(reader: Reader): number {
  const first = readByte(reader);
  let magnitude = (first % 0x80) >>> 1;
  if (first >= 0x80) magnitude += readLength(reader) * 0x40;
  const value = first % 2 === 1 ? -magnitude - 1 : magnitude;
  if (!Number.isSafeInteger(value)) throw corrupt('a number out of bounds');
  return value;
}

function readLength(reader: Reader): number {
  let length = 0;
  let scale = 1;
  for (let i = 0; i < VARINT_BYTES_MAX; i++) {
    const byte = readByte(reader);
    length += (byte % 0x80) * scale;
    if (byte < 0x80) return length;
    scale *= 0x80;
  }
  throw corrupt('a length out of bounds');
}

function readByte(reader: Reader): number {
  const byte = reader.bytes[reader.position++];
  if (byte === undefined) throw corrupt('an early end');
  return byte;
}

function take(reader: Reader, length: number): readonly [start: number, end: number] {
  const start = reader.position;
  const end = start + length;
  if (end > reader.bytes.byteLength) throw corrupt('an early end');
  reader.position = end;
  return [start, end];
}

function corrupt(what: string): EventLogError {
  return new EventLogError('corrupt_data', `A stored item has ${what}.`);
}
