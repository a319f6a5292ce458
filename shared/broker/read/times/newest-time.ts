import { partitionState, placeTail } from '../../../log/head/head.ts';
import { checkTopicName } from '../../../log/topic/topic.ts';
import type { BrokerContext } from '../../context.ts';
import { lookingAgain, type PartitionView, viewPartition } from '../view-partitions.ts';
import { type FoundTime, findTime } from './find-time.ts';

/**
 * The first of the records that have the newest time of a partition; `undefined` if it has no record. Costs 1 GetItem and what
 * `findTime` does; up to 53 times that if retention or compaction has dropped the record of the newest time ever.
 * @throws EventLogError `unknown_topic`, `unknown_partition`
 */
export async function newestTime(
  context: BrokerContext,
  topic: string,
  partition: number,
): Promise<FoundTime | undefined> {
  checkTopicName(topic);
  return lookingAgain(context, await viewPartition(context, topic, partition), async (view) => {
    const everMs = newestEver(view);
    const newest = everMs < 0 ? undefined : await findTime(context, view, everMs);
    if (newest !== undefined || everMs < 0) return newest;
    // There is a record of `foundMs` or later, and none of `missingMs` or later.
    let found = await findTime(context, view, 0);
    let missingMs = everMs;
    while (found !== undefined && found.timestampMs + 1 < missingMs) {
      const middleMs = Math.floor((found.timestampMs + missingMs) / 2);
      const later = await findTime(context, view, middleMs);
      if (later === undefined) missingMs = middleMs;
      else found = later;
    }
    return found;
  });
}

function newestEver({ head, slot }: PartitionView): number {
  let newestMs = partitionState(head, slot).totalsBeforeTail.maxTimestampMs;
  for (const { part } of placeTail(head)) if (part.slot === slot) newestMs = Math.max(newestMs, part.maxTimestampMs);
  return newestMs;
}
