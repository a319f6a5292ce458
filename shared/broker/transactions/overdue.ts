import { decideOverdue } from '../../log/transaction/transitions.ts';
import type { BrokerContext } from '../context.ts';
import { retrying } from '../retry.ts';
import { NO_TOPIC } from '../usage/usage-meter.ts';
import type { Completing } from './complete.ts';
import { readProducerName } from './items.ts';
import { moveTransaction } from './move-transaction.ts';

/**
 * Ends the transaction of a producer that holds somebody up, if it can be ended: one that has its outcome is completed, and
 * one that is open for longer than its timeout and five seconds is aborted under a higher epoch, so its producer cannot go on
 * with it. Nobody watches transactions: whoever meets one that is in the way calls this. Aborting too early, because clocks
 * differ, is safe.
 *
 * In a process it looks at most once a second for each producer, and does nothing meanwhile. 2 GetItems; 1 UpdateItem and what
 * completing costs if there is something to end.
 * @throws EventLogError of the storage or of a participant
 */
export async function endOverdue(context: BrokerContext, completing: Completing, producerId: number): Promise<void> {
  if (!context.transactions.isTimeToLook(producerId, context.clock.nowMs())) return;
  const { items } = context.usage.of(NO_TOPIC, 'transaction');
  const transactionalId = await retrying(context, 'not_applied', () => readProducerName(items, producerId));
  if (transactionalId === undefined) return;
  await moveTransaction(context, {
    transactionalId,
    completing,
    usesMemory: false,
    by: 'timeout',
    decide: ({ transaction }) => decideOverdue(transaction, producerId, context.clock.nowMs()),
  });
}
