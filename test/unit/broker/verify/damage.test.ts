import { describe, expect, it } from 'vitest';
import { dataObjectKey } from '../../../../shared/broker/data/read-part.ts';
import type { Problem } from '../../../../shared/broker/verify/report.ts';
import { readBatchHeader } from '../../../../shared/log/batch/record-batch.ts';
import { concatBytes } from '../../../../shared/log/bytes.ts';
import type { Entry } from '../../../../shared/log/head/entry.ts';
import { packTotals } from '../../../../shared/log/head/head.ts';
import { SegmentBuilder } from '../../../../shared/log/segment/segment-builder.ts';
import { packSegmentPage } from '../../../../shared/log/segment/segment-list.ts';
import * as keys from '../../../../shared/storage/keys.ts';
import type { ItemKey } from '../../../../shared/storage/ports.ts';
import { MergedLog } from '../../../support/merged-log.ts';
import { DamagedLog, type ShapedLog, shapedLog, verifyAll } from '../../../support/shaped-log.ts';

/** Each damage is planted in a whole log, and must be found with its kind and place. */
interface Damage {
  readonly name: string;
  readonly plant: (log: ShapedLog, damaged: DamagedLog) => Promise<readonly Partial<Problem>[]>;
}

/** Positions in the header of a batch: what its CRC covers, and what it does not. */
const HEADER: Readonly<Record<string, number>> = {
  'base offset': 7,
  'base offset, by a lot': 0,
  length: 11,
  'leader epoch': 15,
  magic: 16,
  crc: 20,
  attributes: 22,
  'last offset delta': 26,
  'base timestamp': 34,
  'largest timestamp': 42,
  'producer id': 50,
  'record count': 60,
  payload: 64,
};

const flips: Damage[] = Object.entries(HEADER).map(([field, at]) => ({
  name: `a flipped bit in the ${field} of a segment's batch`,
  async plant(_, damaged) {
    const { key, startOffset } = await damaged.lastSegment();
    // The second batch.
    const position = readBatchHeader(await damaged.object(key)).bytes;
    await damaged.flip(key, position + at);
    return [{ kind: 'damaged_segment', partition: 0, storedAs: key, offset: startOffset }];
  },
}));

/** Positions after the batches, from the end of the object. */
const END: Readonly<Record<string, (indexBytes: number) => number>> = {
  'index version': (indexBytes) => indexBytes,
  'an offset in the index': (indexBytes) => indexBytes - 2,
  'footer magic': () => 25,
  'footer version': () => 21,
  'length of the index': () => 17,
  'length of the batches': () => 9,
  'CRC of the index': () => 5,
  'CRC of the footer': () => 1,
};

const endFlips: Damage[] = Object.entries(END).map(([field, fromEnd]) => ({
  name: `a flipped bit in the ${field} of a segment`,
  async plant(_, damaged) {
    const { key, bytes, indexBytes, startOffset } = await damaged.lastSegment();
    await damaged.flip(key, bytes + indexBytes - fromEnd(indexBytes));
    return [{ kind: 'damaged_segment', partition: 0, storedAs: key, position: bytes, offset: startOffset }];
  },
}));

const cut = (name: string, to: (bytes: number, indexBytes: number) => number): Damage => ({
  name,
  async plant(_, damaged) {
    const { key, bytes, indexBytes } = await damaged.lastSegment();
    await damaged.changeObject(key, (whole) => whole.slice(0, to(bytes, indexBytes)));
    return [{ kind: 'damaged_segment', storedAs: key, position: bytes }];
  },
});

/** Rewrites the last segment of partition 0, so that object and list agree with each other but not with what was appended. */
async function rewrite(damaged: DamagedLog, change: (batches: Uint8Array[]) => Uint8Array[], listed: boolean) {
  const { key, bytes, startOffset, endOffset } = await damaged.lastSegment();
  const whole = await damaged.object(key);
  const batches: Uint8Array[] = [];
  for (let at = 0; at < bytes; ) {
    const batch = readBatchHeader(whole, at);
    batches.push(whole.slice(at, at + batch.bytes));
    at += batch.bytes;
  }
  const builder = new SegmentBuilder();
  for (const batch of change(batches)) {
    const header = readBatchHeader(batch);
    builder.add(batch, header, header.baseOffset);
  }
  const { chunks, facts } = builder.finish({ startOffset, endOffset });
  await damaged.changeObject(key, () => concatBytes(chunks));
  if (listed) await damaged.changeLastSegment(() => facts);
  return { key, startOffset };
}

