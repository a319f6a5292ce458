import type { OpenTransaction } from '../../log/head/open-transactions.ts';

/** A transaction that is younger does not hold anybody up yet: its producer is about to end it. */
const AGE_MS = 1_000;
/** Beyond it, the one that was met least recently is forgotten. */
const HOLDERS_KEPT_MAX = 100;

type Open = Pick<OpenTransaction, 'producerId' | 'sinceMs'>;

/** A producer whose open transaction holds up readers. */
export interface Holder {
  readonly producerId: number;
  /** When the transaction wrote its first batch to the head where readers wait. */
  readonly sinceMs: number;
  /** When a reader of this process last met it. */
  readonly metAtMs: number;
}

/**
 * The transactions that hold somebody up in this process: a reader at the last stable offset, a merge. Nobody else watches
 * transactions, so whoever is held up sees to it that those whose time is over are ended.
 */
export class HeldUp {
  #look: (producerId: number) => Promise<void> = async () => {};
  #reads = 0;
  /** By producer id, the one that was met last at the end. */
  readonly #holders = new Map<number, Holder>();

  /** What to do with a producer whose transaction holds somebody up. It may fail: whoever is held up next tries again. */
  resolveWith(look: (producerId: number) => Promise<void>): void {
    this.#look = look;
  }

  /** Tells that these transactions hold somebody up. Waits for nothing. */
  met(open: Iterable<Open>, nowMs: number): void {
    for (const { producerId } of oldOnes(open, nowMs)) this.#look(producerId).catch(() => {});
  }

  /** As `met`, for a look of a reader that ended at the last stable offset. It is counted. */
  metByReader(open: readonly Open[], nowMs: number): void {
    const old = oldOnes(open, nowMs);
    if (old.length > 0) this.#reads++;
    for (const { producerId, sinceMs } of old) {
      this.#holders.delete(producerId);
      this.#holders.set(producerId, { producerId, sinceMs, metAtMs: nowMs });
      if (this.#holders.size > HOLDERS_KEPT_MAX) this.#holders.delete(this.#holders.keys().next().value as number);
    }
    this.met(old, nowMs);
  }

  /** The looks of readers that were held up, since the process started. */
  get reads(): number {
    return this.#reads;
  }

  /** Those that a reader has met since then, the oldest transaction first. */
  holdersMetSince(timeMs: number): Holder[] {
    return [...this.#holders.values()].filter(({ metAtMs }) => metAtMs >= timeMs).sort((a, b) => a.sinceMs - b.sinceMs);
  }
}

function oldOnes<One extends Open>(open: Iterable<One>, nowMs: number): One[] {
  return [...open].filter(({ sinceMs }) => nowMs - sinceMs >= AGE_MS);
}
