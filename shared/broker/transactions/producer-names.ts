import { EventLogError } from '../../log/errors.ts';
import { newTransaction, type StoredTransaction } from '../../log/transaction/transitions.ts';
import type { ItemStore } from '../../storage/ports.ts';
import {
  PRODUCER_NAME,
  producerNameKey,
  TRANSACTION_LISTING,
  transactionListingKey,
} from '../../storage/transaction-keys.ts';
import { allocateProducerId } from '../append/allocate-producer-id.ts';
import type { BrokerContext } from '../context.ts';
import { retrying } from '../retry.ts';
import { type Changed, changeTransaction, createTransaction } from './items.ts';

/** The items that lead to a transactional id: from the listing, and from its producer. */

/**
 * A new producer id, whose transactional id can be found from now on. If the process dies before the id is used, its item is
 * left behind. 2 UpdateItems or 1 UpdateItem and 1 PutItem.
 */
export async function allocateNamedProducer(
  context: BrokerContext,
  items: ItemStore,
  transactionalId: string,
): Promise<number> {
  const producerId = await retrying(context, 'not_applied', () => allocateProducerId(context, 'transaction'));
  await putName(context, items, producerId, transactionalId);
  return producerId;
}

export interface NewListed {
  readonly transactionalId: string;
  readonly timeoutMs: number;
  /** A retired item, which the new one replaces. */
  readonly before: StoredTransaction | undefined;
}

/**
 * Makes the item of a transactional id after what leads to it, so whoever finds the item can find it by its producer. If
 * another request has made the item meanwhile, that one is returned. 2 PutItems and 2 UpdateItems.
 */
export async function createListed(
  context: BrokerContext,
  items: ItemStore,
  { transactionalId, timeoutMs, before }: NewListed,
): Promise<Changed> {
  const producerId = await retrying(context, 'not_applied', () => allocateProducerId(context, 'transaction'));
  const nowMs = context.clock.nowMs();
  const listing = { [TRANSACTION_LISTING.producerId]: producerId, [TRANSACTION_LISTING.writtenAtMs]: nowMs };
  await retrying(context, 'not_applied', () => items.put(transactionListingKey(transactionalId), listing));
  await putName(context, items, producerId, transactionalId);
  const made = newTransaction(transactionalId, producerId, { timeoutMs, nowMs, before });
  const changed = await retrying(context, 'unknown', () =>
    before === undefined ? createTransaction(items, made) : changeTransaction(items, before, made),
  );
  if (changed.transaction?.producer.producerId !== producerId) await forgetProducer(context, items, producerId);
  // Who retired it may have died before.
  if (before !== undefined) await forgetProducer(context, items, before.producer.producerId);
  return changed;
}

/**
 * Removes the name of a producer that can have no transaction any more, or never had one. An item that this fails to remove
 * harms nobody: it leads to a transactional id that has another producer. 1 DeleteItem.
 */
export async function forgetProducer(context: BrokerContext, items: ItemStore, producerId: number): Promise<void> {
  try {
    await retrying(context, 'not_applied', () => items.delete(producerNameKey(producerId)));
  } catch (error) {
    if (!(error instanceof EventLogError)) throw error;
  }
}

async function putName(
  context: BrokerContext,
  items: ItemStore,
  producerId: number,
  transactionalId: string,
): Promise<void> {
  const name = { [PRODUCER_NAME.transactionalId]: transactionalId };
  await retrying(context, 'not_applied', () => items.put(producerNameKey(producerId), name));
}
