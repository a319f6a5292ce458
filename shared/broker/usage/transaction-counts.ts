import type { TransactionOutcome } from '../../log/transaction/transaction.ts';
import { isCompleting, outcomeOf, type StoredTransaction } from '../../log/transaction/transitions.ts';

/**
 * Who gave a transaction its outcome: its own producer; the next one under the transactional id, which aborts what it finds;
 * an operator, who does the same; or whoever was held up after the transaction's time was over.
 */
export type EndedBy = 'producer' | 'next_producer' | 'operator' | 'timeout';

export interface EndedTransactions {
  readonly outcome: TransactionOutcome;
  readonly by: EndedBy;
  readonly count: number;
}

/**
 * Counts the transactions that this process has opened and given an outcome, since it started. Each is counted where its
 * update was confirmed; one whose reply was lost is not.
 */
export class TransactionCounts {
  #opened = 0;
  readonly #ended = new Map<string, EndedTransactions>();

  get opened(): number {
    return this.#opened;
  }

  ended(): EndedTransactions[] {
    return [...this.#ended.values()];
  }

  /** An update has moved a transactional id from one state to the next. */
  moved(seen: StoredTransaction, next: StoredTransaction, by: EndedBy): void {
    if (seen.phase === 'empty' && next.phase === 'open') this.#opened++;
    if (!isCompleting(next)) return;
    const outcome = outcomeOf(next);
    const key = `${outcome} ${by}`;
    this.#ended.set(key, { outcome, by, count: (this.#ended.get(key)?.count ?? 0) + 1 });
  }
}
