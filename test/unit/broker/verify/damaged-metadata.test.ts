import { describe, expect, it } from 'vitest';
import { dataName, dataObjectKey } from '../../../../shared/broker/data/read-part.ts';
import { type Entry, packEntry } from '../../../../shared/log/head/entry.ts';
import { packTotals } from '../../../../shared/log/head/head.ts';
import { packSegmentPage } from '../../../../shared/log/segment/segment-list.ts';
import * as keys from '../../../../shared/storage/keys.ts';
import type { ItemKey } from '../../../../shared/storage/ports.ts';
import { type Damage, DamagedLog, findPlanted } from '../../../support/damaged-log.ts';
import { appendTo } from '../../../support/memory-broker.ts';
import { MergedLog } from '../../../support/merged-log.ts';
import { appendShapes, raiseStart, type ShapedLog, TOPIC } from '../../../support/shaped-log.ts';

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
    name: 'all tail nodes missing, also of a partition that has nothing in the tail',
    async plant(log, damaged) {
      const { mergedEntry, totals } = await damaged.list();
      await appendTo(log.broker, TOPIC, 5, ['only one']);
      await appendShapes(log.broker, 40);
      const { firstEntry } = await damaged.head();
      for (let entry = mergedEntry; entry < firstEntry; entry += 8)
        await damaged.changeItem(nodeKey(log, entry), () => undefined);
      return [
        { kind: 'missing_node', storedAs: named(nodeKey(log, mergedEntry)) },
        { kind: 'gap', partition: 0, offset: totals[0]?.nextOffset ?? -1 },
        { kind: 'gap', partition: 1 },
        { kind: 'gap', partition: 5, offset: 0, message: 'The offsets 0 to 0 are stored nowhere.' },
      ];
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
    name: 'an entry with a wrong timestamp',
    async plant({ topicId }, damaged) {
      const { tail } = await damaged.head();
      const entry = tail.at(-1)?.entry as Entry;
      const parts = entry.parts.map((part, i) =>
        i === 0 ? { ...part, maxTimestampMs: part.maxTimestampMs + 1 } : part,
      );
      await damaged.changeItem(keys.headKey(topicId, 0), (attributes) => ({
        ...attributes,
        [keys.HEAD.tail]: [...tail.slice(0, -1).map(({ packed }) => packed), packEntry({ ...entry, parts })],
      }));
      const [first] = parts;
      const storedAs = dataName({ topicId, headNumber: 0 }, entry);
      return [{ kind: 'wrong_timestamp', partition: first?.slot ?? -1, storedAs, position: first?.position ?? -1 }];
    },
  },
  ...[0, 1].map((headNumber) => ({
    name: `a checkpoint that is too old, of head ${headNumber}`,
    async plant({ topicId }: ShapedLog, damaged: DamagedLog) {
      const key = keys.checkpointKey(topicId, headNumber);
      await damaged.changeItem(key, () => ({ [keys.CHECKPOINT.belowEntry]: 8 }));
      return [{ kind: 'stale_checkpoint' as const, headNumber, storedAs: named(key) }];
    },
  })),
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
    name: 'a segment that retention has dropped from a page, and that came back',
    async plant(log) {
      const merged = new MergedLog(log.stores, log.topicId);
      const [first] = (await merged.list()).slots[1]?.segments ?? [];
      await merged.spill(1, 2);
      const storedAs = merged.keyOf(1, first ?? { startOffset: 0, version: 0 });
      const bytes = await new DamagedLog(log).object(storedAs);
      await raiseStart(log, 1, first?.endOffset ?? 0);
      await merged.drop(1, first?.endOffset ?? 0);
      await merged.clean();
      await log.stores.objects.put(storedAs, [bytes]);
      return [{ kind: 'orphan', partition: 1, storedAs }];
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
    const { expected, problems } = await findPlanted(plant);
    expect(problems).toMatchObject(expected);
  });
});
