/**
 * What a conditional write does to an item, as pure functions over `Attributes`: the meaning of `Condition` and `Update`
 * for every adapter that keeps items itself (memory, file).
 *
 * Nothing here copies bytes: what comes out may share them with what went in.
 */
import { type EventLogError, invalidField } from '../log/errors.ts';
import { ITEM_BYTES_MAX } from '../log/limits.ts';
import { itemBytes, utf8Bytes, writeUnits } from './item-size.ts';
import type { Attributes, AttributeValue, Condition, ItemKey, ItemRange, Update } from './ports.ts';

/** DynamoDB's bounds on the two parts of a key. */
const PK_BYTES_MAX = 2048;
const SK_BYTES_MAX = 1024;

export type Write =
  | { readonly kind: 'put'; readonly attributes: Attributes; readonly conditions: readonly Condition[] }
  | { readonly kind: 'update'; readonly updates: readonly Update[]; readonly conditions: readonly Condition[] }
  | { readonly kind: 'delete'; readonly conditions: readonly Condition[] };

/** What became of a write. `after` is undefined once the item is gone. */
export type Decision =
  | { readonly kind: 'applied'; readonly after: Attributes | undefined; readonly units: number }
  | { readonly kind: 'refused'; readonly units: number };

/**
 * Decides a write on the item `before`. Throws `invalid_request` where the outcome can't be stored: an item over
 * `ITEM_BYTES_MAX`, a number out of bounds, an update of an attribute of another type.
 */
export function decideWrite(key: ItemKey, before: Attributes | undefined, write: Write): Decision {
  const beforeBytes = itemBytes(key, before);
  for (const condition of write.conditions) {
    if (!conditionHolds(before, condition)) return { kind: 'refused', units: writeUnits(beforeBytes, 0) };
  }
  const after = attributesAfter(before, write);
  const afterBytes = itemBytes(key, after);
  if (afterBytes > ITEM_BYTES_MAX) {
    throw invalidField('attributes', `The item would hold ${afterBytes} bytes; at most ${ITEM_BYTES_MAX} fit.`, {
      itemBytes: afterBytes,
      itemBytesMax: ITEM_BYTES_MAX,
    });
  }
  return { kind: 'applied', after, units: writeUnits(beforeBytes, afterBytes) };
}

function attributesAfter(before: Attributes | undefined, write: Write): Attributes | undefined {
  switch (write.kind) {
    case 'put':
      return write.attributes;
    case 'update':
      return applyUpdates(before, write.updates);
    case 'delete':
      return undefined;
  }
}

/** Whether `condition` holds for an item, or for the absence of one. */
export function conditionHolds(attributes: Attributes | undefined, condition: Condition): boolean {
  switch (condition.if) {
    case 'item_exists':
      return attributes !== undefined;
    case 'item_absent':
      return attributes === undefined;
    case 'equals': {
      const value = attributeOf(attributes, condition.name);
      return (value ?? (typeof condition.value === 'number' ? 0 : undefined)) === condition.value;
    }
    case 'absent':
      return attributeOf(attributes, condition.name) === undefined;
    case 'at_most': {
      const value = attributeOf(attributes, condition.name) ?? 0;
      return typeof value === 'number' && value <= condition.value;
    }
    case 'lacks':
      return !listOf(attributes, condition.name).some((element) => bytesEqual(element, condition.value));
    case 'shorter_than':
      return listOf(attributes, condition.name).length < condition.length;
  }
}

/** The item after all updates, each applied to what the item was before any of them. */
export function applyUpdates(before: Attributes | undefined, updates: readonly Update[]): Attributes {
  const after: MutableAttributes = {};
  for (const name of Object.keys(before ?? {})) setOwn(after, name, attributeOf(before, name) as AttributeValue);
  for (const update of updates) {
    const was = attributeOf(before, update.name);
    switch (update.do) {
      case 'set':
        setOwn(after, update.name, update.value);
        break;
      case 'add':
        setOwn(after, update.name, sum(update.name, was ?? 0, update.by));
        break;
      case 'append':
        setOwn(after, update.name, [...listOf(before, update.name), ...update.values]);
        break;
      case 'remove_first':
        if (was !== undefined) setOwn(after, update.name, listOf(before, update.name).slice(update.count));
        break;
      case 'remove':
        delete after[update.name];
        break;
    }
  }
  return after;
}

type MutableAttributes = { [name: string]: AttributeValue };

/** An attribute may bear the name of something that every object inherits. */
function setOwn(attributes: MutableAttributes, name: string, value: AttributeValue): void {
  if (name !== '__proto__') attributes[name] = value;
  else Object.defineProperty(attributes, name, { value, enumerable: true, configurable: true, writable: true });
}

function sum(name: string, value: AttributeValue, by: number): number {
  if (typeof value !== 'number') throw wrongType(name, 'number');
  const result = value + by;
  if (!Number.isSafeInteger(result)) {
    throw invalidField(name, `Adding ${by} to ${value} leaves the bounds of ±(2^53 − 1).`);
  }
  return result;
}

function listOf(attributes: Attributes | undefined, name: string): readonly Uint8Array[] {
  const value = attributeOf(attributes, name);
  if (value === undefined) return [];
  if (!isList(value)) throw wrongType(name, 'list');
  return value;
}

