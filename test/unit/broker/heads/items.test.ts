import { expect, it } from 'vitest';
import { headFromAttributes, nodeToMove } from '../../../../shared/broker/heads/items.ts';
import { makeBatchId } from '../../../../shared/log/head/batch-id.ts';
import { packEntry } from '../../../../shared/log/head/entry.ts';
import { packTotals, type SlotTotals } from '../../../../shared/log/head/head.ts';
import { HEAD } from '../../../../shared/storage/keys.ts';
import { applyUpdates, conditionHolds } from '../../../../shared/storage/rules/item-writes.ts';

function entryOf(number: number, onceKeys = 0): Uint8Array {
  const part = { slot: 0, records: 1, position: 0, bytes: 70, maxTimestampMs: 1_000 };
  return packEntry({
    batchId: makeBatchId(new Uint8Array(6).fill(number), 1_000),
    location: 'inline',
    onceKeys,
    parts: [part],
  });
}

/** A head of one record an entry, whose tail has these. */
function attributesOf(firstEntry: number, tail: readonly number[]) {
  const moved: SlotTotals[] = [{ nextOffset: firstEntry, maxTimestampMs: 1_000, bytes: 70 * firstEntry }];
  return {
    [HEAD.firstEntry]: firstEntry,
    [HEAD.tail]: tail.map((number) => entryOf(number)),
    [HEAD.next(0)]: firstEntry + tail.length,
    ...(firstEntry > 0 ? { [HEAD.totalsBeforeTail]: packTotals(moved) } : {}),
  };
}

it('takes what is known of a head from there, and decodes what is not', () => {
  const known = headFromAttributes(attributesOf(0, [0, 1, 2, 3, 4, 5, 6, 7, 8]));
  const appended = headFromAttributes(attributesOf(8, [8, 9]), known);
  expect(appended).toEqual(headFromAttributes(attributesOf(8, [8, 9])));
  expect(appended.tail[0]).toBe(known.tail[8]);
  // Another entry stands where that of a head that was remembered wrongly stood.
  const other = headFromAttributes(attributesOf(8, [11]), known);
  expect(other).toEqual(headFromAttributes(attributesOf(8, [11])));
  expect(headFromAttributes(attributesOf(0, [0]), appended)).toEqual(headFromAttributes(attributesOf(0, [0])));
});

it.each([30, 60])(
  'lets the eight oldest entries of a head go with their once keys, of which each has %d',
  (onceKeys) => {
    const keysOf = (number: number) => Array.from({ length: onceKeys }, (_, i) => Uint8Array.of(number, i));
    const numbers = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    const item = {
      ...attributesOf(0, numbers),
      [HEAD.tail]: numbers.map((number) => entryOf(number, onceKeys)),
      [HEAD.once]: numbers.flatMap(keysOf),
    };
    const { updates, conditions } = nodeToMove(headFromAttributes(item), []);
    const holds = (attributes: typeof item) => conditions.every((condition) => conditionHolds(attributes, condition));
    expect(holds(item)).toBe(true);
    const moved = headFromAttributes(applyUpdates(item, updates));
    expect([moved.firstEntry, moved.tail.length]).toEqual([8, 2]);
    expect(moved.once).toEqual([8, 9].flatMap(keysOf));
    // An append in between keeps its keys: they are not removed, or the move is refused.
    const appended = {
      ...item,
      [HEAD.tail]: [...item[HEAD.tail], entryOf(10, onceKeys)],
      [HEAD.once]: [...item[HEAD.once], ...keysOf(10)],
      [HEAD.next(0)]: 11,
    };
    if (holds(appended))
      expect(headFromAttributes(applyUpdates(appended, updates)).once).toEqual([8, 9, 10].flatMap(keysOf));
    expect(holds(appended)).toBe(8 * onceKeys <= 300);
  },
);
