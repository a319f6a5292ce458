import { crc32c } from '../../../log/batch/crc32c.ts';
import type { Subscription } from '../../../log/group/subscription.ts';
import type { Topic } from '../../../log/topic/topic.ts';
import { TOPIC, TOPICS } from '../../../storage/keys.ts';
import type { BrokerContext } from '../../context.ts';
import { topicFromAttributes, unlessUnknown } from '../../memory/topic-cache.ts';
import { eachOf } from '../../topics/each-head.ts';
import { NO_TOPIC } from '../../usage/usage-meter.ts';
import { compileTopicPattern } from './topic-pattern.ts';

/** Up to this many topics are read singly, from memory if they are fresh there. For more, all topics are listed. */
const READ_SINGLY_MAX = 8;
const TOPICS_PER_QUERY = 500;

/**
 * The existing topics of each subscription. 1 GetItem for each topic that is not in memory; for a pattern, or more than 8
 * topics, 1 Query for every 500 topics that there are.
 */
export async function subscribedTopics(
  context: BrokerContext,
  subscriptions: readonly Subscription[],
): Promise<Topic[][]> {
  const names = [...new Set(subscriptions.flatMap(({ topics }) => topics))];
  const patterns = new Set(subscriptions.flatMap(({ pattern }) => pattern ?? []));
  const topics =
    patterns.size > 0 || names.length > READ_SINGLY_MAX
      ? await listAllTopics(context)
      : (await eachOf(names, (name) => unlessUnknown(context.topics.get(name)))).filter((topic) => topic !== undefined);
  const byName = new Map(topics.map((topic) => [topic.name, topic]));
  const byPattern = new Map<string, Topic[]>();
  for (const pattern of patterns) {
    const matches = await compileTopicPattern(pattern);
    byPattern.set(
      pattern,
      topics.filter(({ name }) => matches(name)),
    );
  }
  return subscriptions.map((subscription) => {
    const named = subscription.topics.flatMap((name) => byName.get(name) ?? []);
    return [...new Set([...named, ...(byPattern.get(subscription.pattern ?? '') ?? [])])];
  });
}

/** Changes whenever a topic is added or removed, made again, or gets more partitions. */
export function topicsHash(topics: readonly Topic[]): number {
  const lines = topics.map(({ topicId, partitions }) => `${topicId}:${partitions}`);
  return crc32c(new TextEncoder().encode(lines.sort().join('\n')));
}

async function listAllTopics(context: BrokerContext): Promise<Topic[]> {
  const { items } = context.usage.of(NO_TOPIC, 'group');
  const topics: Topic[] = [];
  for (let from: string | undefined = ''; from !== undefined; ) {
    const page = await items.query({ pk: TOPICS, from, limit: TOPICS_PER_QUERY });
    for (const { sk, attributes } of page.items)
      if (attributes[TOPIC.deleting] === undefined) topics.push(topicFromAttributes(sk, attributes));
    const last: string | undefined = page.items.at(-1)?.sk;
    from = page.more && last !== undefined ? `${last}\0` : undefined;
  }
  return topics;
}