function attributeOf(attributes: Attributes | undefined, name: string): AttributeValue | undefined {
  return attributes !== undefined && Object.hasOwn(attributes, name) ? attributes[name] : undefined;
}

function wrongType(name: string, expected: string): EventLogError {
  return invalidField(name, `The attribute ${JSON.stringify(name)} is not a ${expected}.`);
}

/** Throws `invalid_request` for a key that DynamoDB would not take. */
export function checkItemKey(key: ItemKey): void {
  checkText('pk', key.pk, PK_BYTES_MAX);
  checkText('sk', key.sk, SK_BYTES_MAX);
}

/** Throws `invalid_request` for a write that no item could take, so that it fails alike in every adapter. */
export function checkWrite(key: ItemKey, write: Write): void {
  checkItemKey(key);
  for (const condition of write.conditions) checkCondition(condition);
  if (write.kind === 'put') {
    for (const [name, value] of Object.entries(write.attributes)) checkAttribute(name, value);
  } else if (write.kind === 'update') {
    const names = new Set<string>();
    for (const update of write.updates) {
      checkUpdate(update);
      if (names.has(update.name)) {
        throw invalidField(update.name, `Two updates name the attribute ${JSON.stringify(update.name)}.`);
      }
      names.add(update.name);
    }
  }
}

/** Throws `invalid_request` for a range that can't be queried. A range that is empty by its bounds is none of those. */
export function checkItemRange(range: ItemRange): void {
  checkText('pk', range.pk, PK_BYTES_MAX);
  if (!Number.isSafeInteger(range.limit) || range.limit < 1) {
    throw invalidField('limit', `A limit is a whole number from 1 on, not ${range.limit}.`);
  }
  for (const field of ['from', 'to'] as const) {
    if (range[field]?.isWellFormed() === false) throw invalidField(field, 'A key holds well-formed Unicode only.');
  }
}

function checkCondition(condition: Condition): void {
  if (condition.if === 'item_exists' || condition.if === 'item_absent') return;
  checkName(condition.name);
  switch (condition.if) {
    case 'equals':
      checkAttribute(condition.name, condition.value);
      break;
    case 'at_most':
      checkInteger(condition.name, condition.value);
      break;
    case 'shorter_than':
      checkCount(condition.name, condition.length);
      break;
    default:
      break;
  }
}

function checkUpdate(update: Update): void {
  checkName(update.name);
  switch (update.do) {
    case 'set':
      checkAttribute(update.name, update.value);
      break;
    case 'add':
      checkInteger(update.name, update.by);
      break;
    case 'append':
      checkAttribute(update.name, update.values);
      break;
    case 'remove_first':
      checkCount(update.name, update.count);
      break;
    default:
      break;
  }
}

function checkAttribute(name: string, value: AttributeValue): void {
  checkName(name);
  if (typeof value === 'string') {
    if (!value.isWellFormed()) throw invalidField(name, 'A string holds well-formed Unicode only.');
  } else if (typeof value === 'number') {
    checkInteger(name, value);
  } else if (!(value instanceof Uint8Array)) {
    if (!Array.isArray(value) || value.some((element) => !(element instanceof Uint8Array))) {
      throw invalidField(name, 'An attribute is a string, an integer, bytes, or a list of bytes.');
    }
  }
}

function checkName(name: string): void {
  if (name === '' || !name.isWellFormed()) throw invalidField('name', 'An attribute needs a well-formed name.');
  if (name === 'pk' || name === 'sk') throw invalidField(name, 'The key can not be named as an attribute.');
}

function checkText(field: string, text: string, bytesMax: number): void {
  if (text === '' || !text.isWellFormed() || utf8Bytes(text) > bytesMax) {
    throw invalidField(field, `A key is 1 to ${bytesMax} bytes of well-formed Unicode.`);
  }
}

function checkInteger(name: string, value: number): void {
  if (!Number.isSafeInteger(value)) throw invalidField(name, `${value} is not an integer within ±(2^53 − 1).`);
}

function checkCount(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0) throw invalidField(name, `${value} is not a count.`);
}

/** A copy that shares no bytes with the original. A negative zero becomes zero, as in every encoding of an item. */
export function copyAttributes(attributes: Attributes): Attributes {
  const copy: MutableAttributes = {};
  for (const name of Object.keys(attributes)) setOwn(copy, name, copyValue(attributes[name] as AttributeValue));
  return copy;
}

function copyValue(value: AttributeValue): AttributeValue {
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return value + 0;
  if (isList(value)) return value.map((element) => copyBytes(element));
  return copyBytes(value);
}

/** Always a plain `Uint8Array`, whatever kind it was: `slice` of a Buffer would share its bytes. */
function copyBytes(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}

function isList(value: AttributeValue): value is readonly Uint8Array[] {
  return Array.isArray(value);
}

function bytesEqual(a: Uint8Array, b: Uint8Array): boolean {
  if (a.byteLength !== b.byteLength) return false;
  for (let i = 0; i < a.byteLength; i++) if (a[i] !== b[i]) return false;
  return true;
}
