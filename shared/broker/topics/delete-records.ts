import { EventLogError, invalidField } from '../../log/errors.ts';
import { partitionState } from '../../log/head/head.ts';
import { scheduleBy } from '../../log/segment/list-changes.ts';
import { checkPartition, checkTopicName, headOf } from '../../log/topic/topic.ts';
import type { BrokerContext } from '../context.ts';
import { type HeadName, readHead } from '../heads/items.ts';
import { raiseStarts } from '../heads/raise-starts.ts';
import { updateSegmentList } from '../heads/segment-list-store.ts';

export interface DeleteRecordsRequest {
  readonly topic: string;
  readonly partition: number;
  /** Records below this offset are deleted; `end`: all that the partition has now. */
  readonly before: number | 'end';
}

export interface DeletedRecords {
  readonly partition: number;
  readonly logStartOffset: number;
  readonly highWatermark: number;
}

/**
 * Deletes the oldest records of a partition, as Kafka's DeleteRecords does. When this returns, no read that begins later is
 * given them. As in Kafka, they can belong to open transactions: then the last stable offset is the log start offset
 * until these have ended. The data goes after the grace of retention. Below the log start offset there is nothing to delete, and a
 * repeated request changes nothing. Costs 2 GetItems, and 1 UpdateItem + 2 PutItems + 1 DeleteItem the first time.
 * @throws EventLogError `invalid_request`, `unknown_topic`, `unknown_partition`, `offset_out_of_range` (beyond the high
 * watermark)
 */
export async function deleteRecords(
  context: BrokerContext,
  { topic: topicName, partition, before }: DeleteRecordsRequest,
): Promise<DeletedRecords> {
  checkTopicName(topicName);
  if (before !== 'end' && !(Number.isSafeInteger(before) && before >= 0))
    throw invalidField('before', `\`before\` is an offset from 0 on, or \`end\`, not ${before}.`);
  let topic = await context.topics.get(topicName);
  for (;;) {
    checkPartition(topic, partition);
    const { items } = context.usage.of(topic.name, 'admin');
    const { headNumber, slot } = headOf(topic, partition);
    const name = { topicId: topic.topicId, headNumber };
    const observed = await readHead(items, name);
    const { nextOffset, logStartOffset } = partitionState(observed, slot);
    const startOffset = before === 'end' ? nextOffset : before;
    if (!observed.closed) {
      if (startOffset > nextOffset) throw beyondEnd(partition, startOffset, logStartOffset, nextOffset);
      const head = await raiseStarts(context, items, name, observed, new Map([[slot, startOffset]]));
      if (!head.closed) {
        const { logStartOffset: start, nextOffset: end } = partitionState(head, slot);
        if (start > 0) await scheduleExpiry(context, name, topic.name, slot, start);
        return { partition, logStartOffset: start, highWatermark: end };
      }
    }
    // The remembered topic has been deleted. There may be another topic of the same name.
    topic = await context.topics.refresh(topicName);
  }
}

/** Unless what is below the start was dropped already. A request that is repeated also comes here: the first may have died. */
async function scheduleExpiry(
  context: BrokerContext,
  name: HeadName,
  topicName: string,
  slot: number,
  startOffset: number,
): Promise<void> {
  const { items } = context.usage.of(topicName, 'admin');
  const nowMs = context.clock.nowMs();
  await updateSegmentList(context, items, name, (list) => {
    if ((list.slots[slot]?.droppedOffset ?? 0) >= startOffset) return { list: undefined, result: undefined };
    const scheduled = scheduleBy(list, 'expire', nowMs);
    return { list: scheduled === list ? undefined : scheduled, result: undefined };
  });
}

function beyondEnd(partition: number, offset: number, logStartOffset: number, highWatermark: number): EventLogError {
  return new EventLogError(
    'offset_out_of_range',
    `Partition ${partition} ends at offset ${highWatermark}, so records below ${offset} cannot be deleted. Give an offset up to ${highWatermark}, or \`end\`.`,
    { details: { partition, offset, logStartOffset, highWatermark } },
  );
}
