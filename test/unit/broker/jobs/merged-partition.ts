import type { BrokerContext } from '../../../../shared/broker/context.ts';
import { readSegmentList, updateSegmentList } from '../../../../shared/broker/heads/segment-list-store.ts';
import { makeContext } from '../../../../shared/broker/make-context.ts';
import { topicToAttributes } from '../../../../shared/broker/memory/topic-cache.ts';
import { readBatches } from '../../../../shared/broker/segments/read-batches.ts';
import { abortedInSegment } from '../../../../shared/broker/segments/read-segment.ts';
import { SlotParts } from '../../../../shared/broker/segments/slot-parts.ts';
import type { BrokerSettings } from '../../../../shared/broker/settings.ts';
import type { LogRecord, StoredRecord } from '../../../../shared/log/batch/record.ts';
import { encodeBatch, placeBatch, readBatchHeader } from '../../../../shared/log/batch/record-batch.ts';
import { recordsOf, type StoredBatch } from '../../../../shared/log/batch/stored-batch.ts';
import type { EncodeBatchOptions } from '../../../../shared/log/batch/write-batch.ts';
import { EMPTY_TOTALS, type SlotTotals, TAIL_NODE_ENTRIES } from '../../../../shared/log/head/head.ts';
import type { AbortedRange } from '../../../../shared/log/segment/aborted.ts';
import { announce, commitMerge, spill } from '../../../../shared/log/segment/list-changes.ts';
import type { Segment } from '../../../../shared/log/segment/segment.ts';
import { SegmentBuilder } from '../../../../shared/log/segment/segment-builder.ts';
import type {
  Announcement,
  SegmentList,
  SegmentPage,
  SlotSegments,
} from '../../../../shared/log/segment/segment-list.ts';
import type { Topic } from '../../../../shared/log/topic/topic.ts';
import type { TopicConfig } from '../../../../shared/log/topic/topic-config.ts';
import {
  segmentObjectKey,
  segmentObjectPrefix,
  segmentsPartitionKey,
  topicKey,
} from '../../../../shared/storage/keys.ts';
import type { Clock, Stores } from '../../../../shared/storage/ports.ts';
import { SeededRandom } from '../../../support/memory-broker.ts';

const UTF8 = new TextEncoder();
const TEXT = new TextDecoder();
const GRACE_MS = 30 * 60_000;

export function contextOf(
  stores: Stores & { readonly clock: Clock },
  settings: Partial<BrokerSettings> = {},
  seed = 1,
): BrokerContext {
  return makeContext({ ...stores, random: new SeededRandom(seed), settings });
}

export function topicOf(config: TopicConfig = {}, partitions = 1): Topic {
  const named = { name: 'table', topicId: 'topic-id', partitions, partitionsPerHead: 16, createdAtMs: 0 };
  return { ...named, config: { 'cleanup.policy': 'compact', ...config } };
}

/** Compaction reads the topic again before it replaces anything. */
export async function storeTopic({ items }: Stores, topic: Topic): Promise<void> {
  await items.put(topicKey(topic.name), topicToAttributes(topic));
}

/** `key=value`, `key` for a tombstone, `=value` for a record without a key. */
export function rec(spec: string, timestampMs: number): LogRecord {
  const [key, value] = spec.split('=');
  return {
    timestampMs,
    key: key ? UTF8.encode(key) : null,
    value: value === undefined ? null : UTF8.encode(value),
    headers: [],
  };
}

/** `<offset> <key>=<value>`; the key alone for a tombstone. */
export function shown({ offset, key, value }: StoredRecord): string {
  return `${offset} ${key === null ? '' : TEXT.decode(key)}${value === null ? '' : `=${TEXT.decode(value)}`}`;
}

/** The segments of one partition, as merges write them; slots beside it are left alone. */
export class MergedPartition {
  readonly slot: number;
  readonly #stores: Stores & { readonly clock: Clock };
  readonly #context: BrokerContext;
  readonly #topic: Topic;

  constructor(stores: Stores & { readonly clock: Clock }, topic: Topic = topicOf(), slot = 0) {
    this.slot = slot;
    this.#stores = stores;
    this.#context = contextOf(stores, {}, 99 + slot);
    this.#topic = topic;
  }

  /** Adds a segment with one batch for each list of records. Returns its first offset. */
  async add(
    batches: readonly (readonly LogRecord[])[],
    change: (batch: Uint8Array) => Uint8Array = (batch) => batch,
    options: EncodeBatchOptions = {},
  ): Promise<number> {
    return this.addBatches(batches.map((records) => change(encodeBatch(records, options))));
  }

