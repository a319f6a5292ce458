import type { PendingOffset } from '../../../log/group/offset-page.ts';
import { decideOverdue } from '../../../log/transaction/transitions.ts';
import type { BrokerContext } from '../../context.ts';
import type { PageName } from '../../groups/offsets/pages.ts';
import { settlePage } from '../../groups/offsets/settle-page.ts';
import { retrying } from '../../retry.ts';
import { NO_TOPIC } from '../../usage/usage-meter.ts';
import type { Completing } from '../complete.ts';
import { readProducerName, readTransaction } from '../items.ts';
import { moveTransaction } from '../move-transaction.ts';

/**
 * Looks after a pending offset that is in somebody's way: true if it is not pending any more. Of a transaction that has its
 * outcome, or whose time is over, the pending offset is settled with everything else. One of an earlier transaction came
 * after the end of it, so nobody was told that it is committed, and it is dropped. 2 GetItems; 1 GetItem and 1 UpdateItem
 * more to drop it, or what completing costs.
 * @throws EventLogError of the storage or of a participant
 */
export async function settlePending(
  context: BrokerContext,
  completing: Completing,
  page: PageName,
  pending: PendingOffset,
): Promise<boolean> {
  const { producerId, transaction: number } = pending;
  const { items } = context.usage.of(NO_TOPIC, 'transaction');
  const transactionalId = await retrying(context, 'not_applied', () => readProducerName(items, producerId));
  const seen =
    transactionalId === undefined
      ? undefined
      : await retrying(context, 'not_applied', () => readTransaction(items, transactionalId));
  // A producer id is given up only when all of its transactions were completed.
  if (seen === undefined || seen.isRetired || seen.producer.producerId !== producerId || seen.number > number) {
    await settlePage(context, page, { producerId, number, outcome: 'aborted' });
    return true;
  }
  if (decideOverdue(seen, producerId, context.clock.nowMs()).do === 'answer') return false;
  await moveTransaction(context, {
    transactionalId: seen.transactionalId,
    completing,
    usesMemory: false,
    by: 'timeout',
    decide: ({ transaction }) => decideOverdue(transaction, producerId, context.clock.nowMs()),
  });
  return true;
}
