import { NO_PARTICIPANTS, type Participants } from '../../../../shared/log/transaction/transaction.ts';
import {
  type Decision,
  decideEnd,
  decideEnlist,
  decideInitialise,
  decideOverdue,
  isCompleting,
  type StoredTransaction,
} from '../../../../shared/log/transaction/transitions.ts';
import type { Flaw } from '../flaws.ts';
import type { NumberedBatch } from '../scenarios.ts';
import { type Change, LATER_MS, NOW_MS, PRODUCER_ID, TIMEOUT_MS, type TransactionItem } from '../stored/item.ts';
import type { Draft, Operation } from './workers.ts';

/** The heads of the model as participants, each of which is in a topic of its own. */
export function participants(head: number): Participants {
  return { ...NO_PARTICIPANTS, heads: [{ topicId: `topic-${head}`, topic: `topic-${head}`, headNumber: head }] };
}

/** What is done upon a state of the item. */
export type Decided =
  | { readonly do: 'write'; readonly change: Change; readonly isDone: boolean }
  | { readonly do: 'complete'; readonly isDone: boolean }
  | { readonly do: 'answer' }
  | { readonly do: 'refuse'; readonly code: string };

/** What the product decides upon a state of the item, unless it is flawed. Each decision is made once. */
export class Decisions {
  private readonly batches: readonly NumberedBatch[];
  private readonly item: TransactionItem;
  private readonly flaw: Flaw | undefined;
  private readonly made = new Map<string, Decided>();

  constructor(batches: readonly NumberedBatch[], item: TransactionItem, flaw: Flaw | undefined) {
    this.batches = batches;
    this.item = item;
    this.flaw = flaw;
  }

  of({ operation, seen, number }: Draft): Decided {
    const key = `${operation.id} ${seen.id} ${number}`;
    let decided = this.made.get(key);
    if (decided === undefined) {
      decided = this.decided(seen.transaction, this.decide(operation, seen.transaction, number));
      this.made.set(key, decided);
    }
    return decided;
  }

  private decided(seen: StoredTransaction, decision: Decision): Decided {
    switch (decision.do) {
      case 'write':
        return { do: 'write', change: this.item.change(seen, decision.next), isDone: decision.isDone };
      case 'refuse':
        return { do: 'refuse', code: decision.error.code };
      case 'complete':
      case 'answer':
        return decision;
      default:
        throw new Error('The item is always there, and its epochs are low.');
    }
  }

  private decide(operation: Operation, transaction: StoredTransaction, number: number | undefined): Decision {
    switch (operation.kind) {
      case 'initialise':
        return this.initialise(transaction);
      case 'write':
        return this.enlist(transaction, operation, number);
      case 'end': {
        const isOfAny = this.flaw === 'an end does not look at the epoch';
        return decideEnd(transaction, {
          producer: isOfAny ? transaction.producer : producerOf(operation),
          outcome: operation.outcome,
          raisesEpoch: true,
          nowMs: NOW_MS,
          newProducerId: undefined,
          number,
        });
      }
      case 'end_overdue': {
        const decision = decideOverdue(transaction, PRODUCER_ID, LATER_MS);
        return this.flaw === 'an abort by time-out keeps the epoch' ? keepingEpoch(decision, transaction) : decision;
      }
    }
  }

  private initialise(seen: StoredTransaction): Decision {
    const request = { timeoutMs: TIMEOUT_MS, nowMs: NOW_MS, producer: undefined, newProducerId: undefined };
    const isLeft = this.flaw === 'an initialisation leaves an open transaction' && seen.phase === 'open';
    const decision = decideInitialise(isLeft ? { ...seen, phase: 'empty' } : seen, request);
    if (this.flaw === 'an initialisation keeps the epoch') return keepingEpoch(decision, seen);
    if (this.flaw === 'an initialisation does not wait for the marks' && decision.do === 'write')
      return { ...decision, isDone: true };
    return decision;
  }

  private enlist(seen: StoredTransaction, operation: Operation, number: number | undefined): Decision {
    const { head } = this.batches[operation.batch] as NumberedBatch;
    const request = { producer: producerOf(operation), participants: participants(head), nowMs: NOW_MS, number };
    const isOpen = seen.phase === 'open' && seen.producer.producerEpoch === operation.epoch;
    if (isOpen && this.flaw === 'a batch is written to a head that is not enlisted') return { do: 'answer' };
    if (this.flaw === 'an enlistment does not look at the epoch')
      return decideEnlist(seen, { ...request, producer: seen.producer });
    if (this.flaw !== 'an enlistment does not look at the phase' || !isCompleting(seen))
      return decideEnlist(seen, request);
    const decision = decideEnlist({ ...seen, phase: 'open' }, request);
    return decision.do === 'write' ? { ...decision, next: { ...decision.next, phase: seen.phase } } : decision;
  }
}

function producerOf({ epoch }: Operation): StoredTransaction['producer'] {
  return { producerId: PRODUCER_ID, producerEpoch: epoch };
}

function keepingEpoch(decision: Decision, { producer }: StoredTransaction): Decision {
  return decision.do === 'write' ? { ...decision, next: { ...decision.next, producer } } : decision;
}
