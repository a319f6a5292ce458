import { dataObjectKey } from '../../shared/broker/data/read-part.ts';
import { nodesBetween, readHead } from '../../shared/broker/heads/items.ts';
import { readSegmentList, updateSegmentList } from '../../shared/broker/heads/segment-list-store.ts';
import { DEFAULT_SETTINGS } from '../../shared/broker/settings.ts';
import { placeBatch, type RecordBatchHeader, readBatchHeader } from '../../shared/log/batch/record-batch.ts';
import { invariant } from '../../shared/log/errors.ts';
import { addTotals, type Entry, type PlacedPart, placeNode, writtenAtMs } from '../../shared/log/head/head.ts';
import { announce, commitMerge, dropBelow, replaceSegments, spill } from '../../shared/log/segment/list-changes.ts';
import type { Segment } from '../../shared/log/segment/segment.ts';
import { type BuiltSegment, SegmentBuilder } from '../../shared/log/segment/segment-builder.ts';
import {
  packSegmentPage,
  type SegmentList,
  type SegmentPage,
  unpackSegmentPage,
} from '../../shared/log/segment/segment-list.ts';
import * as keys from '../../shared/storage/keys.ts';
import { type MemoryStores, SeededRandom } from './memory-broker.ts';

/** A straightforward merge, for tests of what reads segments: it expects no failures, and nobody beside it. */

const GRACE_MS = 30 * 60_000;

export interface MergedBatch {
  readonly bytes: Uint8Array;
  readonly header: RecordBatchHeader;
  readonly baseOffset: number;
}

export interface MergeOptions {
  /** How many nodes to merge; default: all. */
  readonly nodes?: number | undefined;
  /** Batches that this is false for are left out, as after compaction. */
  readonly keeps?: ((batch: MergedBatch, slot: number) => boolean) | undefined;
}

export class MergedLog {
  readonly #stores: MemoryStores;
  readonly #name: { readonly topicId: string; readonly headNumber: number };

  constructor(stores: MemoryStores, topicId: string, headNumber = 0) {
    this.#stores = stores;
    this.#name = { topicId, headNumber };
  }

