import type { BrokerContext } from '../../context.ts';
import type { Holder } from '../../memory/held-up.ts';
import type { EndedTransactions } from '../../usage/transaction-counts.ts';

/** A reader that is still held up looks again within this time. */
const HOLDERS_TOLD_MS = 60_000;

/** What one process has seen of transactions, since it started. */
export interface TransactionTraffic {
  readonly opened: number;
  readonly ended: readonly EndedTransactions[];
  /** Looks of readers that an open transaction of a second or more held up. */
  readonly readsHeldUp: number;
  /** Whose transactions held up a reader within the last minute, the oldest first. */
  readonly holders: readonly Holder[];
}

/** Costs no request. */
export function transactionTraffic({ transactionCounts, heldUp, clock }: BrokerContext): TransactionTraffic {
  return {
    opened: transactionCounts.opened,
    ended: transactionCounts.ended(),
    readsHeldUp: heldUp.reads,
    holders: heldUp.holdersMetSince(clock.nowMs() - HOLDERS_TOLD_MS),
  };
}