  /** Adds a segment with some batches. `aborted`: aborted transactions of the partition. Returns its first offset. */
  async addBatches(batches: readonly Uint8Array[], aborted: readonly AbortedRange[] = []): Promise<number> {
    await storeTopic(this.#stores, this.#topic);
    const before = await this.list();
    const startOffset = before.totals[this.slot]?.nextOffset ?? 0;
    const builder = new SegmentBuilder();
    let offset = startOffset;
    for (const batch of batches) {
      placeBatch(batch, 0, offset);
      const header = readBatchHeader(batch);
      builder.add(batch, header, offset);
      offset += header.lastOffsetDelta + 1;
    }
    const announcement = await this.#announce('segment', startOffset);
    const { chunks, facts } = builder.finish(undefined, aborted);
    await this.#stores.objects.put(this.keyOf({ startOffset, version: announcement.id }), chunks);
    const nowMs = this.#stores.clock.nowMs();
    const segment = { ...facts, version: announcement.id, writtenAtMs: nowMs };
    const total: SlotTotals = { nextOffset: offset, maxTimestampMs: facts.maxTimestampMs, bytes: facts.bytes };
    await this.#update((list) =>
      commitMerge(list, {
        id: announcement.id,
        fromEntry: list.mergedEntry,
        toEntry: list.mergedEntry + TAIL_NODE_ENTRIES,
        totals: Array.from({ length: Math.max(list.totals.length, this.slot + 1) }, (_, slot) =>
          slot === this.slot ? total : (list.totals[slot] ?? EMPTY_TOTALS),
        ),
        segments: new Map([[this.slot, [segment]]]),
        nowMs,
        graceMs: GRACE_MS,
      }),
    );
    return startOffset;
  }

  /** Moves the oldest segments that are in the list to a page. */
  async page(count: number): Promise<void> {
    const segments = (await this.slotState()).segments.slice(0, count);
    const { startOffset } = segments[0] as Segment;
    const { id } = await this.#announce('page', startOffset);
    await this.#parts().write({ startOffset, version: id }, segments);
    const nowMs = this.#stores.clock.nowMs();
    await this.#update((list) => spill(list, { id, slot: this.slot, segments, nowMs, graceMs: GRACE_MS }));
  }

  list(): Promise<SegmentList> {
    return readSegmentList(this.#stores.items, { topicId: this.#topic.topicId, headNumber: 0 });
  }

  async slotState(): Promise<SlotSegments> {
    return (await this.list()).slots[this.slot] as SlotSegments;
  }

  async segments(): Promise<readonly Segment[]> {
    const list = await this.list();
    const droppedOffset = list.slots[this.slot]?.droppedOffset ?? 0;
    const parts = await this.#parts().of(list);
    return parts.flatMap(({ segments }) => segments).filter(({ endOffset }) => endOffset > droppedOffset);
  }

  async pageSegments(page: SegmentPage): Promise<readonly Segment[]> {
    const [part] = await this.#parts().of({ ...(await this.list()), slots: onlyPage(this.slot, page) });
    return part?.segments ?? [];
  }

  async batches(): Promise<StoredBatch[]> {
    const all: StoredBatch[] = [];
    for (const segment of await this.segments()) {
      const place = { topicId: this.#topic.topicId, partition: this.slot, segment };
      for await (const batch of readBatches(this.#context, this.#stores.objects, place)) all.push(batch);
    }
    return all;
  }

  /** The aborted transactions that a segment lists. */
  async abortedOf(segment: Segment): Promise<readonly AbortedRange[]> {
    const place = { topicId: this.#topic.topicId, partition: this.slot, segment };
    return abortedInSegment(this.#context, this.#stores.objects, place);
  }

  async records(): Promise<StoredRecord[]> {
    return (await this.batches()).flatMap(recordsOf);
  }

  async shown(): Promise<string[]> {
    return (await this.records()).map(shown);
  }

  keyOf({ startOffset, version }: Pick<Segment, 'startOffset' | 'version'>): string {
    return segmentObjectKey(this.#topic.topicId, this.slot, startOffset, version);
  }

  /** What is stored of the topic's head: the keys of its segments and the sort keys of its pages. */
  async stored(): Promise<{ readonly objects: readonly string[]; readonly pages: readonly string[] }> {
    const { topicId } = this.#topic;
    const { keys } = await this.#stores.objects.list(segmentObjectPrefix(topicId), { limit: 1_000 });
    const { items } = await this.#stores.items.query({ pk: segmentsPartitionKey(topicId, 0), limit: 1_000 });
    return { objects: keys, pages: items.map(({ sk }) => sk).filter((sk) => sk !== '-') };
  }

  #parts(): SlotParts {
    return new SlotParts(this.#context, this.#stores.items, { topicId: this.#topic.topicId, headNumber: 0 }, this.slot);
  }

  async #announce(what: 'segment' | 'page', startOffset: number): Promise<Announcement> {
    let announcement: Announcement | undefined;
    await this.#update((list) => {
      const untilMs = this.#stores.clock.nowMs() + GRACE_MS;
      const announced = announce(list, 'merge', [{ what, slot: this.slot, startOffset }], untilMs);
      announcement = announced?.announcement;
      return announced?.list;
    });
    return announcement as unknown as Announcement;
  }

  async #update(change: (list: SegmentList) => SegmentList | undefined): Promise<void> {
    const name = { topicId: this.#topic.topicId, headNumber: 0 };
    await updateSegmentList(this.#context, this.#stores.items, name, (list) => {
      const changed = change(list);
      if (changed === undefined) throw new Error('The change does not apply.');
      return { list: changed, result: undefined };
    });
  }
}

function onlyPage(slot: number, page: SegmentPage): SlotSegments[] {
  const empty = { pages: [], segments: [], droppedOffset: 0, compactedOffset: 0 };
  return Array.from({ length: slot + 1 }, (_, i) => (i === slot ? { ...empty, pages: [page] } : empty));
}
