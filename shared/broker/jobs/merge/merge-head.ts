import { type Entry, type Head, TAIL_NODE_ENTRIES, type TailNode, writtenAtMs } from '../../../log/head/head.ts';
import { PARTITIONS_PER_HEAD_MAX } from '../../../log/limits.ts';
import { expireDueAfterMerge, retentionOf } from '../../../log/segment/expire.ts';
import { commitMerge, scheduleBy } from '../../../log/segment/list-changes.ts';
import { scheduleSweep } from '../../../log/segment/list-cleanup.ts';
import {
  isMergeDue,
  MERGE_AGE_MS,
  MERGE_AGE_MS_MAX,
  MERGE_BYTES_MAX,
  MERGE_NODES,
  MERGE_NODES_MAX,
  MERGE_SEGMENTS_MAX,
  mergeableEnd,
  SegmentCount,
  type SegmentLimits,
  unmergedNodes,
} from '../../../log/segment/merge-policy.ts';
import type { Segment } from '../../../log/segment/segment.ts';
import type { SegmentList } from '../../../log/segment/segment-list.ts';
import { headPartition, type Topic } from '../../../log/topic/topic.ts';
import { choiceSetting, numberSetting } from '../../../log/topic/topic-config.ts';
import { segmentObjectKey } from '../../../storage/keys.ts';
import type { ItemStore, Stores } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import { type Ask, type HeadName, nodesBetween, readHead } from '../../heads/items.ts';
import { transactionsOf } from '../../heads/known-nodes.ts';
import { checkpointProducers } from '../../heads/producers.ts';
import { readSegmentList, updateSegmentList } from '../../heads/segment-list-store.ts';
import { usesOfNode } from '../../heads/uses.ts';
import { retrying } from '../../retry.ts';
import { announceNames, commitAnnounced, isUnderWay, segmentName } from '../announced-work.ts';
import { GRACE_MS, HELD_UP_MS } from '../grace.ts';
import type { HeadJobOptions, HeadJobResult } from '../head-job.ts';
import { Pace } from '../pace.ts';
import { buildSegments, type MergedNodes, type NewSegment } from './build-segments.ts';
import { joinSegments } from './join-segments.ts';
import { abortedOf, type HeldUpBy, stableNodes } from './stable-nodes.ts';

export interface MergeResult extends HeadJobResult {
  /** The age of the oldest node that waited when the job came; `undefined` if none did. */
  readonly waitedMs: number | undefined;
  readonly nodesMerged: number;
  readonly bytesMerged: number;
  readonly segmentsWritten: number;
  readonly segmentsJoined: number;
  /** The merge was due, and stopped at this open transaction. */
  readonly heldUpBy?: HeldUpBy | undefined;
}

/** A head of which nothing waits is looked at again after this long, in case nobody told that something does. */
const IDLE_MS = 24 * 3_600_000;
/** A head whose list has no room for a merge is looked at again after this long. */
const CROWDED_MS = 60_000;
/** After a merge, the partitions of a compacted topic are looked at: not after each one, since that costs requests. */
const COMPACT_AFTER_MS = 5 * 60_000;

/**
 * Merges the tail nodes of one head into segments while that is due (`merge-policy.ts`), or in any case with `force`, up to
 * the last stable offsets of its partitions, and then joins small segments; before that already whenever the list is crowded.
 * What a node is needed for besides its records, the states of producers and the uses of idempotency keys, is stored before;
 * the node that the head needs for its open transactions stays (`mergeableEnd`). May be stopped or killed anywhere, and run
 * twice at once: what it has not committed is garbage that the next run of the sweep finds.
 *
 * Costs 2 GetItems if nothing waits, 1 Query more if something does. A merge of up to 64 MiB or about 500 segments costs 1
 * Query for 64 nodes, 1 GetItem or GetObject for each entry, 1 PutObject for each segment, 1 PutItem for each use of an
 * idempotency key, what `checkpointProducers` does, and 2 to 4 writes for the list; and what `abortedOf` does.
 * @throws EventLogError `corrupt_data` naming what is damaged: nothing of that merge is committed
 */
