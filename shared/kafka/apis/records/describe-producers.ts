import { eachOf } from '../../../broker/topics/each-head.ts';
import { KAFKA_ERRORS } from '../../error-codes.ts';
import { type Call, handler } from '../../handler.ts';
import type { RequestOf, ResponseOf } from '../../protocol/api.ts';
import { DESCRIBE_PRODUCERS } from '../../protocol/messages/records/describe-producers.ts';
import { answeringTopic, checkRight } from '../topic-errors.ts';

type DescribedPartition = ResponseOf<typeof DESCRIBE_PRODUCERS>['topics'][number]['partitions'][number];

const UNKNOWN = -1;

/** The idempotent producers that have written to partitions within a day. */
export const describeProducers = handler(
  DESCRIBE_PRODUCERS,
  [{ action: 'any', on: 'topic' }],
  async (call, { topics }) => {
    const described: { name: string; partitions: DescribedPartition[] }[] = [];
    for (const [name, indexes] of partitionsByTopic(topics))
      described.push({ name, partitions: await eachOf([...indexes], (index) => describe(call, name, index)) });
    return { topics: described };
  },
);

/** Each once, however often it is named, as in `eachOnce`. */
function partitionsByTopic(asked: RequestOf<typeof DESCRIBE_PRODUCERS>['topics']): Map<string, Set<number>> {
  const topics = new Map<string, Set<number>>();
  for (const { name, partitionIndexes } of asked) {
    const known = topics.get(name) ?? new Set();
    for (const index of partitionIndexes) known.add(index);
    topics.set(name, known);
  }
  return topics;
}

function describe(call: Call, topic: string, partitionIndex: number): Promise<DescribedPartition> {
  return answeringTopic<DescribedPartition>(
    async () => {
      checkRight(call, 'any', topic);
      return {
        partitionIndex,
        errorCode: KAFKA_ERRORS.NONE,
        activeProducers: (await call.gateway.broker.describeProducers(topic, partitionIndex)).map(
          ({ producerId, producerEpoch, lastSequence, lastTimestampMs, transactionStartOffset }) => ({
            producerId,
            producerEpoch,
            lastSequence,
            lastTimestamp: lastTimestampMs ?? UNKNOWN,
            coordinatorEpoch: UNKNOWN,
            currentTxnStartOffset: transactionStartOffset ?? UNKNOWN,
          }),
        ),
      };
    },
    (errorCode, errorMessage) => ({ partitionIndex, errorCode, errorMessage, activeProducers: [] }),
  );
}
