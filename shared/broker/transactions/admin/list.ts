import { EventLogError } from '../../../log/errors.ts';
import { PAGE_LIMIT_MAX } from '../../../log/limits.ts';
import { checkTransactionalId } from '../../../log/transaction/check-transactional-id.ts';
import type { Participants, ProducerName } from '../../../log/transaction/transaction.ts';
import type { StoredTransaction } from '../../../log/transaction/transitions.ts';
import { TRANSACTIONS } from '../../../storage/transaction-keys.ts';
import type { BrokerContext } from '../../context.ts';
import { encodePageToken, type Page, type PageRequest, pageLimit, queryPage } from '../../page.ts';
import { eachOf } from '../../topics/each-head.ts';
import { NO_TOPIC } from '../../usage/usage-meter.ts';
import { readTransaction } from '../items.ts';

/** Kafka's names are these in another spelling. */
export type TransactionState =
  | 'empty'
  | 'ongoing'
  | 'prepare_commit'
  | 'prepare_abort'
  | 'complete_commit'
  | 'complete_abort';

export interface ListTransactionsRequest extends PageRequest {
  /** Only transactional ids in one of these states. */
  readonly states?: readonly TransactionState[] | undefined;
  /** Only those of one of these producers. */
  readonly producerIds?: readonly number[] | undefined;
  /** Only those with a transaction that has been open, or in completion, for longer than so many milliseconds. */
  readonly openLongerThanMs?: number | undefined;
  /** Whether to list a transactional id. All others are also kept out of page tokens. Default: all are listed. */
  readonly visible?: ((transactionalId: string) => boolean) | undefined;
}

/** A transactional id and its transaction. */
export interface DescribedTransaction {
  readonly transactionalId: string;
  readonly producer: ProducerName;
  readonly state: TransactionState;
  readonly timeoutMs: number;
  /** When its transaction was opened; `undefined` if none is open or in completion. */
  readonly startedAtMs: number | undefined;
  readonly participants: Participants;
}

/**
 * Lists transactional ids in the byte order of the ids, until so many are found as a page holds. 1 Query for each 1,000 ids
 * that are looked at, or for each page, and 1 GetItem for each of these ids.
 * @throws EventLogError `invalid_request` for the limit or the token
 */
export async function listTransactions(
  context: BrokerContext,
  request: ListTransactionsRequest = {},
): Promise<Page<DescribedTransaction>> {
  const { states, producerIds, openLongerThanMs, visible = () => true } = request;
  const { items } = context.usage.of(NO_TOPIC, 'admin');
  const limit = pageLimit(request.limit);
  const isFiltered = [states, producerIds, openLongerThanMs, request.visible].some((filter) => filter !== undefined);
  const isWanted = ({ state, producer, startedAtMs }: DescribedTransaction): boolean => {
    if (states !== undefined && !states.includes(state)) return false;
    if (producerIds !== undefined && !producerIds.includes(producer.producerId)) return false;
    if (openLongerThanMs === undefined) return true;
    return startedAtMs !== undefined && context.clock.nowMs() - startedAtMs > openLongerThanMs;
  };
  const found: DescribedTransaction[] = [];
  let pageToken = request.pageToken;
  do {
    const page: Page<string> = await queryPage(
      items,
      TRANSACTIONS,
      { limit: isFiltered ? PAGE_LIMIT_MAX : limit, pageToken },
      (id) => id,
    );
    const read = await eachOf(page.items.filter(visible), (id) => readTransaction(items, id));
    for (const transaction of read) {
      if (transaction === undefined || transaction.isRetired) continue;
      const described = describe(transaction);
      if (!isWanted(described)) continue;
      const last = found.at(-1);
      if (last !== undefined && found.length === limit)
        return { items: found, nextPageToken: encodePageToken(last.transactionalId) };
      found.push(described);
    }
    pageToken = page.nextPageToken;
    if (!isFiltered && pageToken !== undefined) return { items: found, nextPageToken: pageToken };
  } while (pageToken !== undefined);
  return { items: found };
}

/** 1 GetItem. @throws EventLogError `invalid_request`, `unknown_transactional_id` */
export async function describeTransaction(
  context: BrokerContext,
  transactionalId: string,
): Promise<DescribedTransaction> {
  checkTransactionalId(transactionalId);
  const transaction = await readTransaction(context.usage.of(NO_TOPIC, 'admin').items, transactionalId);
  if (transaction === undefined || transaction.isRetired) throw noSuchId(transactionalId);
  return describe(transaction);
}

export function noSuchId(transactionalId: string): EventLogError {
  return new EventLogError('unknown_transactional_id', `There is no transactional id '${transactionalId}'.`, {
    details: { transactionalId },
  });
}

function describe(transaction: StoredTransaction): DescribedTransaction {
  const { transactionalId, producer, timeoutMs, participants, phase, startedAtMs } = transaction;
  return {
    transactionalId,
    producer,
    state: stateOf(transaction),
    timeoutMs,
    startedAtMs: phase === 'empty' ? undefined : startedAtMs,
    participants,
  };
}

function stateOf({ phase, lastOutcome }: StoredTransaction): TransactionState {
  switch (phase) {
    case 'open':
      return 'ongoing';
    case 'committing':
      return 'prepare_commit';
    case 'aborting':
      return 'prepare_abort';
    case 'empty':
      if (lastOutcome === undefined) return 'empty';
      return lastOutcome === 'committed' ? 'complete_commit' : 'complete_abort';
  }
}
