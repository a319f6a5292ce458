import { scheduleBy } from '../../log/segment/list-changes.ts';
import type { Topic } from '../../log/topic/topic.ts';
import type { BrokerContext } from '../context.ts';
import { updateSegmentList } from '../heads/segment-list-store.ts';
import { eachHead } from './each-head.ts';

/**
 * Has retention and compaction look at all heads of a topic whose settings have changed, as soon as no process remembers
 * the old ones. A head without a list has nothing to look at: its first merge schedules them.
 *
 * Costs 1 GetItem for each 16 partitions, and for each head with a list at most 3 PutItems + 2 DeleteItems.
 */
export async function scheduleJobs(context: BrokerContext, topic: Topic): Promise<void> {
  const { items } = context.usage.of(topic.name, 'admin');
  const atMs = context.clock.nowMs() + context.settings.topicCacheMs;
  await eachHead(topic, (headNumber) =>
    updateSegmentList(context, items, { topicId: topic.topicId, headNumber }, (list) => {
      const scheduled = list.version === 0 ? list : scheduleBy(scheduleBy(list, 'expire', atMs), 'compact', atMs);
      return { list: scheduled === list ? undefined : scheduled, result: undefined };
    }),
  );
}
