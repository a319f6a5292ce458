import type { TransactionEnd } from '../../log/head/head-append.ts';
import type { Topic } from '../../log/topic/topic.ts';
import type { HeadParticipant } from '../../log/transaction/transaction.ts';
import type { BrokerContext } from '../context.ts';
import { unlessUnknown } from '../memory/topic-cache.ts';
import type { GroupCommit } from './group-commit.ts';

/**
 * Gives a transaction its outcome in one head: one entry with a marker for each partition where it has data, committed
 * together with what else waits for the head. If it has none there, the marker only shuts out data that is late. Marking
 * again changes nothing, and any number of processes may do it at once. If the topic was deleted, nothing is left to mark.
 * Costs 1 UpdateItem, or a share of it, and 1 GetItem for a topic or head that was not read within the last second.
 * @throws EventLogError `throttled`, `storage_unavailable`: the head may or may not be marked
 */
export async function markHead(
  context: BrokerContext,
  groupCommit: GroupCommit,
  head: HeadParticipant,
  marker: TransactionEnd,
): Promise<void> {
  const topic = await topicOfParticipant(context, head);
  if (topic === undefined) return;
  groupCommit.admit(0);
  const [result] = await groupCommit.append(topic, head.headNumber, [{ atomic: true, batches: [], bytes: 0, marker }]);
  if (result?.type !== 'settled') return;
  for (const outcome of result.outcomes) if (outcome.type === 'failed') throw outcome.error;
}

/** The topic with the participant's id; `undefined` if it was deleted, or is being deleted. 1 GetItem if it is not in memory. */
export async function topicOfParticipant(
  { topics }: BrokerContext,
  { topic: name, topicId }: HeadParticipant,
): Promise<Topic | undefined> {
  const known = await unlessUnknown(topics.get(name));
  if (known === undefined || known.topicId === topicId) return known;
  // It can be remembered from before it was made again.
  const current = await unlessUnknown(topics.refresh(name));
  return current?.topicId === topicId ? current : undefined;
}
