import { EventLogError } from '../../../log/errors.ts';
import { headOf } from '../../../log/topic/topic.ts';
import { KAFKA_ERRORS, type KafkaErrorNumber } from '../../error-codes.ts';
import { type Call, handler } from '../../handler.ts';
import type { RequestOf } from '../../protocol/api.ts';
import { ADD_PARTITIONS_TO_TXN } from '../../protocol/messages/transactions/add-partitions-to-txn.ts';
import { knownTopicError } from '../topic-errors.ts';
import { answeringTransaction } from './transaction-errors.ts';

type Heads = NonNullable<Parameters<Call['gateway']['broker']['enlist']>[0]['participants']['heads']>;
type WantedTopic = RequestOf<typeof ADD_PARTITIONS_TO_TXN>['v3AndBelowTopics'][number];

const FENCED_FROM = 2;

/**
 * Enlists the heads of partitions in the transaction of a producer: clients of transaction.version 1 do it before they
 * append there. All partitions or none, as in Kafka.
 */
export const addPartitionsToTxn = handler(
  ADD_PARTITIONS_TO_TXN,
  [
    { action: 'produce', on: 'topic' },
    { action: 'produce', on: 'transactional id' },
  ],
  async (call, request) => {
    const {
      v3AndBelowTransactionalId: transactionalId,
      v3AndBelowProducerId: producerId,
      v3AndBelowProducerEpoch: producerEpoch,
      v3AndBelowTopics: topics,
    } = request;
    const mayTransact = call.rights.onTransactionalId('produce', transactionalId);
    const found = await Promise.all(
      topics.map((topic) =>
        mayTransact
          ? findHeads(call, topic)
          : allRefused(topic.partitions, KAFKA_ERRORS.TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
      ),
    );
    const isRefused = found.some(({ errors }) => errors.some((error) => error !== undefined));
    const outcome = isRefused
      ? KAFKA_ERRORS.OPERATION_NOT_ATTEMPTED
      : await answeringTransaction<KafkaErrorNumber>(
          call.version >= FENCED_FROM,
          async () => {
            const heads = found.flatMap((each) => each.heads);
            const producer = { producerId, producerEpoch };
            await call.gateway.broker.enlist({ transactionalId, producer, participants: { heads }, isFresh: true });
            return KAFKA_ERRORS.NONE;
          },
          (errorCode) => errorCode,
        );
    return {
      resultsByTopicV3AndBelow: topics.map(({ name, partitions }, i) => ({
        name,
        resultsByPartition: partitions.map((partitionIndex, j) => ({
          partitionIndex,
          partitionErrorCode: found[i]?.errors[j] ?? outcome,
        })),
      })),
    };
  },
);

interface FoundHeads {
  readonly heads: Heads;
  /** Why a partition cannot be added; in the order of the request. */
  readonly errors: readonly (KafkaErrorNumber | undefined)[];
}

/** The heads that decide these partitions. */
async function findHeads(
  { gateway: { broker }, rights }: Call,
  { name, partitions }: WantedTopic,
): Promise<FoundHeads> {
  if (!rights.onTopic('produce', name)) return allRefused(partitions, KAFKA_ERRORS.TOPIC_AUTHORIZATION_FAILED);
  try {
    const topic = await broker.knownTopic(name);
    const isKnown = (partition: number): boolean => partition >= 0 && partition < topic.partitions;
    const known = partitions.filter(isKnown);
    const headNumbers = new Set(known.map((partition) => headOf(topic, partition).headNumber));
    return {
      heads: [...headNumbers].map((headNumber) => ({ topicId: topic.topicId, topic: name, headNumber })),
      errors: partitions.map((each) => (isKnown(each) ? undefined : KAFKA_ERRORS.UNKNOWN_TOPIC_OR_PARTITION)),
    };
  } catch (error) {
    if (!(error instanceof EventLogError)) throw error;
    return allRefused(partitions, knownTopicError(error));
  }
}

function allRefused(partitions: readonly number[], error: KafkaErrorNumber): FoundHeads {
  return { heads: [], errors: partitions.map(() => error) };
}
