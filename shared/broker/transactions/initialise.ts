import { checkTransactionTimeout, checkUsableTransactionalId } from '../../log/transaction/check-transactional-id.ts';
import type { ProducerName } from '../../log/transaction/transaction.ts';
import { decideInitialise, type StoredTransaction } from '../../log/transaction/transitions.ts';
import type { BrokerContext } from '../context.ts';
import type { Completing } from './complete.ts';
import { moveExisting } from './move-transaction.ts';

export interface InitialiseRequest {
  /** 1 to 680 bytes of UTF-8, not beginning with `tailrace.key.` or `tailrace.process.`. */
  readonly transactionalId: string;
  /** From 1 to 900,000. How long a transaction can be open before others may abort it. */
  readonly timeoutMs: number;
  /**
   * The producer that goes on after an error, as it was told its id and epoch (KIP-360). A repeated request gets the same
   * answer. Absent: a new producer takes over, and the one before is fenced.
   */
  readonly producer?: ProducerName | undefined;
}

/**
 * Gives a transactional id to a producer: it gets the next epoch, or a new producer id after epoch 32,766. An open
 * transaction of the producer before is aborted, and one that has its outcome is completed, before this returns. So the new
 * producer begins behind everything that was written under the id.
 *
 * 1 GetItem and 1 UpdateItem; the first time 2 PutItems and 1 UpdateItem more. If a transaction was left, also what
 * completing it costs.
 * @throws EventLogError `invalid_request`; `producer_fenced`: the given producer is not the last one
 */
export async function initialiseProducer(
  context: BrokerContext,
  completing: Completing,
  request: InitialiseRequest,
): Promise<ProducerName> {
  checkUsableTransactionalId(request.transactionalId);
  checkTransactionTimeout(request.timeoutMs);
  return (await initialise(context, completing, request)).producer;
}

/** The same of any transactional id. `once`: only if it has no answer that counts. */
export function initialise(
  context: BrokerContext,
  completing: Completing,
  { transactionalId, timeoutMs, producer, once }: InitialiseRequest & { readonly once?: boolean },
): Promise<StoredTransaction> {
  return moveExisting(context, {
    transactionalId,
    completing,
    timeoutMs,
    usesMemory: false,
    by: producer === undefined ? 'next_producer' : 'producer',
    decide: ({ transaction: seen, newProducerId }) =>
      decideInitialise(seen, { timeoutMs, nowMs: context.clock.nowMs(), producer, newProducerId, once }),
  });
}
