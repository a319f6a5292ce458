import {
  changeBetween,
  type TransactionChange,
  transactionFromAttributes,
} from '../../../../shared/broker/transactions/items.ts';
import { toHex } from '../../../../shared/log/bytes.ts';
import {
  TRANSACTION_PHASES,
  type Transaction,
  type TransactionOutcome,
} from '../../../../shared/log/transaction/transaction.ts';
import {
  finished,
  isCompleting,
  newTransaction,
  outcomeOf,
  type StoredTransaction,
} from '../../../../shared/log/transaction/transitions.ts';
import type { Attributes, Condition } from '../../../../shared/storage/ports.ts';
import { decideWrite } from '../../../../shared/storage/rules/item-writes.ts';
import { TRANSACTION, transactionKey } from '../../../../shared/storage/transaction-keys.ts';
import type { Flaw } from '../flaws.ts';
import { Interned } from './interned.ts';

/** A state that the item of the transactional id had, or has. */
export interface ItemState {
  readonly id: number;
  readonly attributes: Attributes;
  readonly transaction: StoredTransaction;
}

/** All states of the item, one after the other. */
export interface History {
  readonly id: number;
  readonly states: readonly ItemState[];
  readonly current: ItemState;
  /** By the number of a transaction. */
  readonly outcomes: ReadonlyMap<number, TransactionOutcome>;
  /** By the number of a transaction that was opened: the epoch under which it was. */
  readonly epochs: ReadonlyMap<number, number>;
}

/** One update of the item, as `changeTransaction` sends it. */
export interface Change extends TransactionChange {
  readonly id: number;
  readonly seen: StoredTransaction;
  readonly next: StoredTransaction;
}

export const TRANSACTIONAL_ID = 't';
export const PRODUCER_ID = 7;
export const TIMEOUT_MS = 1_000;
/** All requests are made at this time, but those that find a transaction open for too long. */
export const NOW_MS = 1;
export const LATER_MS = NOW_MS + TIMEOUT_MS + 60_000;

/** The item of the transactional id. What changes it is the product's own, and so is what a change demands and leaves. */
export class TransactionItem {
  readonly initial: History;
  readonly histories = new Interned<History>();
  private readonly flaw: Flaw | undefined;
  private readonly states = new Interned<ItemState>();
  private readonly changes = new Interned<Change>();
  private readonly finishes = new Map<number, Change>();
  private readonly changed = new Map<number, History | undefined>();

  constructor(flaw: Flaw | undefined) {
    this.flaw = flaw;
    const first = newTransaction(TRANSACTIONAL_ID, PRODUCER_ID, {
      timeoutMs: TIMEOUT_MS,
      nowMs: NOW_MS,
      before: undefined,
    });
    const { updates, conditions } = changeBetween(undefined, first);
    this.initial = this.history([this.state(this.write(undefined, { updates, conditions }) as Attributes)]);
  }

  change(seen: StoredTransaction, next: StoredTransaction): Change {
    const { updates, conditions } = changeBetween(seen, next);
    const demanded = conditions.filter((condition) => this.isDemanded(condition));
    const key = JSON.stringify([updates, demanded], textOfBytes);
    return this.changes.of(key, (id) => ({ id, seen, next, updates, conditions: demanded }));
  }

  /** The last change of a transaction. */
  finish({ id, transaction }: ItemState): Change {
    let change = this.finishes.get(id);
    if (change === undefined) {
      const next = finished(transaction, NOW_MS, undefined);
      if (next === undefined) throw new Error('The epochs of the model are low.');
      change = this.change(transaction, next);
      this.finishes.set(id, change);
    }
    return change;
  }

  /** `undefined`: the item is not in the state that the change demands. */
  apply(history: History, change: Change): History | undefined {
    const key = history.id * 65_536 + change.id;
    if (this.changed.has(key)) return this.changed.get(key);
    const after = this.write(history.current.attributes, change);
    const next = after === undefined ? undefined : this.history([...history.states, this.state(after)]);
    this.changed.set(key, next);
    return next;
  }

  wasApplied({ states }: History, change: Change): boolean {
    return states.some(({ attributes }, i) => {
      const after = this.write(attributes, change);
      return after !== undefined && this.state(after) === states[i + 1];
    });
  }

  /** The state that the change leaves of one that meets its conditions. */
  after(state: ItemState, change: Change): ItemState {
    const attributes = this.write(state.attributes, change);
    if (attributes === undefined) throw new Error('The state is not the one that was seen.');
    return this.state(attributes);
  }

  /** Whether the item has passed what the change demands. It never comes back to it. */
  isOutdated({ current }: History, { seen, next }: Change): boolean {
    const at = current.transaction;
    const difference = at.number - seen.number || place(at) - place(seen);
    if (difference !== 0 || seen.participants === next.participants) return difference > 0;
    return at.participants.heads.length > seen.participants.heads.length;
  }

  private write(before: Attributes | undefined, { updates, conditions }: TransactionChange): Attributes | undefined {
    const decision = decideWrite(transactionKey(TRANSACTIONAL_ID), before, { kind: 'update', updates, conditions });
    return decision.kind === 'applied' ? decision.after : undefined;
  }

  private isDemanded(condition: Condition): boolean {
    if (condition.if !== 'equals') return true;
    const comparesNeither = this.flaw === 'a change compares neither number nor epoch';
    switch (condition.name) {
      case TRANSACTION.phase:
        return this.flaw !== 'a change does not compare the phase';
      case TRANSACTION.number:
        return this.flaw !== 'a change does not compare the number' && !comparesNeither;
      case TRANSACTION.producerEpoch:
        return this.flaw !== 'a change does not compare the epoch' && !comparesNeither;
      case TRANSACTION.participantCount:
        return this.flaw !== 'participants are not compared';
      default:
        return true;
    }
  }

  private state(attributes: Attributes): ItemState {
    const names = Object.keys(attributes).sort();
    const key = JSON.stringify(
      names.map((name) => [name, attributes[name]]),
      textOfBytes,
    );
    return this.states.of(key, (id) => {
      const transaction = transactionFromAttributes(TRANSACTIONAL_ID, attributes);
      if (transaction === undefined) throw new Error('The item is never removed.');
      return { id, attributes, transaction };
    });
  }

  private history(states: readonly ItemState[]): History {
    // A change that changes nothing is none.
    const met = states.filter((state, i) => state !== states[i - 1]);
    return this.histories.of(met.map(({ id }) => id).join(), (id) => {
      const outcomes = new Map<number, TransactionOutcome>();
      const epochs = new Map<number, number>();
      for (const { transaction } of met) {
        const { number, phase, producer } = transaction;
        if (isCompleting(transaction)) outcomes.set(number, outcomeOf(transaction));
        if (phase === 'open') epochs.set(number, producer.producerEpoch);
      }
      return { id, states: met, current: met.at(-1) as ItemState, outcomes, epochs };
    });
  }
}

function place({ phase }: Transaction): number {
  // A transaction is committing or aborting, never both one after the other.
  return Math.min(TRANSACTION_PHASES.indexOf(phase), 2);
}

function textOfBytes(_: string, value: unknown): unknown {
  return value instanceof Uint8Array ? toHex(value) : value;
}
