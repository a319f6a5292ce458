import { checkTransactionalId } from '../../log/transaction/check-transactional-id.ts';
import { NO_PARTICIPANTS, type Participants, type ProducerName } from '../../log/transaction/transaction.ts';
import { decideEnlist } from '../../log/transaction/transitions.ts';
import type { BrokerContext } from '../context.ts';
import { moveExisting } from './move-transaction.ts';

export interface EnlistRequest {
  readonly transactionalId: string;
  readonly producer: ProducerName;
  readonly participants: Partial<Participants>;
  /**
   * Looks at the item first, whatever this process remembers. Needed where the epoch does not tell the transactions of the
   * producer apart (transaction.version 1). Default: false.
   */
  readonly isFresh?: boolean | undefined;
  /** A group that must have been added to the open transaction before. So no transaction is opened. */
  readonly requiredGroup?: string | undefined;
}

export interface Enlisted {
  /** The number of the transaction that all of the participants are enlisted in. */
  readonly number: number;
  readonly participants: Participants;
}

/**
 * Enlists participants in the open transaction of a producer, or opens its next one with them. All of them or none. Enlisting
 * again changes nothing. Whoever writes to a page of offsets must read it first, then enlist it: then what ends the
 * transaction after the enlistment changes the page, and the write is rejected. A head has the marker of what has ended.
 *
 * 1 UpdateItem for all participants, and 1 GetItem if this process does not remember the transactional id.
 * @throws EventLogError `unknown_transactional_id`, `producer_fenced`; `concurrent_transactions`: the transaction before is
 * being completed, or more than 1,000 participants are enlisted; `invalid_transaction_state`: the transaction has ended
 * meanwhile, or the required group was not added
 */
export async function enlist(
  context: BrokerContext,
  { transactionalId, producer, participants, isFresh = false, requiredGroup }: EnlistRequest,
): Promise<Enlisted> {
  checkTransactionalId(transactionalId);
  const wanted = { ...NO_PARTICIPANTS, ...participants };
  const transaction = await moveExisting(context, {
    transactionalId,
    usesMemory: !isFresh,
    decide: ({ transaction: seen, number }) =>
      decideEnlist(seen, { producer, participants: wanted, nowMs: context.clock.nowMs(), number, requiredGroup }),
  });
  return { number: transaction.number, participants: transaction.participants };
}