  list(): Promise<SegmentList> {
    return readSegmentList(this.#stores.items, this.#name);
  }

  /** Merges whole tail nodes into one segment for each slot that has records in them. */
  async merge({ nodes: nodesMax = Number.POSITIVE_INFINITY, keeps = () => true }: MergeOptions = {}): Promise<void> {
    const { items } = this.#stores;
    const from = (await this.list()).mergedEntry;
    const to = Math.min((await readHead(items, this.#name)).firstEntry, from + 8 * nodesMax);
    if (to <= from) return;
    const builders = new Map<number, SegmentBuilder>();
    const covers = new Map<number, { startOffset: number; endOffset: number; writtenAtMs: number }>();
    let totals = (await this.list()).totals;
    for await (const node of nodesBetween(items, this.#name, from, to)) {
      totals = addTotals(node.before, node.entries);
      for (const placed of placeNode(node)) {
        const { slot, records } = placed.part;
        const endOffset = placed.baseOffset + records;
        const { startOffset, writtenAtMs: at } = covers.get(slot) ?? {
          startOffset: placed.baseOffset,
          writtenAtMs: writtenAtMs(placed.entry),
        };
        covers.set(slot, { startOffset, endOffset, writtenAtMs: at });
        const builder = builders.get(slot) ?? new SegmentBuilder();
        builders.set(slot, builder);
        for (const batch of await this.#batchesOf(placed))
          if (keeps(batch, slot)) builder.add(batch.bytes, batch.header, batch.baseOffset);
      }
    }
    const built = [...builders].map(([slot, builder]) => ({ slot, built: builder.finish(covers.get(slot)) }));
    const id = await this.#announce(built.map(({ slot, built: { facts } }) => ({ slot, ...facts })));
    const segments = new Map<number, Segment[]>();
    for (const { slot, built: one } of built)
      segments.set(slot, [await this.#write(slot, one, id, covers.get(slot)?.writtenAtMs ?? 0)]);
    const nowMs = this.#stores.clock.nowMs();
    const commit = { id, fromEntry: from, toEntry: to, totals, segments, nowMs, graceMs: GRACE_MS };
    await this.#update((list) => commitMerge(list, commit));
  }

  /** Replaces a run of segments of a slot by one, or by none if nothing is kept. */
  async replace(slot: number, first: number, count: number, keeps: MergeOptions['keeps'] = () => true): Promise<void> {
    const sources = ((await this.list()).slots[slot]?.segments ?? []).slice(first, first + count);
    const builder = new SegmentBuilder();
    for (const source of sources)
      for (const batch of batchesIn(await this.#bytesOf(slot, source)))
        if (keeps(batch, slot)) builder.add(batch.bytes, batch.header, batch.baseOffset);
    const covered = { startOffset: sources[0]?.startOffset ?? 0, endOffset: sources.at(-1)?.endOffset ?? 0 };
    const built = builder.bytes === 0 ? undefined : builder.finish(covered);
    const id = await this.#announce(built === undefined ? [] : [{ slot, ...built.facts }]);
    const by = built === undefined ? [] : [await this.#write(slot, built, id, sources[0]?.writtenAtMs ?? 0)];
    const nowMs = this.#stores.clock.nowMs();
    await this.#update((list) => replaceSegments(list, { id, slot, sources, by, nowMs, graceMs: GRACE_MS }));
  }

  /** Moves the oldest segments of a slot to a page. */
  async spill(slot: number, count: number): Promise<void> {
    const segments = ((await this.list()).slots[slot]?.segments ?? []).slice(0, count);
    const startOffset = segments[0]?.startOffset ?? 0;
    const id = await this.#announce([{ slot, startOffset }], 'page');
    const key = keys.segmentPageKey(this.#name.topicId, this.#name.headNumber, { slot, startOffset, version: id });
    await this.#stores.items.put(key, { [keys.SEGMENT_PAGE.segments]: packSegmentPage(segments) });
    const nowMs = this.#stores.clock.nowMs();
    await this.#update((list) => spill(list, { id, slot, segments, nowMs, graceMs: GRACE_MS }));
  }

  /** Drops the segments below an offset that the head's log start offset was raised to. */
  async drop(slot: number, startOffset: number): Promise<void> {
    const pages = new Map<number, readonly Segment[]>();
    for (const page of (await this.list()).slots[slot]?.pages ?? [])
      pages.set(page.startOffset, await this.segmentsOf(slot, page));
    const nowMs = this.#stores.clock.nowMs();
    const pageSegments = (page: SegmentPage) => pages.get(page.startOffset);
    await this.#update((list) => dropBelow(list, { slot, startOffset, pageSegments, nowMs, graceMs: GRACE_MS }));
  }

  /** Notes that compaction has been through a slot up to an offset. */
  async compacted(slot: number, compactedOffset: number): Promise<void> {
    await this.#update((list) => ({
      ...list,
      slots: list.slots.map((each, i) => (i === slot ? { ...each, compactedOffset } : each)),
    }));
  }

  /** The segments of a page. */
  async segmentsOf(slot: number, { startOffset, version }: Pick<SegmentPage, 'startOffset' | 'version'>) {
    const key = keys.segmentPageKey(this.#name.topicId, this.#name.headNumber, { slot, startOffset, version });
    return unpackSegmentPage(
      (await this.#stores.items.get(key)).attributes?.[keys.SEGMENT_PAGE.segments] as Uint8Array,
    );
  }

  /**
   * Deletes the merged nodes and their data, and all garbage, as the sweep does half an hour later. `keepsShared`: without
   * the objects that another head may still need.
   */
  async clean({ keepsShared = false }: { readonly keepsShared?: boolean } = {}): Promise<void> {
    const { items, objects } = this.#stores;
    const { mergedEntry, cleanedEntry, garbage } = await this.list();
    for await (const node of nodesBetween(items, this.#name, cleanedEntry, mergedEntry)) {
      for (const entry of node.entries) if (!keepsShared || entry.share === undefined) await this.#deleteData(entry);
      await items.delete({
        pk: keys.nodePartitionKey(this.#name.topicId, this.#name.headNumber),
        sk: keys.nodeSortKey(node.firstEntry),
      });
    }
    for (const { slot, startOffset, version, what } of garbage) {
      if (what === 'segment') await objects.delete(this.keyOf(slot, { startOffset, version }));
      else
        await items.delete(
          keys.segmentPageKey(this.#name.topicId, this.#name.headNumber, { slot, startOffset, version }),
        );
    }
    await this.#update((list) => ({ ...list, cleanBelow: mergedEntry, cleanedEntry: mergedEntry, garbage: [] }));
  }

  /** The key of a segment, if all heads of the topic have 16 partitions. */
  keyOf(slot: number, { startOffset, version }: Pick<Segment, 'startOffset' | 'version'>): string {
    return keys.segmentObjectKey(this.#name.topicId, this.#name.headNumber * 16 + slot, startOffset, version);
  }

  async #batchesOf({ entry, part, baseOffset }: PlacedPart): Promise<MergedBatch[]> {
    const end = part.position + part.bytes;
    const stored =
      entry.location !== 'inline'
        ? await this.#stores.objects.get(dataObjectKey(this.#name, entry), { start: 0, end })
        : (await this.#stores.items.get(this.#inlineKey(entry))).attributes?.[keys.INLINE_BATCH.data];
    invariant(stored instanceof Uint8Array && stored.length >= end, 'the data of a part is there');
    const data = stored.slice(part.position, end);
    let next = baseOffset;
    for (let position = 0; position < data.length; ) {
      const { bytes, lastOffsetDelta } = readBatchHeader(data, position);
      placeBatch(data, position, next);
      position += bytes;
      next += lastOffsetDelta + 1;
    }
    return batchesIn(data);
  }

  async #bytesOf(slot: number, segment: Segment): Promise<Uint8Array> {
    const bytes = await this.#stores.objects.get(this.keyOf(slot, segment), { start: 0, end: segment.bytes });
    invariant(bytes?.length === segment.bytes, 'a segment is there');
    return bytes;
  }

  async #deleteData(entry: Entry): Promise<void> {
    if (entry.location !== 'inline') await this.#stores.objects.delete(dataObjectKey(this.#name, entry));
    else await this.#stores.items.delete(this.#inlineKey(entry));
  }

  #inlineKey(entry: Entry) {
    return keys.inlineBatchKey(this.#name.topicId, this.#name.headNumber, entry.batchId);
  }

  async #announce(
    names: readonly { readonly slot: number; readonly startOffset: number }[],
    what: 'segment' | 'page' = 'segment',
  ): Promise<number> {
    const untilMs = this.#stores.clock.nowMs() + GRACE_MS;
    const named = names.map(({ slot, startOffset }) => ({ what, slot, startOffset }));
    return (await this.#update((list) => announce(list, 'merge', named, untilMs)?.list)).version;
  }

  async #write(slot: number, built: BuiltSegment, version: number, writtenMs: number): Promise<Segment> {
    const segment = { ...built.facts, version, writtenAtMs: writtenMs };
    await this.#stores.objects.put(this.keyOf(slot, segment), built.chunks);
    return segment;
  }

  async #update(change: (list: SegmentList) => SegmentList | undefined): Promise<SegmentList> {
    const context = { clock: this.#stores.clock, random: new SeededRandom(11), settings: DEFAULT_SETTINGS };
    const { list } = await updateSegmentList(context, this.#stores.items, this.#name, (list) => {
      const changed = change(list);
      invariant(changed !== undefined, 'the change applies');
      return { list: changed, result: undefined };
    });
    return list;
  }
}

function batchesIn(data: Uint8Array): MergedBatch[] {
  const batches: MergedBatch[] = [];
  for (let position = 0; position < data.length; ) {
    const header = readBatchHeader(data, position);
    const bytes = data.slice(position, position + header.bytes);
    batches.push({ bytes, header, baseOffset: header.baseOffset });
    position += header.bytes;
  }
  return batches;
}
