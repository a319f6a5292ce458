import { LRUCache } from 'lru-cache';
import { participantCount } from '../../log/transaction/participants.ts';
import { TRANSACTION_PHASES } from '../../log/transaction/transaction.ts';
import type { StoredTransaction } from '../../log/transaction/transitions.ts';

const BYTES_MAX = 32 * 1024 * 1024;
const STATE_BYTES = 512;
const PARTICIPANT_BYTES = 256;
/** Heads forget the markers of a producer after three days. A state is dropped long before, so they still tell that it is old. */
const KEPT_MS = 900_000;
const LOOKS_MAX = 10_000;
const LOOK_EVERY_MS = 1_000;

/**
 * Transactional ids as this process saw them last, and when it looked after producers that hold others up. It only saves
 * requests: each update names the state that it leaves, and a batch of a transaction that has ended is rejected by its head.
 */
export class TransactionMemory {
  readonly #states = new LRUCache<string, { readonly state: StoredTransaction; readonly seenAtMs: number }>({
    maxSize: BYTES_MAX,
    sizeCalculation: ({ state: { participants, answer } }) =>
      STATE_BYTES + PARTICIPANT_BYTES * participantCount(participants) + (answer?.length ?? 0),
  });
  readonly #looks = new LRUCache<number, number>({ max: LOOKS_MAX });

  get(transactionalId: string, nowMs: number): StoredTransaction | undefined {
    const found = this.#states.get(transactionalId);
    if (found === undefined) return undefined;
    const ageMs = nowMs - found.seenAtMs;
    return ageMs >= 0 && ageMs < KEPT_MS ? found.state : undefined;
  }

  /** Keeps what a reply has shown, unless a reply that came earlier has shown a later state. `undefined`: there is none. */
  put(transactionalId: string, state: StoredTransaction | undefined, nowMs: number): void {
    if (state === undefined || state.isRetired) {
      this.#states.delete(transactionalId);
      return;
    }
    const known = this.get(transactionalId, nowMs);
    if (known !== undefined && isBefore(state, known)) return;
    this.#states.set(transactionalId, { state, seenAtMs: nowMs });
  }

  /** True at most once a second for a producer: the caller then looks whether its transaction is overdue. */
  isTimeToLook(producerId: number, nowMs: number): boolean {
    const ageMs = nowMs - (this.#looks.get(producerId) ?? Number.NEGATIVE_INFINITY);
    if (ageMs >= 0 && ageMs < LOOK_EVERY_MS) return false;
    this.#looks.set(producerId, nowMs);
    return true;
  }
}

/** States of an id follow each other by number, by phase, and by the participants, which only grow. */
function isBefore(a: StoredTransaction, b: StoredTransaction): boolean {
  const differences = [
    a.number - b.number,
    TRANSACTION_PHASES.indexOf(a.phase) - TRANSACTION_PHASES.indexOf(b.phase),
    participantCount(a.participants) - participantCount(b.participants),
  ];
  return (differences.find((difference) => difference !== 0) ?? 0) < 0;
}