/** An entry of the head's tail that is stored in this way. */
async function tailEntry(damaged: DamagedLog, location: Entry['location']): Promise<Entry> {
  const found = (await damaged.head()).tail.find(({ entry }) => entry.location === location);
  return found?.entry as Entry;
}

const nodeKey = ({ topicId }: ShapedLog, firstEntry: number): ItemKey => ({
  pk: keys.nodePartitionKey(topicId, 0),
  sk: keys.nodeSortKey(firstEntry),
});
const named = ({ pk, sk }: ItemKey): string => `${pk}/${sk}`;

/** The key of the only page of slot 0. */
async function pageKey({ topicId }: ShapedLog, damaged: DamagedLog): Promise<ItemKey> {
  const page = (await damaged.list()).slots[0]?.pages[0];
  return keys.segmentPageKey(topicId, 0, { slot: 0, startOffset: page?.startOffset ?? 0, version: page?.version ?? 0 });
}

const damages: Damage[] = [
  ...flips,
  ...endFlips,
  cut('a segment without its last byte', (bytes, indexBytes) => bytes + indexBytes - 1),
  cut('a segment without its index', (bytes) => bytes),
  cut('a segment without its last batch', (bytes) => bytes - 10),
  cut('an empty segment', () => 0),
  {
    name: 'a segment with a byte too many',
    async plant(_, damaged) {
      const { key } = await damaged.lastSegment();
      await damaged.changeObject(key, (whole) => concatBytes([whole, Uint8Array.of(0)]));
      return [
        { kind: 'damaged_segment', storedAs: key, message: expect.stringContaining('longer') as unknown as string },
      ];
    },
  },
  {
    name: 'a missing segment',
    async plant(_, damaged) {
      const { key, startOffset } = await damaged.lastSegment();
      await damaged.changeObject(key, () => undefined);
      return [{ kind: 'missing_segment', partition: 0, storedAs: key, offset: startOffset }];
    },
  },
  {
    name: 'two swapped segments',
    async plant({ topicId }, damaged) {
      const segments = ((await damaged.list()).slots[0]?.segments ?? []).slice(-2);
      const names = segments.map(({ startOffset, version }) => keys.segmentObjectKey(topicId, 0, startOffset, version));
      const [one = '', two = ''] = names;
      const [first, second] = [await damaged.object(one), await damaged.object(two)];
      await damaged.changeObject(one, () => second);
      await damaged.changeObject(two, () => first);
      return [
        { kind: 'damaged_segment', storedAs: one },
        { kind: 'damaged_segment', storedAs: two },
      ];
    },
  },
  {
    name: 'a segment in which a batch is doubled in place of the next',
    async plant(_, damaged) {
      const { key, bytes, startOffset } = await damaged.lastSegment();
      await damaged.changeObject(key, (whole) => {
        // The second and the third batch are alike in size.
        const first = readBatchHeader(whole);
        const second = readBatchHeader(whole, first.bytes);
        const third = first.bytes + second.bytes;
        if (third + second.bytes <= bytes) whole.copyWithin(third, first.bytes, third);
        return whole;
      });
      return [{ kind: 'damaged_segment', storedAs: key, offset: startOffset }];
    },
  },
  {
    name: 'a segment without one batch, as if it had never been there',
    async plant(_, damaged) {
      const { startOffset } = await rewrite(damaged, (batches) => batches.filter((_, i) => i !== 2), true);
      return [{ kind: 'gap', partition: 0, offset: startOffset + 2 }];
    },
  },
  {
    name: 'a segment whose last batch is lost, as if it had never been there',
    async plant(_, damaged) {
      const { startOffset } = await rewrite(damaged, (batches) => batches.slice(0, -1), true);
      return [{ kind: 'gap', partition: 0, offset: startOffset + 7 }];
    },
  },
  {
    name: 'a wrong set hash in the list',
    async plant(_, damaged) {
      const { key, startOffset } = await damaged.lastSegment();
      await damaged.changeLastSegment(({ setHash }) => ({ setHash: setHash ^ (1n << 40n) }));
      return [{ kind: 'wrong_set_hash', storedAs: key, offset: startOffset }];
    },
  },
  {
    name: 'a wrong set hash in the list, in the half that the index knows',
    async plant(_, damaged) {
      const { key } = await damaged.lastSegment();
      await damaged.changeLastSegment(({ setHash }) => ({ setHash: setHash ^ 1n }));
      return [{ kind: 'damaged_segment', storedAs: key }];
    },
  },
  {
    name: 'a wrong largest timestamp in the list',
    async plant(_, damaged) {
      const { key } = await damaged.lastSegment();
      await damaged.changeLastSegment(({ maxTimestampMs }) => ({ maxTimestampMs: maxTimestampMs - 1 }));
      return [{ kind: 'wrong_timestamp', storedAs: key }];
    },
  },
  {
    name: 'a segment that the list has lost',
    async plant({ topicId }, damaged) {
      const lost = (await damaged.list()).slots[0]?.segments.at(-2);
      await damaged.changeList((list) => ({
        ...list,
        slots: list.slots.map((slot, i) =>
          i === 0 ? { ...slot, segments: slot.segments.filter((one) => one.version !== lost?.version) } : slot,
        ),
      }));
      const storedAs = keys.segmentObjectKey(topicId, 0, lost?.startOffset ?? 0, lost?.version ?? 0);
      return [
        { kind: 'gap', partition: 0, offset: lost?.startOffset ?? -1 },
        { kind: 'orphan', partition: 0, storedAs },
      ];
    },
  },
  {
    name: 'a list that has lost its last segments',
    async plant(_, damaged) {
      const offset = (await damaged.lastSegment()).startOffset;
      await damaged.changeList((list) => ({
        ...list,
        slots: list.slots.map((slot, i) => (i === 0 ? { ...slot, segments: slot.segments.slice(0, -1) } : slot)),
      }));
      return [{ kind: 'gap', offset }, { kind: 'orphan' }];
    },
  },
  {
    name: 'a list with wrong totals',
    async plant({ topicId }, damaged) {
      await damaged.changeList((list) => ({
        ...list,
        totals: list.totals.map((one, i) => (i === 0 ? { ...one, bytes: one.bytes + 1 } : one)),
      }));
      return [{ kind: 'wrong_totals', storedAs: named(keys.segmentListKey(topicId, 0)) }];
    },
  },
  {
    name: 'a list that has merged more than there is',
    async plant({ topicId }, damaged) {
      await damaged.changeList((list) => ({ ...list, mergedEntry: list.mergedEntry + 80 }));
      return [
        { kind: 'wrong_totals', storedAs: named(keys.segmentListKey(topicId, 0)) },
        { kind: 'stale_checkpoint' },
        { kind: 'gap' },
        { kind: 'gap' },
      ];
    },
  },
  {
    name: 'a damaged list',
    async plant({ topicId }, damaged) {
      const key = keys.segmentListKey(topicId, 0);
      await damaged.changeItem(key, (attributes) => ({
        ...attributes,
        [keys.SEGMENT_LIST.list]: (attributes[keys.SEGMENT_LIST.list] as Uint8Array).slice(0, 40),
      }));
      return Array.from({ length: 16 }, (_, partition) => ({
        kind: 'damaged_list' as const,
        partition,
        storedAs: named(key),
      }));
    },
  },
  {
    name: 'a damaged head',
    async plant({ topicId }, damaged) {
      const key = keys.headKey(topicId, 0);
      await damaged.changeItem(key, (attributes) => ({ ...attributes, [keys.HEAD.next(0)]: 7 }));
      return Array.from({ length: 16 }, (_, partition) => ({
        kind: 'damaged_head' as const,
        partition,
        storedAs: named(key),
      }));
    },
  },
  {
    name: 'a head with wrong totals',
    async plant({ topicId }, damaged) {
      const key = keys.headKey(topicId, 0);
      const before = (await damaged.head()).partitions.map(({ totalsBeforeTail }) => totalsBeforeTail);
      const wrong = before.map((one, i) => (i === 1 ? { ...one, maxTimestampMs: one.maxTimestampMs + 5 } : one));
      await damaged.changeItem(key, (attributes) => ({
        ...attributes,
        [keys.HEAD.totalsBeforeTail]: packTotals(wrong),
      }));
      return [{ kind: 'wrong_totals', storedAs: named(key) }];
    },
  },
  {
    name: 'a missing tail node',
    async plant(log, damaged) {
      const { mergedEntry, totals } = await damaged.list();
      await damaged.changeItem(nodeKey(log, mergedEntry), () => undefined);
      return [
        { kind: 'missing_node', storedAs: named(nodeKey(log, mergedEntry)) },
        { kind: 'gap', partition: 0, offset: totals[0]?.nextOffset ?? -1 },
        { kind: 'gap', partition: 1, offset: totals[1]?.nextOffset ?? -1 },
      ];
    },
  },
  {
    name: 'two missing tail nodes, the last ones',
    async plant(log, damaged) {
      const { mergedEntry } = await damaged.list();
      for (const entry of [mergedEntry, mergedEntry + 8])
        await damaged.changeItem(nodeKey(log, entry), () => undefined);
      return [{ kind: 'missing_node', storedAs: named(nodeKey(log, mergedEntry)) }, { kind: 'gap' }, { kind: 'gap' }];
    },
  },
  {
    name: 'a damaged tail node',
    async plant(log, damaged) {
      const key = nodeKey(log, (await damaged.list()).mergedEntry + 8);
      await damaged.changeItem(key, (attributes) => ({
        ...attributes,
        [keys.NODE.entries]: (attributes[keys.NODE.entries] as Uint8Array[]).map((one) => one.slice(1)),
      }));
      return [
        { kind: 'damaged_node', storedAs: named(key) },
        { kind: 'gap', partition: 0 },
        { kind: 'gap', partition: 1 },
      ];
    },
  },
  {
    name: 'a tail node without one of its entries',
    async plant(log, damaged) {
      const key = nodeKey(log, (await damaged.list()).mergedEntry);
      await damaged.changeItem(key, (attributes) => ({
        ...attributes,
        [keys.NODE.entries]: (attributes[keys.NODE.entries] as Uint8Array[]).slice(0, -1),
      }));
      return [
        { kind: 'damaged_node', storedAs: named(key) },
        { kind: 'wrong_totals' },
        { kind: 'gap', partition: 0 },
        { kind: 'gap', partition: 1 },
      ];
    },
  },
  {
    name: 'a tail node with wrong totals',
    async plant(log, damaged) {
      const key = nodeKey(log, (await damaged.list()).mergedEntry + 8);
      await damaged.changeItem(key, (attributes) => ({ ...attributes, [keys.NODE.before]: packTotals([]) }));
      return [
        { kind: 'wrong_totals', storedAs: named(key) },
        { kind: 'wrong_totals' },
        { kind: 'gap' },
        { kind: 'gap' },
      ];
    },
  },
  {
    name: 'a tail node with once keys too many',
    async plant(log, damaged) {
      const key = nodeKey(log, (await damaged.list()).mergedEntry);
      await damaged.changeItem(key, (attributes) => ({ ...attributes, [keys.NODE.once]: [new Uint8Array(9)] }));
      return [{ kind: 'damaged_node', storedAs: named(key) }];
    },
  },
  {
    name: 'a missing page',
    async plant(log, damaged) {
      const key = await pageKey(log, damaged);
      await damaged.changeItem(key, () => undefined);
      return [{ kind: 'missing_page', partition: 0, storedAs: named(key), offset: 0 }];
    },
  },
  {
    name: 'a damaged page',
    async plant(log, damaged) {
      const key = await pageKey(log, damaged);
      await damaged.changeItem(key, (attributes) => ({
        ...attributes,
        [keys.SEGMENT_PAGE.segments]: (attributes[keys.SEGMENT_PAGE.segments] as Uint8Array).slice(0, -1),
      }));
      return [{ kind: 'damaged_page', partition: 0, storedAs: named(key) }];
    },
  },
  {
    name: 'a page with another number of bytes than the list says',
    async plant(log, damaged) {
      const key = await pageKey(log, damaged);
      const page = (await damaged.list()).slots[0]?.pages[0];
      const segments = await new MergedLog(log.stores, log.topicId).segmentsOf(
        0,
        page ?? { startOffset: 0, version: 0 },
      );
      const [first, ...others] = segments.map((one, i) =>
        i === 0 ? { ...one, writtenAtMs: 1, maxTimestampMs: one.maxTimestampMs + 1 } : one,
      );
      await damaged.changeItem(key, () => ({
        [keys.SEGMENT_PAGE.segments]: packSegmentPage(first ? [first, ...others] : []),
      }));
      return [
        { kind: 'damaged_page', storedAs: named(key) },
        { kind: 'wrong_timestamp', partition: 0, offset: 0 },
      ];
    },
  },
  {
    name: 'a missing inline batch',
    async plant({ topicId }, damaged) {
      const { batchId } = await tailEntry(damaged, 'inline');
      const key = keys.inlineBatchKey(topicId, 0, batchId);
      await damaged.changeItem(key, () => undefined);
      return [
        { kind: 'missing_data', partition: 0, storedAs: named(key) },
        { kind: 'missing_data', partition: 1, storedAs: named(key) },
      ];
    },
  },
  {
    name: 'a damaged inline batch',
    async plant({ topicId }, damaged) {
      const { batchId } = await tailEntry(damaged, 'inline');
      const key = keys.inlineBatchKey(topicId, 0, batchId);
      await damaged.changeItem(key, (attributes) => {
        const data = (attributes[keys.INLINE_BATCH.data] as Uint8Array).slice();
        data[65] = (data[65] as number) ^ 1;
        return { [keys.INLINE_BATCH.data]: data };
      });
      return [{ kind: 'damaged_data', partition: 0, storedAs: named(key), position: 0 }];
    },
  },
  {
    name: 'a missing hot object',
    async plant({ topicId }, damaged) {
      const key = dataObjectKey({ topicId, headNumber: 0 }, await tailEntry(damaged, 'hot'));
      await damaged.changeObject(key, () => undefined);
      return [
        { kind: 'missing_data', partition: 0, storedAs: key },
        { kind: 'missing_data', partition: 1, storedAs: key },
      ];
    },
  },
  {
    name: 'a shared object that is cut',
    async plant({ topicId }, damaged) {
      const key = dataObjectKey({ topicId, headNumber: 0 }, await tailEntry(damaged, 'shared'));
      await damaged.changeObject(key, (whole) => whole.slice(0, -5));
      return [{ kind: 'damaged_data', partition: 16, headNumber: 1, storedAs: key }];
    },
  },
  {
    name: 'a checkpoint that is too old',
    async plant({ topicId }, damaged) {
      const key = keys.checkpointKey(topicId, 0);
      await damaged.changeItem(key, () => ({ [keys.CHECKPOINT.belowEntry]: 8 }));
      return [{ kind: 'stale_checkpoint', headNumber: 0, storedAs: named(key) }];
    },
  },
  {
    name: 'a missing due item',
    async plant({ topicId }, damaged) {
      const due = (await damaged.list()).due.sweep ?? { atMs: 0, version: 0 };
      const key = keys.dueKey('sweep', { topicId, headNumber: 0, dueAtMs: due.atMs, version: due.version });
      await damaged.changeItem(key, () => undefined);
      return [{ kind: 'missing_due_item', headNumber: 0, storedAs: named(key) }];
    },
  },
  {
    name: 'a segment that nothing names',
    async plant({ stores, topicId }) {
      const key = keys.segmentObjectKey(topicId, 3, 5, 9);
      await stores.objects.put(key, [new Uint8Array(3)]);
      return [{ kind: 'orphan', partition: 3, storedAs: key }];
    },
  },
  {
    name: 'a page that nothing names',
    async plant({ stores, topicId }) {
      const key = keys.segmentPageKey(topicId, 0, { slot: 2, startOffset: 4, version: 1 });
      await stores.items.put(key, { [keys.SEGMENT_PAGE.segments]: packSegmentPage([]) });
      return [{ kind: 'orphan', headNumber: 0, storedAs: named(key) }];
    },
  },
];

