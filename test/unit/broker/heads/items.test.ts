import { expect, it } from 'vitest';
import { headFromAttributes } from '../../../../shared/broker/heads/items.ts';
import { makeBatchId } from '../../../../shared/log/head/batch-id.ts';
import { packEntry } from '../../../../shared/log/head/entry.ts';
import { packTotals, type SlotTotals } from '../../../../shared/log/head/head.ts';
import { HEAD } from '../../../../shared/storage/keys.ts';

function entryOf(number: number): Uint8Array {
  const part = { slot: 0, records: 1, position: 0, bytes: 70, maxTimestampMs: 1_000 };
  return packEntry({
    batchId: makeBatchId(new Uint8Array(6).fill(number), 1_000),
    location: 'inline',
    onceKeys: 0,
    parts: [part],
  });
}

/** A head of one record an entry, whose tail has these. */
function attributesOf(firstEntry: number, tail: readonly number[]) {
  const moved: SlotTotals[] = [{ nextOffset: firstEntry, maxTimestampMs: 1_000, bytes: 70 * firstEntry }];
  return {
    [HEAD.firstEntry]: firstEntry,
    [HEAD.tail]: tail.map(entryOf),
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
