import { packParticipants, participantCount, unpackParticipants } from '../../log/transaction/participants.ts';
import { NO_PARTICIPANTS, TRANSACTION_PHASES, type TransactionOutcome } from '../../log/transaction/transaction.ts';
import type { StoredTransaction } from '../../log/transaction/transitions.ts';
import type { Attributes, AttributeValue, Condition, ItemStore, Update, WriteResult } from '../../storage/ports.ts';
import { PRODUCER_NAME, producerNameKey, TRANSACTION, transactionKey } from '../../storage/transaction-keys.ts';

/** Converts transactional ids from and to items, and changes them on the condition of the state that was seen. */

const OUTCOMES: readonly (TransactionOutcome | undefined)[] = [undefined, 'committed', 'aborted'];
/** A retired item is kept for so long: a request that is late by less than that cannot bring it back. */
const RETIRED_KEPT_MS = 7 * 86_400_000;

/** 1 GetItem. `undefined` if there is no such item; it can be a retired one. */
export async function readTransaction(
  items: ItemStore,
  transactionalId: string,
): Promise<StoredTransaction | undefined> {
  const { attributes } = await items.get(transactionKey(transactionalId));
  return transactionFromAttributes(transactionalId, attributes);
}

/** The transactional id of a producer; `undefined` if it has none. 1 GetItem. */
export async function readProducerName(items: ItemStore, producerId: number): Promise<string | undefined> {
  const { attributes } = await items.get(producerNameKey(producerId));
  return attributes && String(attributes[PRODUCER_NAME.transactionalId]);
}

export function transactionFromAttributes(
  transactionalId: string,
  attributes: Attributes | undefined,
): StoredTransaction | undefined {
  if (attributes === undefined) return undefined;
  const number = (name: string): number => Number(attributes[name] ?? 0);
  const previousId = attributes[TRANSACTION.previousProducerId];
  const participants = attributes[TRANSACTION.participants];
  return {
    transactionalId,
    producer: { producerId: number(TRANSACTION.producerId), producerEpoch: number(TRANSACTION.producerEpoch) },
    previous:
      previousId === undefined
        ? undefined
        : { producerId: Number(previousId), producerEpoch: number(TRANSACTION.previousEpoch) },
    number: number(TRANSACTION.number),
    phase: TRANSACTION_PHASES[number(TRANSACTION.phase)] ?? 'empty',
    participants: participants === undefined ? NO_PARTICIPANTS : unpackParticipants(participants as Uint8Array),
    lastOutcome: OUTCOMES[number(TRANSACTION.lastOutcome)],
    timeoutMs: number(TRANSACTION.timeoutMs),
    startedAtMs: number(TRANSACTION.startedAtMs),
    deadlineMs: number(TRANSACTION.deadlineMs),
    usedAtMs: number(TRANSACTION.usedAtMs),
    isRetired: attributes[TRANSACTION.retired] !== undefined,
    answer: attributes[TRANSACTION.answer] as Uint8Array | undefined,
  };
}

/** By attribute. What is `undefined` is absent. */
type Values = Readonly<Record<string, AttributeValue | undefined>>;

function valuesOf(transaction: StoredTransaction): Values {
  const { producer, previous, participants, lastOutcome, isRetired, answer } = transaction;
  return {
    [TRANSACTION.producerId]: producer.producerId,
    [TRANSACTION.producerEpoch]: producer.producerEpoch,
    [TRANSACTION.previousProducerId]: previous?.producerId,
    [TRANSACTION.previousEpoch]: previous?.producerEpoch,
    [TRANSACTION.number]: transaction.number,
    [TRANSACTION.phase]: TRANSACTION_PHASES.indexOf(transaction.phase),
    [TRANSACTION.participantCount]: participantCount(participants) || undefined,
    [TRANSACTION.lastOutcome]: lastOutcome && OUTCOMES.indexOf(lastOutcome),
    [TRANSACTION.timeoutMs]: transaction.timeoutMs,
    [TRANSACTION.startedAtMs]: transaction.startedAtMs || undefined,
    [TRANSACTION.deadlineMs]: transaction.deadlineMs || undefined,
    [TRANSACTION.usedAtMs]: transaction.usedAtMs,
    [TRANSACTION.retired]: isRetired ? 1 : undefined,
    [TRANSACTION.answer]: answer,
  };
}

