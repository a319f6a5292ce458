import { isTransactional, producerNamedIn } from '../../../log/batch/record-batch.ts';
import { EventLogError, invalidField } from '../../../log/errors.ts';
import { headOf } from '../../../log/topic/topic.ts';
import type { HeadParticipant, ProducerName } from '../../../log/transaction/transaction.ts';
import { appendBatches } from '../../append/append-batches.ts';
import type { GroupCommit } from '../../append/group-commit.ts';
import type { AppendOutcome, AppendRequest, BatchToAppend } from '../../append/outcomes.ts';
import type { BrokerContext } from '../../context.ts';
import { bindTransaction } from './bind.ts';

export interface AppendInTransactionRequest extends Omit<AppendRequest, 'transaction'> {
  readonly transactionalId: string;
  /** Of one producer; those that are not transactional are appended like any other. */
  readonly batches: readonly BatchToAppend[];
  /** Kafka's transaction.version 2: the heads are enlisted, and each transaction's sequences begin at 0. */
  readonly enlists: boolean;
}

/**
 * Appends batches to the open transaction of their producer, as `appendBatches` does; with `enlists` the first ones open it.
 * Costs what `bindTransaction` and `appendBatches` do.
 * @throws EventLogError as `appendBatches`; as `bindTransaction`: then nothing was appended
 */
export async function appendInTransaction(
  context: BrokerContext,
  groupCommit: GroupCommit,
  { transactionalId, enlists, ...request }: AppendInTransactionRequest,
): Promise<AppendOutcome[]> {
  const producer = producerOf(request.batches);
  if (producer === undefined) return appendBatches(context, groupCommit, request);
  const { heads, batches } = await findHeads(context, request.batches);
  const bind = (isFresh: boolean) => bindTransaction(context, { transactionalId, producer, heads, enlists, isFresh });
  const { number, isRemembered } = await bind(false);
  const transaction = { number, beginsAtZero: enlists };
  const outcomes = await appendBatches(context, groupCommit, { ...request, batches, transaction });
  const refused = batches.filter((_, i) => isOver(outcomes[i]));
  if (!isRemembered || refused.length === 0) return outcomes;
  // The transaction that this process remembered has ended; the batches may belong to the next one.
  const appendAgain = async (): Promise<AppendOutcome[] | undefined> => {
    const current = await bind(true);
    if (current.number === number) return undefined;
    return appendBatches(context, groupCommit, {
      batches: refused,
      atomic: request.atomic,
      transaction: { number: current.number, beginsAtZero: enlists },
    });
  };
  const again = await appendAgain().catch((error: unknown): AppendOutcome[] => {
    // Of the other batches some may have been appended, so the request as a whole was not rejected.
    if (!(error instanceof EventLogError) || refused.length === batches.length) throw error;
    return refused.map(() => ({ ok: false, error }));
  });
  if (again === undefined) return outcomes;
  return outcomes.map((outcome) => (isOver(outcome) ? (again.shift() as AppendOutcome) : outcome));
}

/** No topic has it. */
const NO_TOPIC_ID = '';

function isOver(outcome: AppendOutcome | undefined): boolean {
  return outcome?.ok === false && outcome.error.code === 'invalid_transaction_state';
}

function isInTransaction(batch: BatchToAppend['batch']): boolean {
  return batch instanceof Uint8Array ? isTransactional(batch) : batch.transactional === true;
}

/** The producer of the transactional batches; `undefined` if there are none. @throws EventLogError `invalid_request` */
function producerOf(batches: AppendInTransactionRequest['batches']): ProducerName | undefined {
  let producer: ProducerName | undefined;
  for (const { batch } of batches) {
    if (!isInTransaction(batch)) continue;
    const named = batch instanceof Uint8Array ? producerNamedIn(batch) : batch.producer;
    if (named === undefined) continue;
    producer ??= named;
    if (named.producerId !== producer.producerId || named.producerEpoch !== producer.producerEpoch)
      throw invalidField('batches', 'The transactional batches of a request must be of one producer and one epoch.');
  }
  return producer;
}

/** The heads of the batches, each of which is held to the topic that has its name now: only this one is enlisted. */
async function findHeads(
  { topics }: BrokerContext,
  batches: AppendInTransactionRequest['batches'],
): Promise<{ readonly heads: HeadParticipant[]; readonly batches: BatchToAppend[] }> {
  const heads = new Map<string, HeadParticipant>();
  const held = await Promise.all(
    batches.map(async (given) => {
      try {
        const known = await topics.get(given.topic);
        const topic = given.partition < known.partitions ? known : await topics.refresh(given.topic);
        // A partition that is added from here on is refused too.
        if (!(given.partition < topic.partitions)) return { ...given, topicId: NO_TOPIC_ID };
        const { topicId } = topic;
        if (isInTransaction(given.batch)) {
          const { headNumber } = headOf(topic, given.partition);
          heads.set(`${topicId}#${headNumber}`, { topicId, topic: given.topic, headNumber });
        }
        return { ...given, topicId: given.topicId ?? topicId };
      } catch (error) {
        // The append says so, batch by batch: also if the topic is made meanwhile, for then its head is not enlisted.
        if (error instanceof EventLogError && error.code === 'unknown_topic') return { ...given, topicId: NO_TOPIC_ID };
        throw error;
      }
    }),
  );
  return { heads: [...heads.values()], batches: held };
}
