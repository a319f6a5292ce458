import { type EventLogError, invalidField } from '../../../log/errors.ts';
import { checkGroupName } from '../../../log/group/group.ts';
import type { CommittedOffset, SlotState } from '../../../log/group/offset-page.ts';
import { OFFSET_MAX } from '../../../log/limits.ts';
import { checkTopicName } from '../../../log/topic/topic.ts';
import type { BrokerContext } from '../../context.ts';
import { offsetForTime } from '../../read/read.ts';
import { type PartitionView, viewPartitions } from '../../read/view-partitions.ts';
import { eachOf } from '../../topics/each-head.ts';
import { NO_TOPIC } from '../../usage/usage-meter.ts';
import { readGroup } from '../items.ts';
import { groupNotEmpty, hasLiveMember, unknownGroup } from '../no-members.ts';
import { changeUnowned } from './change-unowned.ts';
import { byPage, checkPartitions, type TopicPartition } from './chosen-partitions.ts';
import { readPage, slotState } from './pages.ts';

export type ResetTo =
  | { readonly to: 'earliest' | 'latest' }
  /** The first record of this time or later; the high watermark where there is none. */
  | { readonly timestampMs: number }
  | { readonly offset: number }
  /** So many records forward, or back if negative, from what is committed. */
  | { readonly shiftBy: number };

export interface ResetOffsetsRequest {
  readonly group: string;
  /** `partitions` undefined: all of the topic. */
  readonly topics: readonly { readonly topic: string; readonly partitions?: readonly number[] | undefined }[];
  readonly reset: ResetTo;
  /** Only tell what would be changed. */
  readonly dryRun?: boolean | undefined;
}

export interface ResetPartition extends TopicPartition {
  /** `null`: none was committed. */
  readonly oldOffset: number | null;
  /** `null`: nothing to shift from, so nothing was changed. */
  readonly newOffset: number | null;
  /** The offset that was asked for is outside of the log, so this end of it was taken. */
  readonly clampedTo?: 'log_start_offset' | 'high_watermark';
  /** The reset of this partition failed, or may have: then `newOffset` is what was asked for. */
  readonly error?: EventLogError;
}

/**
 * Sets the committed offsets of a group that has no live member, or tells what a reset would change. The result is in the order
 * of the request.
 *
 * 1 GetItem of the group, 1 Query of its members, for each 16 partitions 1 GetItem of the head, and 1 GetItem and 1 UpdateItem of
 * the page; for a time in addition what `offsetForTime` costs for each partition.
 * @throws EventLogError `invalid_request`, `unknown_group`, `unknown_topic`, `unknown_partition`, `group_not_empty`; then nothing
 * was changed
 */
export async function resetOffsets(context: BrokerContext, request: ResetOffsetsRequest): Promise<ResetPartition[]> {
  const { group, topics, reset, dryRun = false } = request;
  checkReset(request);
  const { items } = context.usage.of(NO_TOPIC, 'group');
  const checkGroup = async (): Promise<void> => {
    const found = await readGroup(items, group);
    if (found === undefined || found.isDeleted) throw unknownGroup(group);
  };
  await checkGroup();
  const views: PartitionView[] = [];
  for (const { topic, partitions = 'all' } of topics) {
    views.push(...(await viewPartitions(context, await context.topics.get(topic), partitions)));
    checkPartitions(views.map(nameOf), 'topics');
  }
  const goals = await eachOf(views, async (view): Promise<number> => {
    if ('timestampMs' in reset)
      return (await offsetForTime(context, view.topic.name, view.partition, reset.timestampMs)).offset;
    if ('offset' in reset) return reset.offset;
    if ('to' in reset) return reset.to === 'earliest' ? view.logStartOffset : view.highWatermark;
    return reset.shiftBy;
  });
  const results: ResetPartition[] = views.map((view) => ({ ...nameOf(view), oldOffset: null, newOffset: null }));
  const committedAtMs = context.clock.nowMs();
  const changes = views.map((view, i) => ({
    topicId: view.topic.topicId,
    partition: view.partition,
    decide: (slot: SlotState): CommittedOffset | 'unchanged' => {
      const result = decideReset(view, slot, reset, goals[i] as number);
      results[i] = result;
      if (result.newOffset === null) return 'unchanged';
      return { offset: result.newOffset, leaderEpoch: -1, committedAtMs, metadata: '' };
    },
  }));
  if (dryRun) {
    await eachOf(byPage(group, changes), async ({ name, entries }) => {
      const page = await readPage(items, name);
      for (const entry of entries) entry.decide(slotState(page, entry.partition));
    });
    if (await hasLiveMember(context, items, group)) throw groupNotEmpty(group);
    return results;
  }
  const errors = await changeUnowned(context, items, group, changes, checkGroup);
  const notEmpty = errors.find((error) => error?.code === 'group_not_empty');
  if (notEmpty !== undefined && errors.every((error) => error !== undefined)) throw notEmpty;
  return results.map((result, i) => (errors[i] === undefined ? result : { ...result, error: errors[i] }));
}

function nameOf({ topic, partition }: PartitionView): TopicPartition {
  return { topic: topic.name, partition };
}

function decideReset(view: PartitionView, { committed }: SlotState, reset: ResetTo, goal: number): ResetPartition {
  const { logStartOffset, highWatermark } = view;
  const oldOffset = committed?.offset ?? null;
  const result = { ...nameOf(view), oldOffset };
  if ('shiftBy' in reset && oldOffset === null) return { ...result, newOffset: null };
  const wanted = 'shiftBy' in reset ? (oldOffset ?? 0) + goal : goal;
  if (wanted < logStartOffset) return { ...result, newOffset: logStartOffset, clampedTo: 'log_start_offset' };
  // A time is searched after the view was taken: what was appended since is no reason to speak of clamping.
  if (wanted > highWatermark && !('timestampMs' in reset))
    return { ...result, newOffset: highWatermark, clampedTo: 'high_watermark' };
  return { ...result, newOffset: wanted };
}

function checkReset({ group, topics, reset }: ResetOffsetsRequest): void {
  checkGroupName(group, 'group');
  for (const { topic } of topics) checkTopicName(topic, 'topics.topic');
  if ('to' in reset) {
    if (reset.to !== 'earliest' && reset.to !== 'latest')
      throw invalidField('reset.to', `reset.to takes 'earliest' or 'latest', not '${reset.to}'.`);
    return;
  }
  const [field, value, min] =
    'timestampMs' in reset
      ? (['reset.timestampMs', reset.timestampMs, 0] as const)
      : 'offset' in reset
        ? (['reset.offset', reset.offset, 0] as const)
        : (['reset.shiftBy', reset.shiftBy, -OFFSET_MAX] as const);
  if (!Number.isSafeInteger(value) || value < min)
    throw invalidField(field, `${field} takes a whole number from ${min} to ${OFFSET_MAX}, not ${value}.`);
}
