import { EventLogError } from '../../log/errors.ts';
import { JOB, jobKey, TOPIC, TOPICS, topicKey } from '../../storage/keys.ts';
import type { Attributes } from '../../storage/ports.ts';
import type { BrokerContext } from '../context.ts';
import { topicFromAttributes } from '../memory/topic-cache.ts';
import { finishDeletion } from '../topics/delete-topic.ts';
import { NO_TOPIC } from '../usage/usage-meter.ts';

export interface ResumeDeletionsRequest {
  /** No further page of topics, and no further deletion, is begun once this is aborted. */
  readonly signal?: AbortSignal | undefined;
}

export interface ResumedDeletions {
  readonly topicsSeen: number;
  readonly topicsDeleted: number;
  /** Deletions that failed again; the next run tries them too. */
  readonly topicsFailed: number;
  /** Of the first that failed. */
  readonly error: EventLogError | undefined;
  /** The last topic was reached; otherwise the next run goes on where this one stopped. */
  readonly complete: boolean;
}

const TOPICS_PER_QUERY = 500;
/**
 * For so long the item of a deleted topic stays. AWS refuses a request 15 minutes after it was signed, and a clock may be
 * some minutes off: no request to make the topic is still under way then.
 */
const DELETED_KEPT_MS = 3_600_000;
const JOB_NAME = 'resume-deletions';

/**
 * Finishes deletions of topics that were interrupted, and forgets topics that were deleted an hour ago. May run any number
 * of times at once. A run that is stopped notes how far it came, so that topics late in the order are reached too.
 * Costs 1 GetItem, 1 Query for each 500 topics, what `deleteTopic` costs for each it finishes, 1 DeleteItem for each it
 * forgets, and 1 write where a run was stopped, or goes on after one that was.
 */
export async function resumeDeletions(
  context: BrokerContext,
  { signal }: ResumeDeletionsRequest = {},
): Promise<ResumedDeletions> {
  const { items } = context.usage.of(NO_TOPIC, 'admin');
  const key = jobKey(JOB_NAME);
  const noted = (await items.get(key)).attributes?.[JOB.position];
  let from = typeof noted === 'string' ? noted : undefined;
  let topicsSeen = 0;
  let topicsDeleted = 0;
  let topicsFailed = 0;
  let error: EventLogError | undefined;
  const result = (complete: boolean) => ({ topicsSeen, topicsDeleted, topicsFailed, error, complete });
  while (!signal?.aborted) {
    const page = await items.query({ pk: TOPICS, ...(from === undefined ? {} : { from }), limit: TOPICS_PER_QUERY });
    for (const { sk, attributes } of page.items) {
      if (signal?.aborted) break;
      try {
        if (attributes[TOPIC.deletedAtMs] !== undefined) {
          await forgetDeleted(context, sk, attributes);
        } else {
          topicsSeen++;
          if (attributes[TOPIC.deleting] !== undefined) {
            await finishDeletion(context, topicFromAttributes(sk, attributes));
            topicsDeleted++;
          }
        }
      } catch (cause) {
        // One that can't be finished must not keep those after it from being reached.
        if (!(cause instanceof EventLogError)) throw cause;
        error ??= cause;
        topicsFailed++;
      }
      from = `${sk}\0`;
    }
    if (!page.more && !signal?.aborted) {
      if (noted !== undefined) await items.delete(key);
      return result(true);
    }
  }
  if (from !== undefined && from !== noted) await items.put(key, { [JOB.position]: from });
  return result(false);
}

async function forgetDeleted(context: BrokerContext, name: string, attributes: Attributes): Promise<void> {
  if (context.clock.nowMs() - Number(attributes[TOPIC.deletedAtMs]) <= DELETED_KEPT_MS) return;
  const { items } = context.usage.of(NO_TOPIC, 'admin');
  const topicId = String(attributes[TOPIC.topicId]);
  await items.delete(topicKey(name), [{ if: 'equals', name: TOPIC.topicId, value: topicId }]);
}
