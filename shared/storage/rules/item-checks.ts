/** What an item store rejects before it looks at an item, alike in every adapter. */
import { invalidField } from '../../log/errors.ts';
import { ITEM_BYTES_MAX } from '../../log/limits.ts';
import type { Attributes, AttributeValue, Condition, ItemKey, ItemRange, ItemToPut, Update } from '../ports.ts';
import { utf8Bytes } from '../utf8.ts';
import { itemBytes } from './item-size.ts';

/** DynamoDB's bounds on the two parts of a key. */
const PK_BYTES_MAX = 2048;
const SK_BYTES_MAX = 1024;
/** The most items that one step removes. It bounds how long a write can wait for the step. */
const REMOVED_ITEMS_MAX = 1_000;

export type Write =
  | { readonly kind: 'put'; readonly attributes: Attributes; readonly conditions: readonly Condition[] }
  | { readonly kind: 'update'; readonly updates: readonly Update[]; readonly conditions: readonly Condition[] }
  | { readonly kind: 'delete'; readonly conditions: readonly Condition[] };

/** @throws EventLogError `invalid_request` for a key that DynamoDB rejects. */
export function checkItemKey(key: ItemKey): void {
  checkText('pk', key.pk, PK_BYTES_MAX);
  checkText('sk', key.sk, SK_BYTES_MAX);
}

/** @throws EventLogError `invalid_request` for a write that no item could take, so that it fails alike in every adapter. */
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

/** @throws EventLogError `invalid_request` for an item that cannot be put, so that it fails before anything is applied. */
export function checkBeside({ key, attributes }: ItemToPut): void {
  checkWrite(key, { kind: 'put', attributes, conditions: [] });
  checkItemBytes(itemBytes(key, attributes));
}

/** @throws EventLogError `invalid_request` for a range that can't be queried. An empty range (`from >= to`) is accepted. */
export function checkItemRange(range: ItemRange): void {
  checkText('pk', range.pk, PK_BYTES_MAX);
  if (!Number.isSafeInteger(range.limit) || range.limit < 1) {
    throw invalidField('limit', `The limit must be a whole number of at least 1, not ${range.limit}.`);
  }
  for (const field of ['from', 'to'] as const) {
    const bound = range[field] ?? '';
    if (!bound.isWellFormed() || utf8Bytes(bound) > SK_BYTES_MAX) {
      throw invalidField(field, `The bound '${field}' must be at most ${SK_BYTES_MAX} bytes of well-formed Unicode.`);
    }
  }
}

/** @throws EventLogError `invalid_request` for what `ExpiringItems.removeExpired` does not accept. */
export function checkRemoval(nowMs: number, limit: number): void {
  if (!Number.isSafeInteger(nowMs)) throw invalidField('nowMs', `The time must be whole milliseconds, not ${nowMs}.`);
  if (!Number.isSafeInteger(limit) || limit < 1 || limit > REMOVED_ITEMS_MAX) {
    throw invalidField('limit', `The limit must be a whole number from 1 to ${REMOVED_ITEMS_MAX}, not ${limit}.`);
  }
}

/** @throws EventLogError `invalid_request` for an item of more than `ITEM_BYTES_MAX` bytes. */
export function checkItemBytes(itemBytes: number): void {
  if (itemBytes > ITEM_BYTES_MAX) {
    throw invalidField('attributes', `The item would hold ${itemBytes} bytes; at most ${ITEM_BYTES_MAX} fit.`, {
      itemBytes,
      itemBytesMax: ITEM_BYTES_MAX,
    });
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
    if (!value.isWellFormed())
      throw invalidField(name, `The attribute ${JSON.stringify(name)} must be well-formed Unicode.`);
  } else if (typeof value === 'number') {
    checkInteger(name, value);
  } else if (!(value instanceof Uint8Array)) {
    if (!Array.isArray(value) || value.some((element) => !(element instanceof Uint8Array))) {
      throw invalidField(
        name,
        `The attribute ${JSON.stringify(name)} must be a string, an integer, bytes, or a list of bytes.`,
      );
    }
  }
}

function checkName(name: string): void {
  if (name === '' || !name.isWellFormed())
    throw invalidField('name', 'The name of an attribute must be well-formed Unicode of at least one character.');
  if (name === 'pk' || name === 'sk')
    throw invalidField(name, `'${name}' is part of the key and can't be the name of an attribute.`);
}

function checkText(field: string, text: string, bytesMax: number): void {
  if (text === '' || !text.isWellFormed() || utf8Bytes(text) > bytesMax) {
    throw invalidField(field, `The key part '${field}' must be 1 to ${bytesMax} bytes of well-formed Unicode.`);
  }
}

function checkInteger(name: string, value: number): void {
  if (!Number.isSafeInteger(value))
    throw invalidField(
      name,
      `The number for ${JSON.stringify(name)} must be an integer within ±(2^53 − 1), not ${value}.`,
    );
}

function checkCount(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0)
    throw invalidField(
      name,
      `The count for ${JSON.stringify(name)} must be a whole number of at least 0, not ${value}.`,
    );
}
