import { checkTransactionalId } from '../../log/transaction/check-transactional-id.ts';
import type { ProducerName, TransactionOutcome } from '../../log/transaction/transaction.ts';
import { decideEnd } from '../../log/transaction/transitions.ts';
import type { BrokerContext } from '../context.ts';
import type { Completing } from './complete.ts';
import { moveExisting } from './move-transaction.ts';

export interface EndRequest {
  readonly transactionalId: string;
  readonly producer: ProducerName;
  readonly outcome: TransactionOutcome;
  /** Kafka's transaction.version 2, where the producer goes on with a higher epoch after each transaction. */
  readonly raisesEpoch: boolean;
  /** Kept under the transactional id with the commit, as the answer to repeated requests of an idempotency key. */
  readonly answer?: Uint8Array | undefined;
}

/**
 * Commits or aborts the open transaction of a producer, and returns the producer id and epoch with which it goes on. One
 * update decides the outcome. Then every participant gets it, so a reader that begins after this has returned sees it
 * everywhere. Repeating the request gives the same answer, also under the epoch before.
 *
 * 1 UpdateItem, then what completing costs; 1 GetItem more if this process does not remember the transactional id, or without
 * `raisesEpoch`.
 * @throws EventLogError `unknown_transactional_id`, `producer_fenced`; `invalid_transaction_state`: no transaction is open,
 * or it ended with the other outcome. With the outcome `unknown` the transaction may have its outcome, and the request can be
 * repeated.
 */
export async function endTransaction(
  context: BrokerContext,
  completing: Completing,
  { transactionalId, producer, outcome, raisesEpoch, answer }: EndRequest,
): Promise<ProducerName> {
  checkTransactionalId(transactionalId);
  const { previous, producer: current } = await moveExisting(context, {
    transactionalId,
    completing,
    // The requests of version 1 do not name their transaction. If one begun from memory is sent twice, nothing shows whether it
    // has ended the remembered transaction, and it could get the outcome of that one while its own is open.
    usesMemory: raisesEpoch,
    decide: ({ transaction: seen, number, newProducerId }) =>
      decideEnd(seen, { producer, outcome, raisesEpoch, nowMs: context.clock.nowMs(), number, newProducerId, answer }),
  });
  if (!raisesEpoch) return producer;
  const isStillIts = previous?.producerId === producer.producerId && previous.producerEpoch === producer.producerEpoch;
  // Another producer has taken over since. This one has its answer, and is fenced with what it sends next.
  return isStillIts ? current : { ...producer, producerEpoch: producer.producerEpoch + 1 };
}
