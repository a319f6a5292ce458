import { checkTopicName, headCount, type Topic } from '../../log/topic/topic.ts';
import { GARBAGE, garbageKey, HEAD, headKey, TOPIC, topicKey } from '../../storage/keys.ts';
import type { BrokerContext } from '../context.ts';
import { topicFromAttributes, unknownTopic } from '../memory/topic-cache.ts';
import { eachHead } from './each-head.ts';

/** The data of a deleted topic is kept for this long, so that every read that began before the deletion can end. */
const GARBAGE_GRACE_MS = 3_600_000;

/**
 * Deletes a topic. When this returns, no append to the topic can succeed, including appends that are in flight. The topic's
 * name is free, and a topic that is made again under this name has another id. The data is left to be swept.
 * Costs 1 GetItem, 3 writes, and 1 UpdateItem for each 16 partitions. If the deletion is interrupted, it is finished by the
 * next call, or by making a topic of this name.
 * With `topicId`, only the topic with this id is deleted, not another one that has been made under its name.
 * @throws EventLogError `unknown_topic`
 */
export async function deleteTopic(context: BrokerContext, name: string, topicId?: string): Promise<void> {
  checkTopicName(name);
  const { items } = context.usage.of(name, 'admin');
  const { attributes } = await items.get(topicKey(name));
  if (attributes === undefined || attributes[TOPIC.deletedAtMs] !== undefined) throw unknownTopic(name);
  const topic = topicFromAttributes(name, attributes);
  if (topicId !== undefined && topic.topicId !== topicId) throw unknownTopic(name);
  await items.update(
    topicKey(name),
    [{ do: 'set', name: TOPIC.deleting, value: 1 }],
    [{ if: 'equals', name: TOPIC.topicId, value: topic.topicId }],
  );
  await finishDeletion(context, topic);
}

/** Finishes the deletion of a topic that is marked as being deleted. Any number of calls can run at once. */
export async function finishDeletion(context: BrokerContext, topic: Topic): Promise<void> {
  const { items } = context.usage.of(topic.name, 'admin');
  // Partitions may have been added after `topic` was read. None can be added to a topic that is marked.
  const { attributes } = await items.get(topicKey(topic.name));
  if (attributes?.[TOPIC.topicId] !== topic.topicId || attributes[TOPIC.deletedAtMs] !== undefined) return;
  const marked = topicFromAttributes(topic.name, attributes);
  await eachHead(marked, (headNumber) =>
    items.update(headKey(topic.topicId, headNumber), [{ do: 'set', name: HEAD.closed, value: 1 }]),
  );
  const dueAtMs = context.clock.nowMs() + GARBAGE_GRACE_MS;
  await items.put(garbageKey(dueAtMs, `topic#${topic.topicId}`), {
    [GARBAGE.topicId]: topic.topicId,
    [GARBAGE.heads]: headCount(marked),
  });
  await items.update(
    topicKey(topic.name),
    [{ do: 'set', name: TOPIC.deletedAtMs, value: context.clock.nowMs() }],
    [
      { if: 'equals', name: TOPIC.topicId, value: topic.topicId },
      { if: 'absent', name: TOPIC.deletedAtMs },
    ],
  );
  context.topics.forget(topic.name);
}
