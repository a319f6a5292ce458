/**
 * The size of an item, and the cost of reading or writing it, by DynamoDB's rules. Every adapter counts the same.
 *
 * Source: "DynamoDB item sizes and formats" and "DynamoDB read and write operations" (Amazon DynamoDB Developer Guide).
 * That page calls the size of a number approximate; this is its formula.
 */
import type { Attributes, AttributeValue, ItemKey } from '../ports.ts';
import { utf8Bytes } from '../utf8.ts';

export const READ_UNIT_BYTES = 4096;
export const WRITE_UNIT_BYTES = 1024;
/** A query ends its page after this many bytes. */
export const QUERY_PAGE_BYTES_MAX = 1024 * 1024;

/** The names of the two key attributes, `pk` and `sk`. */
const KEY_NAME_BYTES = 4;
const LIST_BYTES = 3;
const LIST_ELEMENT_BYTES = 1;

/** Bytes of an item, including its key and the names of its attributes; 0 for a missing item. */
export function itemBytes(key: ItemKey, attributes: Attributes | undefined): number {
  if (attributes === undefined) return 0;
  let bytes = KEY_NAME_BYTES + utf8Bytes(key.pk) + utf8Bytes(key.sk);
  for (const name of Object.keys(attributes)) bytes += utf8Bytes(name) + valueBytes(attributes[name]!);
  return bytes;
}

/** Units of a strongly consistent read of `bytes` in total. A read that finds nothing costs one unit. */
export function readUnits(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / READ_UNIT_BYTES));
}

/** Units of a write, by the larger size of the item before and after. A refused write is billed by the item it found. */
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
