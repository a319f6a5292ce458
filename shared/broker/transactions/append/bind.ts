import { EventLogError } from '../../../log/errors.ts';
import { missingParticipants, participantCount } from '../../../log/transaction/participants.ts';
import { type HeadParticipant, NO_PARTICIPANTS, type ProducerName } from '../../../log/transaction/transaction.ts';
import type { BrokerContext } from '../../context.ts';
import { enlist } from '../enlist.ts';

export interface BindRequest {
  readonly transactionalId: string;
  /** Of the batches. */
  readonly producer: ProducerName;
  /** The heads that the batches go to. */
  readonly heads: readonly HeadParticipant[];
  /**
   * Kafka's transaction.version 2: the heads are enlisted. Otherwise AddPartitionsToTxn must have enlisted them.
   */
  readonly enlists: boolean;
  /** Looks at the item, whatever this process remembers. Default: false. */
  readonly isFresh?: boolean | undefined;
}

export interface Binding {
  /** The number of the transaction that the batches belong to. */
  readonly number: number;
  /**
   * It comes from this process's memory: the transaction may have ended since. If a head then rejects a batch, the request is
   * bound again with `isFresh`, one time.
   */
  readonly isRemembered: boolean;
}

/**
 * Finds the transaction that batches belong to, with all of their heads enlisted. It may end before
 * the batches are committed: then their heads have its marker, and reject them.
 *
 * No request if this process remembers that the heads are enlisted; else what `enlist` costs, or 1 GetItem without `enlists`.
 * @throws EventLogError as `enlist`; `invalid_transaction_state`: no transaction is open, or a head is not enlisted in it
 */
export async function bindTransaction(context: BrokerContext, request: BindRequest): Promise<Binding> {
  const { transactionalId, producer, heads, enlists, isFresh = false } = request;
  const wanted = { ...NO_PARTICIPANTS, heads };
  const known = isFresh ? undefined : context.transactions.get(transactionalId, context.clock.nowMs());
  if (
    known?.phase === 'open' &&
    known.producer.producerId === producer.producerId &&
    known.producer.producerEpoch === producer.producerEpoch &&
    participantCount(missingParticipants(known.participants, wanted)) === 0
  )
    return { number: known.number, isRemembered: true };
  if (enlists) {
    const { number } = await enlist(context, { transactionalId, producer, participants: { heads }, isFresh });
    return { number, isRemembered: false };
  }
  // Enlisting nothing only checks the producer.
  const { number, participants } = await enlist(context, {
    transactionalId,
    producer,
    participants: {},
    isFresh: true,
  });
  const missing = missingParticipants(participants, wanted).heads[0];
  if (missing === undefined) return { number, isRemembered: false };
  throw new EventLogError(
    'invalid_transaction_state',
    `Transactional id '${transactionalId}' has no open transaction that partitions of topic '${missing.topic}' were added to.`,
    { details: { transactionalId, topic: missing.topic } },
  );
}
