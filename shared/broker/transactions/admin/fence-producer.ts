import { checkTransactionalId } from '../../../log/transaction/check-transactional-id.ts';
import { decideInitialise } from '../../../log/transaction/transitions.ts';
import type { BrokerContext } from '../../context.ts';
import type { Completing } from '../complete.ts';
import { moveExisting } from '../move-transaction.ts';
import { noSuchId } from './list.ts';

/**
 * Aborts the open transaction of a transactional id, and fences its producer, as an initialisation of another producer does.
 * A transaction that has its outcome is completed: it keeps the outcome. Repeating this fences whoever uses the id by then. The
 * id of an idempotency key stays as it is while its answer counts: a new state would have none, and the key's request would be
 * committed again.
 *
 * 1 UpdateItem, and 1 GetItem if this process does not remember the id. If a transaction was left, 1 UpdateItem more and what
 * completing it costs. Only 1 GetItem where an answer counts.
 * @throws EventLogError `invalid_request`, `unknown_transactional_id`. With the outcome `unknown` the transaction may have been
 * aborted, and the request can be repeated
 */
export async function fenceProducer(
  context: BrokerContext,
  completing: Completing,
  transactionalId: string,
): Promise<void> {
  checkTransactionalId(transactionalId);
  await moveExisting(context, {
    transactionalId,
    completing,
    by: 'operator',
    decide: ({ transaction: seen, newProducerId }) => {
      const nowMs = context.clock.nowMs();
      const timeoutMs = seen?.timeoutMs ?? 0;
      const decision = decideInitialise(seen, { timeoutMs, nowMs, producer: undefined, newProducerId, once: true });
      return decision.do === 'create' ? { do: 'refuse', error: noSuchId(transactionalId) } : decision;
    },
  });
}
