import { checkTopicName } from '../../log/topic/topic.ts';
import type { BrokerContext } from '../context.ts';

export interface TopicWatch {
  readonly topicId: string;
  readonly partitions: number;
  /** Resolves at the next append of this process to any partition of the topic, or when the signal is aborted. */
  readonly appended: Promise<void>;
}

/**
 * Begins to look out for appends to a topic, for whoever follows all its partitions: an append that is not seen by a look
 * that begins afterwards is noticed. Appends of other processes are not. 1 GetItem where the topic is not in memory.
 * @throws EventLogError `unknown_topic`, `invalid_request`
 */
export async function watchTopic(context: BrokerContext, name: string, signal: AbortSignal): Promise<TopicWatch> {
  checkTopicName(name);
  const { topicId, partitions } = await context.topics.get(name);
  const all = Array.from({ length: partitions }, (_, partition) => partition);
  return { topicId, partitions, appended: context.signals.wait(topicId, all, signal) };
}
