/**
 * How large an item is, and what it costs to read or write, by DynamoDB's rules, so that every adapter counts the same.
 *
 * After the AWS documentation: "DynamoDB item sizes and formats" and "DynamoDB read and write operations" (Amazon
 * DynamoDB Developer Guide). The size of a number is given there as approximate; this is the formula of that page.
 */
import type { Attributes, AttributeValue, ItemKey } from './ports.ts';

export const READ_UNIT_BYTES = 4096;
export const WRITE_UNIT_BYTES = 1024;
/** After this much a query ends its page. */
export const QUERY_PAGE_BYTES_MAX = 1024 * 1024;

/** The names of the two key attributes, `pk` and `sk`. */
const KEY_NAME_BYTES = 4;
const LIST_BYTES = 3;
const LIST_ELEMENT_BYTES = 1;

/** Bytes of an item with its key and the names of its attributes; 0 for an item that is not there. */
export function itemBytes(key: ItemKey, attributes: Attributes | undefined): number {
  if (attributes === undefined) return 0;
  let bytes = KEY_NAME_BYTES + utf8Bytes(key.pk) + utf8Bytes(key.sk);
  for (const name of Object.keys(attributes)) bytes += utf8Bytes(name) + valueBytes(attributes[name]!);
  return bytes;
}

/** Units of a strongly consistent read of `bytes` in all. A read of nothing costs one. */
export function readUnits(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / READ_UNIT_BYTES));
}

/** Units of a write: by the larger of what the item was and what it became. A refused write is billed by what it met. */
export function writeUnits(beforeBytes: number, afterBytes: number): number {
  return Math.max(1, Math.ceil(Math.max(beforeBytes, afterBytes) / WRITE_UNIT_BYTES));
}

function valueBytes(value: AttributeValue): number {
  if (typeof value === 'string') return utf8Bytes(value);
  if (typeof value === 'number') return numberBytes(value);
  if (value instanceof Uint8Array) return value.byteLength;
  let bytes = LIST_BYTES + LIST_ELEMENT_BYTES * value.length;
  for (const element of value) bytes += element.byteLength;
  return bytes;
}

/** Two significant digits to a byte, one byte for the exponent, one for a minus. Zeros at the end are not significant. */
function numberBytes(value: number): number {
  let magnitude = Math.abs(value);
  while (magnitude !== 0 && magnitude % 10 === 0) magnitude /= 10;
  const digits = magnitude === 0 ? 0 : String(magnitude).length;
  return Math.ceil(digits / 2) + 1 + (value < 0 ? 1 : 0);
}

/** The UTF-8 length of a well-formed string, without encoding it. */
export function utf8Bytes(text: string): number {
  let bytes = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) continue;
    // A surrogate pair is two units and four bytes.
    bytes += unit < 0x800 || (unit >= 0xd800 && unit <= 0xdfff) ? 1 : 2;
  }
  return bytes;
}
