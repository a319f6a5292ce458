import { EventLogError, invariant } from '../../log/errors.ts';
import type { TransactionEnd } from '../../log/head/head-append.ts';
import type { HeadParticipant, PageParticipant } from '../../log/transaction/transaction.ts';
import { finished, isCompleting, outcomeOf, type StoredTransaction } from '../../log/transaction/transitions.ts';
import type { BrokerContext } from '../context.ts';
import type { PageSettlement } from '../groups/offsets/settle-page.ts';
import { retrying } from '../retry.ts';
import { eachOf } from '../topics/each-head.ts';
import { NO_TOPIC } from '../usage/usage-meter.ts';
import { changeTransaction } from './items.ts';
import { allocateNamedProducer, forgetProducer } from './producer-names.ts';

/** What gives a participant its outcome. Both can be repeated, and succeed where nothing is left to do. */
export interface Completing {
  mark(head: HeadParticipant, marker: TransactionEnd): Promise<void>;
  settle(page: PageParticipant, settlement: PageSettlement): Promise<void>;
}

/**
 * Gives each participant of a transaction its outcome, 32 at once, and finishes the transaction. Anybody may do it who sees
 * the outcome in the item, several at once, and again after a failure: the item keeps participants and outcome until all of
 * them have it. Returns the state that it left, or met if another one was faster.
 *
 * Costs what marking each head and settling each page costs, and 1 UpdateItem.
 * @throws EventLogError of the first participant that failed; the others have their outcome
 */
export async function completeTransaction(
  context: BrokerContext,
  completing: Completing,
  seen: StoredTransaction,
): Promise<StoredTransaction> {
  invariant(isCompleting(seen), 'a transaction is completed after its commit point');
  const { transactionalId, number, participants } = seen;
  const outcome = outcomeOf(seen);
  const { producerId, producerEpoch } = seen.producer;
  const tasks = [
    ...participants.heads.map(
      (head) => () => completing.mark(head, { producerId, producerEpoch, transaction: number, outcome }),
    ),
    ...participants.pages.map((page) => () => completing.settle(page, { producerId, number, outcome })),
  ];
  const failures = (await eachOf(tasks, failureOf)).filter((failure) => failure !== undefined);
  const [failure] = failures;
  // The outcome stands in the item, whatever the participant's error says.
  if (failure !== undefined)
    throw new EventLogError(failure.code, failure.message, {
      cause: failure,
      details: failure.details,
      retry: failure.retry,
      outcome: 'unknown',
    });
  const { items } = context.usage.of(NO_TOPIC, 'transaction');
  const nowMs = context.clock.nowMs();
  const next =
    finished(seen, nowMs, undefined) ??
    finished(seen, nowMs, await allocateNamedProducer(context, items, transactionalId));
  invariant(next !== undefined, 'a transaction with a new producer id can be finished');
  const { transaction } = await retrying(context, 'unknown', () => changeTransaction(items, seen, next));
  invariant(transaction !== undefined, 'an item is not removed before its transaction is finished');
  context.transactions.put(transactionalId, transaction, context.clock.nowMs());
  if (next.producer.producerId !== producerId) {
    const isUsed = transaction.producer.producerId === next.producer.producerId;
    await forgetProducer(context, items, isUsed ? producerId : next.producer.producerId);
  }
  return transaction;
}

async function failureOf(task: () => Promise<void>): Promise<EventLogError | undefined> {
  try {
    await task();
    return undefined;
  } catch (error) {
    return error instanceof EventLogError
      ? error
      : new EventLogError('internal', 'A participant failed.', { cause: error });
  }
}
