import { EventLogError } from '../../../log/errors.ts';
import { checkPartition, headOf } from '../../../log/topic/topic.ts';
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
  [{ action: 'produce', on: 'topic' }],
  async (call, request) => {
    const {
      v3AndBelowTransactionalId: transactionalId,
      v3AndBelowProducerId: producerId,
      v3AndBelowProducerEpoch: producerEpoch,
      v3AndBelowTopics: topics,
    } = request;
    const found = await Promise.all(topics.map((topic) => headsOf(call, topic)));
    const refused = found.map((each) => (typeof each === 'number' ? each : undefined));
    const error = refused.every((each) => each === undefined)
      ? await answeringTransaction<KafkaErrorNumber>(
          call.version >= FENCED_FROM,
          async () => {
            const heads = found.flatMap((each) => (typeof each === 'number' ? [] : each));
            const producer = { producerId, producerEpoch };
            await call.gateway.broker.enlist({ transactionalId, producer, participants: { heads } });
            return KAFKA_ERRORS.NONE;
          },
          (errorCode) => errorCode,
        )
      : KAFKA_ERRORS.OPERATION_NOT_ATTEMPTED;
    return {
      resultsByTopicV3AndBelow: topics.map(({ name, partitions }, i) => ({
        name,
        resultsByPartition: partitions.map((partitionIndex) => ({
          partitionIndex,
          partitionErrorCode: refused[i] ?? error,
        })),
      })),
    };
  },
);

/** The heads that decide these partitions, or why they cannot be enlisted. */
async function headsOf(
  { gateway: { broker }, rights }: Call,
  { name, partitions }: WantedTopic,
): Promise<Heads | KafkaErrorNumber> {
  if (!rights.onTopic('produce', name)) return KAFKA_ERRORS.TOPIC_AUTHORIZATION_FAILED;
  try {
    const topic = await broker.knownTopic(name);
    for (const partition of partitions) checkPartition(topic, partition);
    const headNumbers = new Set(partitions.map((partition) => headOf(topic, partition).headNumber));
    return [...headNumbers].map((headNumber) => ({ topicId: topic.topicId, topic: name, headNumber }));
  } catch (error) {
    if (!(error instanceof EventLogError)) throw error;
    return knownTopicError(error);
  }
}
