import type { EventLogError } from '../../log/errors.ts';
import { TRANSACTION_TIMEOUT_MS_MAX } from '../../log/limits.ts';
import {
  decideOverdue,
  newTransaction,
  retired,
  type StoredTransaction,
  UNUSED_KEPT_MS,
} from '../../log/transaction/transitions.ts';
import type { Attributes, ItemStore } from '../../storage/ports.ts';
import { TRANSACTION_LISTING, TRANSACTIONS, transactionListingKey } from '../../storage/transaction-keys.ts';
import type { BrokerContext } from '../context.ts';
import { type JobRequest, runJob } from '../jobs/job-run.ts';
import { retrying } from '../retry.ts';
import { NO_TOPIC } from '../usage/usage-meter.ts';
import type { Completing } from './complete.ts';
import { changeTransaction, createTransaction, readTransaction } from './items.ts';
import { moveTransaction } from './move-transaction.ts';
import { forgetProducer } from './producer-names.ts';

/** When Kafka calls a transaction late: five minutes after the longest timeout. */
const LATE_MS = TRANSACTION_TIMEOUT_MS_MAX + 5 * 60_000;

/** Of the transactional ids that were visited, the transactions that the visits left open or not completed. */
interface OpenTransactions {
  readonly transactionsOpen: number;
  /** Those of them that are open for longer than 20 minutes: nobody has ended them in time. */
  readonly transactionsLate: number;
  /** How long the oldest one has been open; 0 if there are none. */
  readonly oldestTransactionMs: number;
}

export interface SweptTransactions extends OpenTransactions {
  /** Transactional ids that nobody used for a week, and of which nothing is left but an item that expires. */
  readonly transactionalIdsDeleted: number;
  /** Transactions that were ended because nobody else did. */
  readonly transactionsEnded: number;
  /** Transactional ids in use, of those that were visited. */
  readonly transactionalIds: number;
  /** Transactional ids whose visit failed. The next run visits them again. */
  readonly blocked: number;
  readonly error: EventLogError | undefined;
  /** Whether all were visited; otherwise the next run goes on with the others. */
  readonly complete: boolean;
}

/**
 * Ends what nobody is held up by: transactions that are open past their deadline, or that have their outcome and were not
 * completed. Then deletes transactional ids that were not used for a week, in an order that a crash leaves only what the next
 * run finds: the item is retired, so no producer of it can go on; then the name of its producer goes, then the listing. The
 * retired item expires. It can run twice at once, and be stopped or killed anywhere.
 *
 * 1 Query for each 500 transactional ids and 1 GetItem for each; 1 UpdateItem and 2 or 3 DeleteItems for each that is deleted.
 * @throws any error that is not an `EventLogError`: such an error is a bug
 */
export async function sweepTransactions(
  context: BrokerContext,
  completing: Completing,
  request: JobRequest = {},
): Promise<SweptTransactions> {
  let transactionalIdsDeleted = 0;
  let transactionsEnded = 0;
  let transactionalIds = 0;
  let open: OpenTransactions = { transactionsOpen: 0, transactionsLate: 0, oldestTransactionMs: 0 };
  const { items } = context.usage.of(NO_TOPIC, 'maintain');
  const visit = async (transactionalId: string, listing: Attributes): Promise<void> => {
    const seen = await retrying(context, 'not_applied', () => readTransaction(items, transactionalId));
    if (seen !== undefined && seen.phase !== 'empty') {
      transactionalIds++;
      let isEnded = false;
      try {
        isEnded = await end(context, completing, seen);
      } finally {
        if (isEnded) transactionsEnded++;
        // Also if ending it failed: that is the one to know of.
        else open = withOpen(open, context.clock.nowMs() - seen.startedAtMs);
      }
      return;
    }
    if (await retireUnused(context, items, { transactionalId, listing, seen })) transactionalIdsDeleted++;
    else if (seen !== undefined && !seen.isRetired) transactionalIds++;
  };
  const run = await runJob(context, { name: 'sweep-transactions', pk: TRANSACTIONS, visit }, request);
  return { transactionalIdsDeleted, transactionsEnded, transactionalIds, ...open, ...run };
}

function withOpen(open: OpenTransactions, openMs: number): OpenTransactions {
  return {
    transactionsOpen: open.transactionsOpen + 1,
    transactionsLate: open.transactionsLate + (openMs > LATE_MS ? 1 : 0),
    oldestTransactionMs: Math.max(open.oldestTransactionMs, openMs),
  };
}

async function end(context: BrokerContext, completing: Completing, seen: StoredTransaction): Promise<boolean> {
  const { transactionalId, number, producer } = seen;
  const left = await moveTransaction(context, {
    transactionalId,
    completing,
    usesMemory: false,
    by: 'timeout',
    decide: ({ transaction }) => decideOverdue(transaction, producer.producerId, context.clock.nowMs()),
  });
  return left !== undefined && left.number > number;
}

interface Visited {
  readonly transactionalId: string;
  readonly listing: Attributes;
  readonly seen: StoredTransaction | undefined;
}

async function retireUnused(context: BrokerContext, items: ItemStore, visited: Visited): Promise<boolean> {
  const { transactionalId, listing, seen } = visited;
  const nowMs = context.clock.nowMs();
  const listedId = Number(listing[TRANSACTION_LISTING.producerId]);
  const isUsed = seen !== undefined && !seen.isRetired;
  // Whoever listed it last may be about to make the item. After a week it has died, or it meets the item that is left here,
  // and starts again with another producer id.
  if (!isUsed && nowMs - Number(listing[TRANSACTION_LISTING.writtenAtMs]) < UNUSED_KEPT_MS) return false;
  const next = retired(
    seen ?? newTransaction(transactionalId, listedId, { timeoutMs: 0, nowMs, before: undefined }),
    nowMs,
  );
  if (isUsed && nowMs - seen.usedAtMs < UNUSED_KEPT_MS) return false;
  const { ok: isRetired } = await retrying(context, 'unknown', () =>
    seen === undefined ? createTransaction(items, next) : changeTransaction(items, seen, next),
  );
  if (!isRetired) return false;
  const producerIds = new Set([listedId, seen?.producer.producerId ?? listedId]);
  for (const producerId of producerIds) await forgetProducer(context, items, producerId);
  // Whoever initialises a producer meanwhile has listed it again, under another producer id.
  const { ok } = await retrying(context, 'unknown', () =>
    items.delete(transactionListingKey(transactionalId), [
      { if: 'equals', name: TRANSACTION_LISTING.producerId, value: listedId },
    ]),
  );
  return ok;
}
