import { LRUCache } from 'lru-cache';
import type { OpenTransaction } from '../../log/head/open-transactions.ts';

/** A transaction that is younger does not hold anybody up yet: its producer is about to end it. */
const AGE_MS = 1_000;
/** One producer's transaction is looked at so often at most. */
const LOOK_MS = 1_000;
const PRODUCERS_MAX = 10_000;

/**
 * The transactions that hold somebody up in this process: a reader at the last stable offset, a merge. Nobody else watches
 * transactions, so whoever is held up sees to it that those whose time is over are ended.
 */
export class HeldUp {
  readonly #lookedAtMs = new LRUCache<number, number>({ max: PRODUCERS_MAX });
  #look: (producerId: number) => Promise<void> = async () => {};

  /** What to do with a producer whose transaction holds somebody up. It may fail: whoever is held up next tries again. */
  resolveWith(look: (producerId: number) => Promise<void>): void {
    this.#look = look;
  }

  /** Tells that these transactions hold somebody up. Waits for nothing. */
  met(open: Iterable<Pick<OpenTransaction, 'producerId' | 'sinceMs'>>, nowMs: number): void {
    for (const { producerId, sinceMs } of open) {
      if (nowMs - sinceMs < AGE_MS) continue;
      const looked = this.#lookedAtMs.get(producerId);
      // If the clock was set back, it says nothing about the age.
      if (looked !== undefined && nowMs >= looked && nowMs - looked < LOOK_MS) continue;
      this.#lookedAtMs.set(producerId, nowMs);
      this.#look(producerId).catch(() => {});
    }
  }
}
