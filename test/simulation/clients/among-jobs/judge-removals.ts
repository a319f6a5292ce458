import type { Broker } from '../../../../shared/broker/broker.ts';
import type { TopicDescription } from '../../../../shared/broker/topics/describe.ts';
import type { ReadRecord } from '../../../history/history.ts';
import { isOfKey, TOMBSTONE } from '../../world/watch/compaction-watch.ts';
import { segmentsOf } from '../../world/watch/list-watch.ts';
import type { HeadFacts } from '../../world/watch/stored-facts.ts';
import { type OffsetFate, slotNameOf, type TransactionName } from '../../world/watch/transaction-watch.ts';
import type { World } from '../../world/world.ts';
import { readToEnd } from '../read-records.ts';
import { BRIEF_TOPIC, compare, LATEST_TOPIC, placeOf, trueLogOf } from './removing-topics.ts';

/** What is wrong with the topics of which records are removed, some days after the last append. */
export async function judgeRemovals(
  world: World,
  broker: Broker,
  topics: readonly string[] = [BRIEF_TOPIC, LATEST_TOPIC],
): Promise<{ promise: string; message: string }[]> {
  const { jobs } = world.watch;
  const wrong: { promise: string; message: string }[] = [];
  for (const topic of topics) {
    const topicId = world.watch.topicId(topic);
    if (topicId === undefined || jobs === undefined) continue;
    const { config } = await broker.describeTopic(topic);
    const isCompacted = String(config['cleanup.policy'].value).includes('compact');
    for (const { partition, logStartOffset, highWatermark } of await broker.describePartitions(topic)) {
      const { head, slot } = placeOf(jobs, topicId, partition);
      const about = `${topic}/${partition}, read from ${logStartOffset}:`;
      const truth = trueLogOf(world, topic, partition);
      if (truth.length !== highWatermark)
        wrong.push({ promise: 'R1', message: `${about} it ends at ${highWatermark}, not at ${truth.length}.` });
      const records = await readToEnd(broker, topic, partition, logStartOffset);
      const unlike = compare(world, topic, partition, { records, from: logStartOffset, to: highWatermark });
      if (unlike !== undefined) wrong.push({ promise: 'R1', message: `${about} ${unlike}.` });
      const kept = judgeRetention(world, head, slot, config, logStartOffset, records);
      if (kept !== undefined) wrong.push({ promise: 'R14', message: `${about} ${kept}.` });
      if (!isCompacted) continue;
      const mergedOffset = head.list?.totals[slot]?.nextOffset ?? 0;
      const fateOf = (offset: number): OffsetFate =>
        world.watch.transactions?.fateOf(slotNameOf(head, slot), offset) ?? 'plain';
      const transactionAt = (offset: number): TransactionName | undefined =>
        world.watch.transactions?.spanAt(slotNameOf(head, slot), offset)?.transaction;
      const isGone = (offset: number): boolean => jobs.compaction.isGone(head, slot, offset);
      const compacted = { start: logStartOffset, mergedOffset, fateOf, transactionAt, isGone };
      for (const message of judgeCompaction(truth, records, compacted))
        wrong.push({ promise: 'R15', message: `${about} ${message}.` });
    }
  }
  return wrong;
}

/** What should have gone. */
function judgeRetention(
  world: World,
  head: HeadFacts,
  slot: number,
  config: TopicDescription['config'],
  start: number,
  records: readonly ReadRecord[],
): string | undefined {
  if (!String(config['cleanup.policy'].value).includes('delete') || records.length === 0) return undefined;
  if (Number(config['retention.ms'].value) >= 0) return 'there is still what has expired';
  const retentionBytes = Number(config['retention.bytes'].value);
  const list = head.list?.slots[slot];
  if (retentionBytes < 0 || list === undefined) return undefined;
  const facts = (world.watch.jobs as NonNullable<World['watch']['jobs']>).facts;
  const [, ...others] = segmentsOf(facts, head, list, slot).filter(({ endOffset }) => endOffset > start);
  const unmerged = head.entries.slice(head.list?.mergedEntry).flatMap(({ entry }) => entry.parts);
  const unmergedBytes = unmerged.reduce((sum, part) => sum + (part.slot === slot ? part.bytes : 0), 0);
  const bytes = others.reduce((sum, segment) => sum + segment.bytes, unmergedBytes);
  return others.length > 0 && bytes >= retentionBytes
    ? `there are ${bytes} bytes behind the oldest segment, of which ${retentionBytes} are to be kept`
    : undefined;
}

interface Compacted {
  /** The log start offset. */
  readonly start: number;
  readonly mergedOffset: number;
  readonly fateOf: (offset: number) => OffsetFate;
  readonly transactionAt: (offset: number) => TransactionName | undefined;
  readonly isGone: (offset: number) => boolean;
}

/** All that was merged has been compacted by now, and the time of every tombstone is over. */
function* judgeCompaction(
  truth: readonly ReadRecord[],
  records: readonly ReadRecord[],
  { start, mergedOffset, fateOf, transactionAt, isGone }: Compacted,
): Generator<string> {
  const counting = truth.filter(({ offset }) => isOfKey(fateOf(offset)));
  const newest = new Map(counting.map(({ key, offset }) => [key, offset]));
  const merged = counting.filter(({ offset }) => offset < mergedOffset);
  const newestMerged = new Map(merged.map(({ key, offset }) => [key, offset]));
  const read = new Set(records.map(({ offset }) => offset));
  const left = truth.slice(start, mergedOffset).filter(({ offset }) => !isGone(offset));
  for (const { offset } of left) {
    if (fateOf(offset) === 'aborted') yield `it has the offset ${offset}, which was aborted`;
    // Where retention has dropped the last batch of a transaction, the marker waits for the next pass of a compaction.
    if (start > 0 || fateOf(offset) !== 'marker') continue;
    const isNeeded = left.some((one) => one.offset < offset && transactionAt(one.offset) === transactionAt(offset));
    if (!isNeeded) yield `it has the offset ${offset}, a marker whose time is over`;
  }
  for (const { offset, key, value } of counting.filter((record) => record.offset >= start)) {
    const isThere = read.has(offset);
    if (!isThere && newest.get(key) === offset && value !== TOMBSTONE)
      yield `it lacks the offset ${offset}, the newest of the key ${key}`;
    if (!isThere || offset >= mergedOffset) continue;
    if (newestMerged.get(key) !== offset) yield `it has the offset ${offset}, which has been superseded`;
    else if (value === TOMBSTONE) yield `it has the offset ${offset}, a tombstone whose time is over`;
  }
}
