import type { EventLogError } from '../../log/errors.ts';
import { TOPIC, TOPICS, topicKey } from '../../storage/keys.ts';
import type { Attributes } from '../../storage/ports.ts';
import type { BrokerContext } from '../context.ts';
import { topicFromAttributes } from '../memory/topic-cache.ts';
import { finishDeletion } from '../topics/delete-topic.ts';
import { NO_TOPIC } from '../usage/usage-meter.ts';
import { type JobRequest, runJob } from './job-run.ts';

export interface ResumedDeletions {
  readonly topicsSeen: number;
  readonly topicsDeleted: number;
  /** The number of deletions that failed again. The next run retries them. */
  readonly topicsFailed: number;
  /** The first error of a deletion that failed. */
  readonly error: EventLogError | undefined;
  /** Whether the last topic was reached; otherwise the next run continues where this run stopped. */
  readonly complete: boolean;
}

/**
 * The item of a deleted topic is kept for this long. AWS rejects a request 15 minutes after it was signed, and clocks may
 * differ by some minutes. After this time no request to make the topic can still be in flight.
 */
const DELETED_KEPT_MS = 3_600_000;

/**
 * Finishes interrupted deletions of topics, and removes the items of topics that were deleted an hour ago. Costs the same
 * as `runJob`, plus the cost of `deleteTopic` for each finished deletion, and 1 DeleteItem for each removed item.
 */
export async function resumeDeletions(context: BrokerContext, request: JobRequest = {}): Promise<ResumedDeletions> {
  let topicsSeen = 0;
  let topicsDeleted = 0;
  const visit = async (name: string, attributes: Attributes): Promise<void> => {
    if (attributes[TOPIC.deletedAtMs] !== undefined) return removeDeleted(context, name, attributes);
    topicsSeen++;
    if (attributes[TOPIC.deleting] === undefined) return;
    await finishDeletion(context, topicFromAttributes(name, attributes));
    topicsDeleted++;
  };
  const { blocked, error, complete } = await runJob(context, { name: 'resume-deletions', pk: TOPICS, visit }, request);
  return { topicsSeen, topicsDeleted, topicsFailed: blocked, error, complete };
}

async function removeDeleted(context: BrokerContext, name: string, attributes: Attributes): Promise<void> {
  if (context.clock.nowMs() - Number(attributes[TOPIC.deletedAtMs]) <= DELETED_KEPT_MS) return;
  const { items } = context.usage.of(NO_TOPIC, 'admin');
  const topicId = String(attributes[TOPIC.topicId]);
  await items.delete(topicKey(name), [{ if: 'equals', name: TOPIC.topicId, value: topicId }]);
}
