import { checkTopicName, type Topic } from '../../log/topic/topic.ts';
import type { BrokerContext } from '../context.ts';

export type { Topic };

/**
 * The topic as this process remembers it; it may have been changed or deleted by another one within `topicCacheMs`. 1 GetItem
 * if it is not in memory. @throws EventLogError `unknown_topic`, `invalid_request`
 */
export async function knownTopic(context: BrokerContext, name: string): Promise<Topic> {
  checkTopicName(name);
  return context.topics.get(name);
}

/**
 * The topic with this id; `undefined` if there is none, or if it was made a moment ago by another process. With `isCertain` it
 * is found then too, at the cost of a listing of all topics and perhaps a wait for it. See `TopicCache.byGivenId`.
 */
export function topicById({ topics }: BrokerContext, topicId: string, isCertain = false): Promise<Topic | undefined> {
  return isCertain ? topics.byGivenId(topicId, topics.listings) : topics.byId(topicId);
}
