import { planSpill, replaceSegments, scheduleBy, spill } from '../../../log/segment/list-changes.ts';
import { planCoalesce, type SegmentLimits } from '../../../log/segment/merge-policy.ts';
import type { Segment } from '../../../log/segment/segment.ts';
import { joinIndexes, packIndex } from '../../../log/segment/segment-index.ts';
import { packSegmentPage, type SegmentList } from '../../../log/segment/segment-list.ts';
import { addHashes } from '../../../log/segment/set-hash.ts';
import { headPartition, type Topic } from '../../../log/topic/topic.ts';
import { SEGMENT_PAGE, segmentPageKey } from '../../../storage/keys.ts';
import type { Stores } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import type { HeadName } from '../../heads/items.ts';
import { retrying } from '../../retry.ts';
import { readSegmentIndex } from '../../segments/read-batches.ts';
import { checkIndexOf, type SegmentPlace, segmentKey } from '../../segments/segment-blocks.ts';
import { announceNames, commitAnnounced, isUnderWay, segmentName } from '../announced-work.ts';
import { GRACE_MS } from '../grace.ts';
import type { HeadJobOptions } from '../head-job.ts';

export interface JoinOptions extends HeadJobOptions {
  readonly limits: SegmentLimits;
}

export interface JoinResult {
  readonly list: SegmentList;
  readonly segmentsJoined: number;
}

/**
 * Joins small adjacent segments of a head while there are eight of a size, and moves old ones to pages. A join costs 2
 * PutItems, 1 GetObject for each index, and what `concat` does; a page 3 PutItems.
 * @throws EventLogError `corrupt_data` naming a damaged segment
 */
export async function joinSegments(
  context: BrokerContext,
  stores: Stores,
  topic: Topic,
  name: HeadName,
  known: SegmentList,
  { limits, signal }: JoinOptions,
): Promise<JoinResult> {
  const { listedSegmentsMax } = context.settings;
  let list = known;
  let segmentsJoined = 0;
  while (!signal?.aborted) {
    const slot = list.slots.findIndex(({ segments }) => planCoalesce(segments, limits) !== undefined);
    if (slot >= 0) {
      const joined = await joinOnce(context, stores, topic, name, list, slot, limits);
      list = joined.list;
      if (!joined.applied) break;
      segmentsJoined += joined.sources;
    } else if (planSpill(list, listedSegmentsMax) !== undefined) {
      const spilled = await spillOnce(context, stores, name, list);
      list = spilled.list;
      if (!spilled.applied) break;
    } else break;
  }
  return { list, segmentsJoined };
}

async function joinOnce(
  context: BrokerContext,
  stores: Stores,
  topic: Topic,
  name: HeadName,
  known: SegmentList,
  slot: number,
  limits: SegmentLimits,
): Promise<{ readonly applied: boolean; readonly list: SegmentList; readonly sources: number }> {
  let sources: readonly Segment[] = [];
  const announced = await announceNames(context, stores.items, name, {
    job: 'coalesce',
    known,
    names: (list) => {
      const plan = planCoalesce(list.slots[slot]?.segments ?? [], limits);
      const isTaken = list.announcements.some(
        (one) => one.job === 'coalesce' && isUnderWay(context, one) && one.names.some((name) => name.slot === slot),
      );
      if (plan === undefined || isTaken) return undefined;
      sources = plan;
      return [segmentName(slot, plan[0] as Segment)];
    },
  });
  if (announced === undefined) return { applied: false, list: known, sources: 0 };
  const { id } = announced.announcement;
  const partition = headPartition(topic, name.headNumber, slot);
  const placeOf = (segment: Segment): SegmentPlace => ({ topicId: topic.topicId, partition, segment });
  const indexes = await Promise.all(
    sources.map(async (source) => {
      const read = await readSegmentIndex(context, stores.objects, placeOf(source));
      checkIndexOf(placeOf(source), read);
      return read;
    }),
  );
  const joined = joinIndexes(indexes);
  const index = packIndex(joined);
  const by = { ...joinedSegment(sources, id), indexBytes: index.length, aborted: joined.aborted.length };
  const ranges = sources.map((source) => ({
    key: segmentKey(placeOf(source)),
    range: { start: 0, end: source.bytes },
  }));
  await retrying(context, 'from_error', () => stores.objects.concat(segmentKey(placeOf(by)), ranges, [index]));
  const committed = await commitAnnounced(context, stores.items, name, announced, (list) => {
    const nowMs = context.clock.nowMs();
    const replaced = replaceSegments(list, { id, slot, sources, by: [by], nowMs, graceMs: GRACE_MS });
    return replaced && scheduleBy(replaced, 'sweep', nowMs + GRACE_MS);
  });
  return { ...committed, sources: sources.length };
}

function joinedSegment(sources: readonly Segment[], version: number): Omit<Segment, 'indexBytes' | 'aborted'> {
  const first = sources[0] as Segment;
  const last = sources.at(-1) as Segment;
  return {
    startOffset: first.startOffset,
    endOffset: last.endOffset,
    version,
    bytes: sources.reduce((sum, { bytes }) => sum + bytes, 0),
    maxTimestampMs: Math.max(...sources.map(({ maxTimestampMs }) => maxTimestampMs)),
    writtenAtMs: Math.min(...sources.map(({ writtenAtMs }) => writtenAtMs)),
    setHash: sources.reduce((sum, { setHash }) => addHashes(sum, setHash), 0n),
  };
}

async function spillOnce(
  context: BrokerContext,
  { items }: Stores,
  name: HeadName,
  known: SegmentList,
): Promise<{ readonly applied: boolean; readonly list: SegmentList }> {
  const { listedSegmentsMax } = context.settings;
  let plan = planSpill(known, listedSegmentsMax);
  const announced = await announceNames(context, items, name, {
    job: 'coalesce',
    known,
    names: (list) => {
      plan = planSpill(list, listedSegmentsMax);
      return plan && [{ what: 'page', slot: plan.slot, startOffset: (plan.segments[0] as Segment).startOffset }];
    },
  });
  if (announced === undefined || plan === undefined) return { applied: false, list: known };
  const { slot, segments } = plan;
  const { id } = announced.announcement;
  const key = segmentPageKey(name.topicId, name.headNumber, {
    slot,
    startOffset: (segments[0] as Segment).startOffset,
    version: id,
  });
  await retrying(context, 'from_error', () => items.put(key, { [SEGMENT_PAGE.segments]: packSegmentPage(segments) }));
  return commitAnnounced(context, items, name, announced, (list) =>
    spill(list, { id, slot, segments, nowMs: context.clock.nowMs(), graceMs: GRACE_MS }),
  );
}
