import { EventLogError, invariant } from '../../log/errors.ts';
import type { Decision, StoredTransaction } from '../../log/transaction/transitions.ts';
import type { BrokerContext } from '../context.ts';
import { retrying } from '../retry.ts';
import type { EndedBy } from '../usage/transaction-counts.ts';
import { NO_TOPIC } from '../usage/usage-meter.ts';
import { type Completing, completeTransaction } from './complete.ts';
import { type Changed, changeTransaction, readTransaction } from './items.ts';
import { allocateNamedProducer, createListed, forgetProducer } from './producer-names.ts';

/** What a decision is made from, besides the request. */
export interface Seen {
  readonly transaction: StoredTransaction | undefined;
  /** The number of the transaction that the request belongs to, once it is certain. */
  readonly number: number | undefined;
  readonly newProducerId: number | undefined;
}

export interface Move {
  readonly transactionalId: string;
  readonly decide: (seen: Seen) => Decision;
  /** Only requests that can find a transaction to complete need it. */
  readonly completing?: Completing | undefined;
  /** Only requests that can make the item need it. */
  readonly timeoutMs?: number | undefined;
  /** Begins with what this process remembers, which saves a read where the decision is an update. Default: true. */
  readonly usesMemory?: boolean | undefined;
  /** Who gives the transaction its outcome, if the move does. Default: its producer. */
  readonly by?: EndedBy | undefined;
}

const TRIES = 32;

/** As `moveTransaction`, for requests that are refused where there is no item. */
export async function moveExisting(context: BrokerContext, move: Move): Promise<StoredTransaction> {
  return found(await moveTransaction(context, move));
}

/**
 * Decides and carries out until nothing is left to do, and returns the state then, or `undefined` if there is no item. Of several processes that leave the same
 * state one succeeds, and the others decide again from the state that they met. A decision to refuse, or to do nothing, is
 * only made from what the store has said after the request began.
 * @throws EventLogError as decided; with the outcome `unknown` if an update may have been applied
 */
export async function moveTransaction(context: BrokerContext, move: Move): Promise<StoredTransaction | undefined> {
  const { transactionalId, decide, completing } = move;
  const { items } = context.usage.of(NO_TOPIC, 'transaction');
  const memory = context.transactions;
  const known = move.usesMemory === false ? undefined : memory.get(transactionalId, context.clock.nowMs());
  let transaction = known;
  let isCertain = known === undefined ? await read() : false;
  let number = isCertain ? transaction?.number : undefined;
  let newProducerId: number | undefined;
  /** An attempt without a reply may have given the transaction its outcome, or a new epoch. */
  let mayBeApplied = false;
  for (let tries = 0; tries < TRIES; tries++) {
    const decision = decide({ transaction, number, newProducerId });
    const needsRead = decision.do !== 'write' && decision.do !== 'allocate' && !isCertain;
    if (needsRead) {
      isCertain = await read();
      number = transaction?.number;
      continue;
    }
    switch (decision.do) {
      case 'refuse':
        throw mayBeApplied ? withUnknownOutcome(decision.error) : decision.error;
      case 'answer':
        return transaction;
      case 'allocate':
        newProducerId = await allocateNamedProducer(context, items, transactionalId);
        break;
      case 'create': {
        const { timeoutMs } = move;
        invariant(timeoutMs !== undefined, 'only a request that initialises a producer makes the item');
        const made = await createListed(context, items, { transactionalId, timeoutMs, before: transaction });
        take(made);
        if (made.ok) return found(transaction);
        break;
      }
      case 'complete': {
        invariant(completing !== undefined, 'a request that completes transactions knows how');
        const done = await completeTransaction(context, completing, found(transaction));
        if (decision.isDone) return done;
        transaction = done;
        break;
      }
      case 'write': {
        const seen = found(transaction);
        const isGuess = !isCertain;
        // Until the reply says otherwise, the request has changed this transaction.
        number ??= seen.number;
        let sent = 0;
        const written = await retrying(context, 'unknown', () => {
          sent++;
          return changeTransaction(items, seen, decision.next);
        });
        take(written);
        const isUncertain = !written.ok && (sent > 1 || written.mayBeApplied === true);
        mayBeApplied ||= isUncertain && decision.next.phase !== 'open';
        if (written.ok) context.transactionCounts.moved(seen, decision.next, move.by ?? 'producer');
        if (written.ok && decision.next.producer.producerId !== seen.producer.producerId)
          await forgetProducer(context, items, seen.producer.producerId);
        if (written.ok && decision.isDone) return found(transaction);
        // What was remembered was old, and nothing was changed: the request belongs to what it met. If it was sent twice,
        // the first one may have changed it.
        if (!written.ok && isGuess && !isUncertain) number = transaction?.number;
        break;
      }
    }
  }
  const error = new EventLogError(
    'throttled',
    `Other requests change transactional id '${transactionalId}' at the same time.`,
  );
  throw mayBeApplied ? withUnknownOutcome(error) : error;

  async function read(): Promise<boolean> {
    transaction = await retrying(context, 'not_applied', () => readTransaction(items, transactionalId));
    memory.put(transactionalId, transaction, context.clock.nowMs());
    return true;
  }

  function take(changed: Changed): void {
    transaction = changed.transaction;
    isCertain = true;
    memory.put(transactionalId, transaction, context.clock.nowMs());
  }
}

function withUnknownOutcome({ code, message, details }: EventLogError): EventLogError {
  return new EventLogError(code, message, { details, outcome: 'unknown' });
}

function found(transaction: StoredTransaction | undefined): StoredTransaction {
  invariant(transaction !== undefined, 'a transactional id is only changed where there is one');
  return transaction;
}