export async function mergeHead(
  context: BrokerContext,
  topic: Topic,
  headNumber: number,
  { signal, force = false }: HeadJobOptions & { readonly force?: boolean } = {},
): Promise<MergeResult> {
  const stores = context.usage.of(topic.name, 'maintain');
  const name = { topicId: topic.topicId, headNumber };
  const limits = {
    segmentBytes: numberSetting(topic.config, 'segment.bytes'),
    segmentMs: numberSetting(topic.config, 'segment.ms'),
  };
  let list = await retrying(context, 'not_applied', () => readSegmentList(stores.items, name));
  const head = await retrying(context, 'not_applied', () => readHead(stores.items, name));
  // Not outdated by moves that come later: they only move nodes behind it.
  const endEntry = mergeableEnd(head);
  const pace = new Pace(context, signal);
  let nodesMerged = 0;
  let bytesMerged = 0;
  let segmentsWritten = 0;
  let segmentsJoined = 0;
  let waitedMs: number | undefined;
  let nextAtMs = context.clock.nowMs() + IDLE_MS;
  const ask: Ask = (request) => retrying(context, 'not_applied', request);
  let heldUpBy: HeldUpBy | undefined;
  while (!head.closed && !signal?.aborted) {
    const waiting = unmergedNodes(list.mergedEntry, endEntry);
    if (waiting === 0) break;
    if (isCrowded(context, list)) {
      const joined = await joinSegments(context, stores, topic, name, list, { limits, signal });
      list = joined.list;
      segmentsJoined += joined.segmentsJoined;
      if (!isCrowded(context, list)) continue;
      // Another process is at it, or has died at it.
      nextAtMs = context.clock.nowMs() + CROWDED_MS;
      break;
    }
    const nodes = await nodesToMerge(context, stores.items, name, list, endEntry, limits);
    const oldestMs = writtenAtMs((nodes[0] as TailNode).entries[0] as Entry);
    waitedMs ??= context.clock.nowMs() - oldestMs;
    const isFull = nodes.length < waiting;
    const isDue = isFull || isMergeDue({ nodes: waiting, oldestMs }, context.clock.nowMs());
    const running = list.announcements.find((one) => one.job === 'merge' && isUnderWay(context, one));
    if (running !== undefined || (!isDue && !force)) {
      const ageMs = waiting >= MERGE_NODES ? MERGE_AGE_MS : MERGE_AGE_MS_MAX;
      nextAtMs = running?.untilMs ?? oldestMs + ageMs;
      break;
    }
    const known = list;
    const { open } = await ask(() => transactionsOf(context, stores.items, name, head));
    const { stable, heldUpBy: holder } = stableNodes(nodes, open);
    if (holder !== undefined) {
      heldUpBy = holder;
      context.heldUp.met([holder], context.clock.nowMs());
      nextAtMs = context.clock.nowMs() + HELD_UP_MS;
      // The last stable offset can rise in small steps, and each of them would make a small segment.
      const unmerged = { nodes: stable.length, bytes: bytesOf(stable), oldestMs };
      if (stable.length === 0 || (!force && !isMergeDue(unmerged, context.clock.nowMs()))) break;
    }
    const aborted = await ask(() => abortedOf(context, stores.items, name, head, stable));
    const toMerge = { head, nodes: stable, before: known.totals, aborted };
    const { merged, committed } = await context.mergeBytes.use(bytesOf(stable), async () => {
      const built = await buildSegments(stores, name, toMerge, limits, pace);
      return { merged: built, committed: await writeAndCommit(context, stores, topic, name, known, stable, built) };
    });
    list = committed.list;
    if (!committed.applied) continue;
    nodesMerged += stable.length;
    bytesMerged += merged.bytes;
    segmentsWritten += merged.segments.length;
  }
  // What was left undone must not wait until the next look at an idle head.
  if (signal?.aborted) nextAtMs = context.clock.nowMs();
  const joined = await joinSegments(context, stores, topic, name, list, { limits, signal });
  return {
    list: await scheduleFirstVisits(context, stores.items, topic, name, head, joined.list),
    nextAtMs,
    waitedMs,
    nodesMerged,
    bytesMerged,
    segmentsWritten,
    segmentsJoined: segmentsJoined + joined.segmentsJoined,
    heldUpBy,
  };
}

/**
 * Whether what merges have added must first be joined or moved to pages, since the list is one item. A list that is not
 * crowded has room for the segments of any merge, and for their names.
 */
function isCrowded({ settings }: BrokerContext, { slots }: SegmentList): boolean {
  const listed = slots.reduce((sum, { segments }) => sum + segments.length, 0);
  return listed > PARTITIONS_PER_HEAD_MAX * settings.listedSegmentsMax;
}

/** The oldest unmerged nodes, up to what one merge takes: at least one, and all only if they are few. */
async function nodesToMerge(
  context: BrokerContext,
  items: ItemStore,
  name: HeadName,
  { mergedEntry }: SegmentList,
  endEntry: number,
  limits: SegmentLimits,
): Promise<TailNode[]> {
  const to = Math.min(endEntry, mergedEntry + MERGE_NODES_MAX * TAIL_NODE_ENTRIES);
  const nodes: TailNode[] = [];
  const segments = new SegmentCount(limits);
  let bytes = 0;
  for await (const node of nodesBetween(items, name, mergedEntry, to, (request) =>
    retrying(context, 'not_applied', request),
  )) {
    bytes += bytesOf([node]);
    segments.add(node);
    if (nodes.length > 0 && (bytes > MERGE_BYTES_MAX || segments.count > MERGE_SEGMENTS_MAX)) break;
    nodes.push(node);
  }
  return nodes;
}

