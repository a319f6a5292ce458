/**
 * What a conditional write does to an item, as pure functions over `Attributes`. They define `Condition` and `Update` for
 * the adapters that keep items themselves (memory, file).
 *
 * Only `copyAttributes` copies bytes. Every other result may share bytes with its arguments.
 */
import { equalBytes } from '../../log/bytes.ts';
import { EventLogError, invalidField } from '../../log/errors.ts';
import { EXPIRES_AT } from '../key-parts.ts';
import type { Attributes, AttributeValue, Condition, ItemKey, Update } from '../ports.ts';
import { checkItemBytes, type Write } from './item-checks.ts';
import { itemBytes, writeUnits } from './item-size.ts';

/** The result of a write. `after` is undefined if the write removed the item. */
export type Decision =
  | { readonly kind: 'applied'; readonly after: Attributes | undefined; readonly units: number }
  | { readonly kind: 'refused'; readonly units: number };

/**
 * Decides a write on the item `before`.
 * @throws EventLogError `invalid_request` if the result can't be stored: an item over `ITEM_BYTES_MAX`, a number out of
 * bounds, or an update of an attribute that has another type.
 */
export function decideWrite(key: ItemKey, before: Attributes | undefined, write: Write): Decision {
  const beforeBytes = itemBytes(key, before);
  for (const condition of write.conditions) {
    if (!conditionHolds(before, condition)) return { kind: 'refused', units: writeUnits(beforeBytes, 0) };
  }
  const after = attributesAfter(before, write);
  const afterBytes = itemBytes(key, after);
  checkItemBytes(afterBytes);
  return { kind: 'applied', after, units: writeUnits(beforeBytes, afterBytes) };
}

/** @throws EventLogError `storage_unavailable` if something else than an earlier attempt has put an item under its key */
export function checkBesideIsNew(beside: Attributes, there: Attributes | undefined): void {
  if (there === undefined || areEqual(there, beside)) return;
  throw new EventLogError('storage_unavailable', 'The key of a new item is taken. Try again with another key.', {
    outcome: 'not_applied',
  });
}

function areEqual(a: Attributes, b: Attributes): boolean {
  const names = Object.keys(a);
  return (
    names.length === Object.keys(b).length && names.every((name) => isEqual(attributeOf(a, name), attributeOf(b, name)))
  );
}

function isEqual(a: AttributeValue | undefined, b: AttributeValue | undefined): boolean {
  if (a instanceof Uint8Array) return b instanceof Uint8Array && equalBytes(a, b);
  if (typeof a !== 'object' || typeof b !== 'object' || b instanceof Uint8Array) return a === b;
  return a.length === b.length && a.every((element, i) => equalBytes(element, b[i] as Uint8Array));
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

/** Whether `condition` holds for the item. `undefined` stands for an item that does not exist. */
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
      return !listOf(attributes, condition.name).some((element) => equalBytes(element, condition.value));
    case 'shorter_than':
      return listOf(attributes, condition.name).length < condition.length;
  }
}

/** The item after all updates. Each update sees the item as it was before the first. */
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

/** The second at which the item expires; `undefined` if it never does. */
export function expiryOf(attributes: Attributes | undefined): number | undefined {
  const value = attributeOf(attributes, EXPIRES_AT);
  return typeof value === 'number' ? value : undefined;
}

/** The second before which items must expire to have expired at `nowMs`. An item is kept through its last second. */
export function expiredBefore(nowMs: number): number {
  return Math.floor(nowMs / 1_000);
}

type MutableAttributes = { [name: string]: AttributeValue };

/** `__proto__` is a valid name of an attribute, so a plain assignment would change the prototype. */
function setOwn(attributes: MutableAttributes, name: string, value: AttributeValue): void {
  if (name !== '__proto__') attributes[name] = value;
  else Object.defineProperty(attributes, name, { value, enumerable: true, configurable: true, writable: true });
}

function sum(name: string, value: AttributeValue, by: number): number {
  if (typeof value !== 'number') throw wrongType(name, 'number');
  const result = value + by;
  if (!Number.isSafeInteger(result)) {
    throw invalidField(name, `Adding ${by} to ${value} leaves the range ±(2^53 − 1).`);
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
