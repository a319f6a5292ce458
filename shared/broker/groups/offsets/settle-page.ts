import { EventLogError } from '../../../log/errors.ts';
import type { OffsetPage, PendingOffset } from '../../../log/group/offset-page.ts';
import { GROUP_PAGE_PARTITIONS } from '../../../log/group/partition-set.ts';
import type { TransactionOutcome } from '../../../log/transaction/transaction.ts';
import type { ItemStore } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import { retrying } from '../../retry.ts';
import { eachOf } from '../../topics/each-head.ts';
import { NO_TOPIC } from '../../usage/usage-meter.ts';
import { changeSlots, type PageName, readPage } from './pages.ts';

export interface PageSettlement {
  readonly producerId: number;
  /** The number of the transaction. */
  readonly number: number;
  readonly outcome: TransactionOutcome;
}

/**
 * Gives a transaction its outcome in a page of offsets: what is pending of exactly this transaction is committed, whoever owns
 * the partition by now, or dropped. Settling again changes nothing, and any number of processes may do it at once. A page that
 * is gone has nothing to settle. 1 GetItem, and 1 UpdateItem if something is pending.
 * @throws EventLogError of the storage: the page may or may not be settled
 */
export async function settlePage(
  context: BrokerContext,
  name: PageName,
  { producerId, number, outcome }: PageSettlement,
): Promise<void> {
  const { items } = context.usage.of(NO_TOPIC, 'transaction');
  await retrying(context, 'unknown', async () => {
    let page = await readPage(items, name);
    for (let isDone = false; !isDone; ) {
      const changes = [...page.slots.entries()].flatMap(([slot, seen]) => {
        const pending = seen?.pending;
        if (pending?.producerId !== producerId || pending.transaction !== number) return [];
        const { owner, fence } = seen;
        const committed = outcome === 'committed' ? pending.committed : seen.committed;
        return [{ partition: name.page * GROUP_PAGE_PARTITIONS + slot, seen, content: { owner, fence, committed } }];
      });
      if (changes.length === 0) break;
      ({ ok: isDone, page } = await changeSlots(items, context.random, name, changes));
    }
    context.groups.putPage(name.group, name.topicId, name.page, page);
  });
}

/** Looks after a pending offset: true if it is not pending any more. */
export type SettlePending = (page: PageName, pending: PendingOffset) => Promise<boolean>;

/**
 * The page after what is pending in these slots was looked after. What is still pending then belongs to an open transaction,
 * or this process has no permission to complete transactions: then it waits until others have.
 */
export async function settleIn(
  items: ItemStore,
  name: PageName,
  page: OffsetPage,
  slots: Iterable<number>,
  settle: SettlePending,
): Promise<OffsetPage> {
  const byProducer = new Map<number, PendingOffset>();
  for (const slot of slots) {
    const pending = page.slots[slot]?.pending;
    if (pending !== undefined) byProducer.set(pending.producerId, pending);
  }
  if (byProducer.size === 0) return page;
  const settled = await eachOf([...byProducer.values()], async (pending) => {
    try {
      return await settle(name, pending);
    } catch (error) {
      if (isRefused(error)) return false;
      throw error;
    }
  });
  return settled.includes(true) ? readPage(items, name) : page;
}

/** Whether the store does not let this process do it, now or later. */
function isRefused(error: unknown): boolean {
  return error instanceof EventLogError && error.code === 'storage_unavailable' && error.retry === 'never';
}
