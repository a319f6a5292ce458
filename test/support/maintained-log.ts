import type { BrokerContext } from '../../shared/broker/context.ts';
import { nodesBetween, readHead } from '../../shared/broker/heads/items.ts';
import { readSegmentList, updateSegmentList } from '../../shared/broker/heads/segment-list-store.ts';
import { ANNOUNCED_MS, GRACE_MS } from '../../shared/broker/jobs/grace.ts';
import { makeContext } from '../../shared/broker/make-context.ts';
import { addTotals, type PlacedPart, partitionState, placeNode, writtenAtMs } from '../../shared/log/head/head.ts';
import { expireDueAfterMerge } from '../../shared/log/segment/expire.ts';
import { announce, commitMerge, planSpill, scheduleBy, spill } from '../../shared/log/segment/list-changes.ts';
import { scheduleSweep } from '../../shared/log/segment/list-cleanup.ts';
import type { Segment } from '../../shared/log/segment/segment.ts';
import { packSegmentPage, type SegmentList } from '../../shared/log/segment/segment-list.ts';
import type { Topic } from '../../shared/log/topic/topic.ts';
import { aroundStores, type StoreArguments, type StoreRequest } from '../../shared/storage/around-stores.ts';
import { SEGMENT_PAGE, segmentObjectKey, segmentPageKey } from '../../shared/storage/keys.ts';
import type { Attributes, ItemKey, ItemStore, Stores } from '../../shared/storage/ports.ts';
import { type MemoryStores, SeededRandom } from './memory-broker.ts';

let contexts = 0;

/** What jobs get from the broker of their process. */
export function jobContext(stores: MemoryStores): BrokerContext {
  return makeContext({
    ...stores,
    random: new SeededRandom(0xc0de + contexts++),
    settings: { cacheBytesMax: 1_000_000 },
  });
}

/**
 * A merge that only keeps the books: it makes a segment of every slot from all whole nodes, and writes objects with their
 * names as content.
 */
export async function mergeBooks(context: BrokerContext, topic: Topic, headNumber: number): Promise<SegmentList> {
  const { items, objects } = context.usage.of(topic.name, 'maintain');
  const name = { topicId: topic.topicId, headNumber };
  const nowMs = context.clock.nowMs();
  const head = await readHead(items, name);
  const before = await readSegmentList(items, name);
  const fromEntry = before.mergedEntry;
  const toEntry = head.firstEntry;
  if (toEntry <= fromEntry) return before;
  let totals = before.totals;
  const bySlot = new Map<number, PlacedPart[]>();
  for await (const node of nodesBetween(items, name, fromEntry, toEntry)) {
    totals = addTotals(totals, node.entries);
    for (const placed of placeNode(node)) {
      const { slot, records } = placed.part;
      if (placed.baseOffset + records <= partitionState(head, slot).logStartOffset) continue;
      bySlot.set(slot, [...(bySlot.get(slot) ?? []), placed]);
    }
  }
  const names = [...bySlot].map(([slot, parts]) => ({
    what: 'segment' as const,
    slot,
    startOffset: (parts[0] as PlacedPart).baseOffset,
  }));
  const { result: id } = await updateSegmentList<number>(context, items, name, (list) => {
    const announced = announce(list, 'merge', names, nowMs + ANNOUNCED_MS);
    return { list: announced?.list, result: announced?.announcement.id ?? 0 };
  });
  const segments = new Map<number, readonly Segment[]>();
  for (const [slot, parts] of bySlot) {
    const { baseOffset, part } = parts.at(-1) as PlacedPart;
    const startOffset = (parts[0] as PlacedPart).baseOffset;
    const segment = {
      startOffset,
      endOffset: baseOffset + part.records,
      version: id,
      bytes: parts.reduce((sum, placed) => sum + placed.part.bytes, 0),
      indexBytes: 10,
      maxTimestampMs: Math.max(...parts.map((placed) => placed.part.maxTimestampMs)),
      writtenAtMs: Math.min(...parts.map(({ entry }) => writtenAtMs(entry))),
      aborted: 0,
      setHash: 1n,
    };
    segments.set(slot, [segment]);
    const key = segmentObjectKey(topic.topicId, headNumber * topic.partitionsPerHead + slot, startOffset, id);
    await objects.put(key, [new TextEncoder().encode(key)]);
  }
  const { list } = await updateSegmentList(context, items, name, (now) => {
    const merged = commitMerge(now, { id, fromEntry, toEntry, totals, segments, nowMs, graceMs: GRACE_MS });
    if (merged === undefined) return { list: undefined, result: undefined };
    const scheduled = scheduleBy(merged, 'expire', expireDueAfterMerge(merged, topic, nowMs));
    return { list: scheduleSweep(scheduled), result: undefined };
  });
  return list;
}

/** Moves the oldest segments of slots with too many to pages. */
export async function spillBooks(context: BrokerContext, topic: Topic, headNumber: number): Promise<void> {
  const { items } = context.usage.of(topic.name, 'maintain');
  const name = { topicId: topic.topicId, headNumber };
  for (;;) {
    const plan = planSpill(await readSegmentList(items, name));
    if (plan === undefined) return;
    const startOffset = (plan.segments[0] as Segment).startOffset;
    const { result: id } = await updateSegmentList<number>(context, items, name, (list) => {
      const announced = announce(
        list,
        'merge',
        [{ what: 'page', slot: plan.slot, startOffset }],
        Number.MAX_SAFE_INTEGER,
      );
      return { list: announced?.list, result: announced?.announcement.id ?? 0 };
    });
    await items.put(segmentPageKey(topic.topicId, headNumber, { slot: plan.slot, startOffset, version: id }), {
      [SEGMENT_PAGE.segments]: packSegmentPage(plan.segments),
    });
    await updateSegmentList(context, items, name, (list) => ({
      list: spill(list, { id, ...plan, nowMs: context.clock.nowMs(), graceMs: GRACE_MS }),
      result: undefined,
    }));
  }
}

export class Died extends Error {}

/** Stores that run something before each request. */
export function beforeRequests<S extends MemoryStores>(
  stores: S,
  run: (request: StoreRequest, args: StoreArguments) => void | Promise<void>,
): S {
  const around = aroundStores(stores, (request, send) => async (...args) => {
    await run(request, args);
    return send(...args);
  });
  return { ...stores, ...around };
}

/** The stores of a process that dies after this many requests: each later request throws, and changes nothing. */
export function killedAfter<S extends MemoryStores>(stores: S, requests: number): S {
  let left = requests;
  return beforeRequests(stores, () => {
    if (left-- <= 0) throw new Died();
  });
}

/** Everything that is stored: objects by their keys, items by both parts of their keys. */
export async function storedNames(stores: Stores, partitionKeys: readonly string[]): Promise<string[]> {
  const { keys } = await stores.objects.list('', { limit: 1_000 });
  const names = [...keys];
  for (const pk of partitionKeys)
    for (const { sk } of (await stores.items.query({ pk, limit: 10_000 })).items) names.push(`${pk} | ${sk}`);
  return names.sort();
}

/** Remembers the partition keys that were ever written. */
export function watchItems(items: ItemStore, keys: Set<string>): ItemStore {
  const see = <T>(key: ItemKey, result: T): T => {
    keys.add(key.pk);
    return result;
  };
  return {
    get: (key) => items.get(key),
    put: (key, attributes: Attributes, conditions) => see(key, items.put(key, attributes, conditions)),
    update: (key, updates, conditions) => see(key, items.update(key, updates, conditions)),
    delete: (key, conditions) => items.delete(key, conditions),
    query: (range) => items.query(range),
  };
}
