import type { OpenTransaction } from '../../log/head/open-transactions.ts';

/** A transaction that is younger does not hold anybody up yet: its producer is about to end it. */
const AGE_MS = 1_000;

/**
 * The transactions that hold somebody up in this process: a reader at the last stable offset, a merge. Nobody else watches
 * transactions, so whoever is held up sees to it that those whose time is over are ended.
 */
export class HeldUp {
  #look: (producerId: number) => Promise<void> = async () => {};

  /** What to do with a producer whose transaction holds somebody up. It may fail: whoever is held up next tries again. */
  resolveWith(look: (producerId: number) => Promise<void>): void {
    this.#look = look;
  }

  /** Tells that these transactions hold somebody up. Waits for nothing. */
  met(open: Iterable<Pick<OpenTransaction, 'producerId' | 'sinceMs'>>, nowMs: number): void {
    for (const { producerId, sinceMs } of open) if (nowMs - sinceMs >= AGE_MS) this.#look(producerId).catch(() => {});
  }
}