describe('a verification finds', () => {
  it.each(damages)('$name', async ({ plant }) => {
    const log = await shapedLog();
    const expected = await plant(log, new DamagedLog(log));
    const { problems, partitions } = await verifyAll(log.broker);
    expect(problems).toMatchObject(expected);
    for (const problem of problems) expect(problem.message).toMatch(/^[A-Z].*\.$/);
    const ofPartitions = problems.filter(({ kind, partition }) => kind !== 'orphan' && partition !== undefined);
    expect(partitions.reduce((sum, one) => sum + one.problems, 0)).toBe(ofPartitions.length);
    // Also in small steps.
    expect((await verifyAll(log.broker, { maxBytes: 1 })).problems).toEqual(problems);
  });

  it('nothing below the log start', async () => {
    const log = await shapedLog();
    const damaged = new DamagedLog(log);
    const segment = (await damaged.list()).slots[1]?.segments[0];
    const key = keys.segmentObjectKey(log.topicId, 1, segment?.startOffset ?? 0, segment?.version ?? 0);
    await damaged.changeObject(key, () => undefined);
    expect((await verifyAll(log.broker)).problems).toMatchObject([
      { kind: 'missing_segment', partition: 1, offset: 128 },
    ]);
    await damaged.changeItem(keys.headKey(log.topicId, 0), (attributes) => ({
      ...attributes,
      [keys.HEAD.start(1)]: segment?.endOffset ?? 0,
    }));
    expect((await verifyAll(log.broker)).problems).toEqual([]);
  });
});
