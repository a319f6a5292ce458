import { LRUCache } from 'lru-cache';
import type { AbortedTransaction } from '../../log/head/open-transactions.ts';

/** The aborted transactions whose markers are in the tail nodes `[fromEntry, toEntry)` of a head, in order. They never change. */
export interface AbortedInNodes {
  readonly fromEntry: number;
  readonly toEntry: number;
  readonly aborted: readonly (AbortedTransaction & { readonly nodeEntry: number })[];
}

/** All heads together; about 100 bytes each. */
const TRANSACTIONS_MAX = 100_000;

/** What a process remembers of aborted transactions, so that a reader that goes along the log asks for each of them once. */
export class AbortedCache {
  readonly #heads = new LRUCache<string, AbortedInNodes>({
    maxSize: TRANSACTIONS_MAX,
    sizeCalculation: ({ aborted }) => 1 + aborted.length,
  });

  get(head: string): AbortedInNodes | undefined {
    return this.#heads.get(head);
  }

  /** Keeps nothing of a head that has too many of them. */
  put(head: string, known: AbortedInNodes): void {
    this.#heads.set(head, known);
  }
}
