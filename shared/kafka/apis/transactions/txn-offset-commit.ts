import type { Broker } from '../../../broker/broker.ts';
import { EventLogError } from '../../../log/errors.ts';
import { OFFSETS_PER_REQUEST_MAX } from '../../../log/limits.ts';
import { KAFKA_ERRORS, type KafkaErrorNumber } from '../../error-codes.ts';
import { type Call, handler } from '../../handler.ts';
import type { RequestOf } from '../../protocol/api.ts';
import { TXN_OFFSET_COMMIT } from '../../protocol/messages/transactions/txn-offset-commit.ts';
import { type AskedOffset, askedOffset } from '../groups/asked-offset.ts';
import { transactionError } from './transaction-errors.ts';

type Request = RequestOf<typeof TXN_OFFSET_COMMIT>;
type CommitRequest = Exclude<Parameters<Broker['commitOffsetsInTransaction']>[0], { readonly after: string }>;

/** From this version on the transaction takes in the offsets by itself (transaction.version 2, KIP-890). */
const ENLISTS_FROM = 5;
/** Clients before take an error of loading for one that nothing helps against. */
const KNOWS_LOADING_FROM = 2;

/** Makes offsets of a group pending: they are committed if and when the transaction is. */
export const txnOffsetCommit = handler(
  TXN_OFFSET_COMMIT,
  [
    { action: 'produce', on: 'transactional id' },
    { action: 'consume', on: 'group' },
    { action: 'consume', on: 'topic' },
  ],
  async (call, request) => {
    const { topics } = request;
    const asked = topics.map(({ name, partitions }) =>
      partitions.map((each) =>
        askedOffset(call.rights.onTopic('consume', name) ? name : KAFKA_ERRORS.TOPIC_AUTHORIZATION_FAILED, each),
      ),
    );
    const offsets = asked.flat().filter((each) => typeof each !== 'number');
    const errors = await commitAll(call, request, offsets);
    let next = 0;
    return {
      topics: topics.map(({ name, partitions }, i) => ({
        name,
        partitions: partitions.map(({ partitionIndex }, j) => {
          const offset = asked[i]?.[j];
          const errorCode = typeof offset === 'number' ? offset : (errors[next++] as KafkaErrorNumber);
          return { partitionIndex, errorCode };
        }),
      })),
    };
  },
);

async function commitAll(call: Call, request: Request, offsets: readonly AskedOffset[]): Promise<KafkaErrorNumber[]> {
  const { rights } = call;
  if (!rights.onTransactionalId('produce', request.transactionalId))
    return offsets.map(() => KAFKA_ERRORS.TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
  if (!rights.onGroup('consume', request.groupId)) return offsets.map(() => KAFKA_ERRORS.GROUP_AUTHORIZATION_FAILED);
  const errors: KafkaErrorNumber[] = [];
  for (let i = 0; i < offsets.length; i += OFFSETS_PER_REQUEST_MAX)
    errors.push(...(await commitSome(call, request, offsets.slice(i, i + OFFSETS_PER_REQUEST_MAX))));
  return errors;
}

async function commitSome(
  { gateway: { broker }, version }: Call,
  request: Request,
  offsets: readonly AskedOffset[],
): Promise<KafkaErrorNumber[]> {
  const { transactionalId, groupId: group, producerId, producerEpoch } = request;
  try {
    const outcomes = await broker.commitOffsetsInTransaction({
      transactionalId,
      producer: { producerId, producerEpoch },
      group,
      member: await memberOf(broker, request),
      offsets,
      enlists: version >= ENLISTS_FROM,
    });
    return outcomes.map((outcome) => (outcome.ok ? KAFKA_ERRORS.NONE : errorOf(outcome.error, version)));
  } catch (error) {
    if (!(error instanceof EventLogError)) throw error;
    const errorCode = errorOf(error, version);
    return offsets.map(() => errorCode);
  }
}

/**
 * Producers abort their transaction when a generation is over. Epochs of members they do not know, and would fail for good. So
 * would Java before 3.8 and sarama by CONCURRENT_TRANSACTIONS; all try again while a coordinator loads.
 */
function errorOf(error: EventLogError, version: number): KafkaErrorNumber {
  if (error.code === 'fenced_member_epoch') return KAFKA_ERRORS.ILLEGAL_GENERATION;
  const errorCode = transactionError({ error, knowsFenced: false });
  if (errorCode !== KAFKA_ERRORS.COORDINATOR_LOAD_IN_PROGRESS && errorCode !== KAFKA_ERRORS.CONCURRENT_TRANSACTIONS)
    return errorCode;
  return version < KNOWS_LOADING_FROM
    ? KAFKA_ERRORS.COORDINATOR_NOT_AVAILABLE
    : KAFKA_ERRORS.COORDINATOR_LOAD_IN_PROGRESS;
}

/** Who has read what was processed; `undefined` if the producer does not say. */
async function memberOf(
  broker: Broker,
  { groupId: group, memberId, groupInstanceId, generationId }: Request,
): Promise<CommitRequest['member']> {
  if (memberId === '' && generationId < 0) return undefined;
  const named = { memberId, instanceId: groupInstanceId ?? undefined };
  return (await broker.usesClassicProtocol({ group, ...named }))
    ? { protocol: 'classic', ...named, generation: generationId }
    : { protocol: 'consumer', ...named, memberEpoch: generationId };
}