function bytesOf(nodes: readonly TailNode[]): number {
  let bytes = 0;
  for (const { entries } of nodes) for (const { parts } of entries) for (const part of parts) bytes += part.bytes;
  return bytes;
}

async function writeAndCommit(
  context: BrokerContext,
  stores: Stores,
  topic: Topic,
  name: HeadName,
  known: SegmentList,
  nodes: readonly TailNode[],
  { toEntry, totals, segments }: MergedNodes,
): Promise<{ readonly applied: boolean; readonly list: SegmentList }> {
  const fromEntry = known.mergedEntry;
  const { items } = stores;
  const nowMs = (): number => context.clock.nowMs();
  const announced = await announceNames(context, items, name, {
    job: 'merge',
    known,
    // A list of a lower version was deleted with its topic, and is not made again.
    names: (list) =>
      list.mergedEntry === fromEntry && list.version >= known.version
        ? segments.map(({ slot, built }) => segmentName(slot, built.facts))
        : undefined,
  });
  if (announced === undefined) return { applied: false, list: await readSegmentList(items, name) };
  const { id } = announced.announcement;
  await putSegments(context, stores, topic, name, segments, id);
  // Whoever looks for these in nodes finds them in items once the nodes may be deleted.
  for (const node of nodes)
    for (const { key, attributes } of usesOfNode(name, node, nowMs()))
      await retrying(context, 'from_error', () => items.put(key, attributes));
  await retrying(context, 'from_error', () => checkpointProducers(items, name, toEntry, nowMs()));
  return commitAnnounced(context, items, name, announced, (list) => {
    const merged = commitMerge(list, {
      id,
      fromEntry,
      toEntry,
      totals,
      segments: bySlot(segments, id),
      nowMs: nowMs(),
      graceMs: GRACE_MS,
    });
    return merged && scheduleOthers(merged, topic, nowMs());
  });
}

/** Four at once, so that a merge needs little more memory than its data. */
const PUTS_AT_ONCE = 4;

async function putSegments(
  context: BrokerContext,
  { objects }: Stores,
  topic: Topic,
  { headNumber }: HeadName,
  segments: readonly NewSegment[],
  version: number,
): Promise<void> {
  for (let at = 0; at < segments.length; at += PUTS_AT_ONCE) {
    await Promise.all(
      segments.slice(at, at + PUTS_AT_ONCE).map(({ slot, built }) => {
        const partition = headPartition(topic, headNumber, slot);
        const key = segmentObjectKey(topic.topicId, partition, built.facts.startOffset, version);
        return retrying(context, 'from_error', () => objects.put(key, built.chunks));
      }),
    );
  }
}

function bySlot(segments: readonly NewSegment[], version: number): Map<number, Segment[]> {
  const slots = new Map<number, Segment[]>();
  for (const { slot, built, writtenAtMs: atMs } of segments) {
    const segment = { ...built.facts, version, writtenAtMs: atMs };
    slots.set(slot, [...(slots.get(slot) ?? []), segment]);
  }
  return slots;
}

/**
 * Sees to it that the other jobs find a head of which nothing is merged: its records can expire in the tail, and its
 * writers can leave orphans. Costs nothing if they are scheduled already.
 */
async function scheduleFirstVisits(
  context: BrokerContext,
  items: ItemStore,
  topic: Topic,
  name: HeadName,
  head: Head,
  known: SegmentList,
): Promise<SegmentList> {
  const nowMs = context.clock.nowMs();
  const hasRecords = head.partitions.some(({ logStartOffset, nextOffset }) => logStartOffset < nextOffset);
  const expires = hasRecords && retentionOf(topic.config).retentionMs >= 0;
  const { list } = await updateSegmentList(
    context,
    items,
    name,
    (now) => {
      const swept = now.due.sweep === undefined ? scheduleBy(now, 'sweep', nowMs) : now;
      const scheduled = expires && now.due.expire === undefined ? scheduleBy(swept, 'expire', nowMs) : swept;
      return { list: scheduled === now ? undefined : scheduled, result: undefined };
    },
    known,
  );
  return list;
}

function scheduleOthers(list: SegmentList, topic: Topic, nowMs: number): SegmentList {
  const sweeps = scheduleBy(scheduleSweep(list), 'expire', expireDueAfterMerge(list, topic, nowMs));
  const compacts = choiceSetting(topic.config, 'cleanup.policy').split(',').includes('compact');
  return compacts ? scheduleBy(sweeps, 'compact', nowMs + COMPACT_AFTER_MS) : sweeps;
}