export interface Changed {
  readonly ok: boolean;
  /** As the update left it, or as it met it; `undefined` if there is no item. */
  readonly transaction: StoredTransaction | undefined;
  /** It was rejected, but the adapter has sent it before without getting a reply. */
  readonly mayBeApplied?: boolean | undefined;
}

/** One update of the item of a transactional id, and what it demands. */
export interface TransactionChange {
  readonly updates: Update[];
  readonly conditions: Condition[];
}

/**
 * What makes `next` of an item that is in the state that was seen, or absent. Producer, number, phase and epoch name the state;
 * where participants are added, their count names those that were seen. What does not change is not written, so that an end
 * keeps participants that it has not seen.
 */
export function changeBetween(seen: StoredTransaction | undefined, next: StoredTransaction): TransactionChange {
  const updates = updatesTo(seen, next);
  if (seen === undefined) return { updates, conditions: [{ if: 'item_absent' }] };
  const conditions: Condition[] = [
    { if: 'item_exists' },
    { if: 'equals', name: TRANSACTION.producerId, value: seen.producer.producerId },
    { if: 'equals', name: TRANSACTION.producerEpoch, value: seen.producer.producerEpoch },
    { if: 'equals', name: TRANSACTION.number, value: seen.number },
    { if: 'equals', name: TRANSACTION.phase, value: TRANSACTION_PHASES.indexOf(seen.phase) },
  ];
  if (seen.participants !== next.participants)
    conditions.push({
      if: 'equals',
      name: TRANSACTION.participantCount,
      value: participantCount(seen.participants),
    });
  return { updates, conditions };
}

/** Makes the item, if there is none. 1 UpdateItem. */
export async function createTransaction(items: ItemStore, made: StoredTransaction): Promise<Changed> {
  const { updates, conditions } = changeBetween(undefined, made);
  return changed(made, await items.update(transactionKey(made.transactionalId), updates, conditions));
}

/** Moves a transactional id from the state that was seen to the next one, if it is still in it. 1 UpdateItem. */
export async function changeTransaction(
  items: ItemStore,
  seen: StoredTransaction,
  next: StoredTransaction,
): Promise<Changed> {
  const { updates, conditions } = changeBetween(seen, next);
  return changed(next, await items.update(transactionKey(seen.transactionalId), updates, conditions));
}

function changed({ transactionalId }: StoredTransaction, result: WriteResult): Changed {
  const transaction = transactionFromAttributes(transactionalId, result.attributes);
  return { ok: result.ok, transaction, mayBeApplied: result.ok ? undefined : result.mayBeApplied };
}

function updatesTo(seen: StoredTransaction | undefined, next: StoredTransaction): Update[] {
  const [before, after] = [seen === undefined ? {} : valuesOf(seen), valuesOf(next)];
  const updates: Update[] = [];
  for (const [name, value] of Object.entries(after)) {
    if (value === before[name]) continue;
    updates.push(value === undefined ? { do: 'remove', name } : { do: 'set', name, value });
  }
  if (seen?.participants !== next.participants) {
    const name = TRANSACTION.participants;
    const isNone = participantCount(next.participants) === 0;
    updates.push(isNone ? { do: 'remove', name } : { do: 'set', name, value: packParticipants(next.participants) });
  }
  if (next.isRetired || seen?.isRetired) {
    const name = TRANSACTION.expiresAt;
    const value = Math.ceil((next.usedAtMs + RETIRED_KEPT_MS) / 1_000);
    updates.push(next.isRetired ? { do: 'set', name, value } : { do: 'remove', name });
  }
  return updates;
}
