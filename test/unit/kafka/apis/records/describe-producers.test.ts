import { describe, expect, it } from 'vitest';
import { KAFKA_ERRORS } from '../../../../../shared/kafka/error-codes.ts';
import { DESCRIBE_PRODUCERS } from '../../../../../shared/kafka/protocol/messages/records/describe-producers.ts';
import { kafkaLog } from '../../../../support/kafka-log.ts';
import { record } from '../../../../support/memory-broker.ts';

describe('DescribeProducers', () => {
  it('shows who has written to a partition', async () => {
    const { broker, client } = await kafkaLog();
    await broker.putTopic({ name: 'a', partitions: 2 });
    const timestampMs = Date.parse('2026-01-02T03:04:05Z');
    await broker.appendRecords({
      topic: 'a',
      records: ['x', 'y', 'z'].map((value) => ({ ...record(value, { partition: 1 }), timestampMs })),
      producer: { producerId: 7, producerEpoch: 2, baseSequence: 0 },
    });
    const { topics } = await client.request(DESCRIBE_PRODUCERS, 0, {
      topics: [
        { name: 'a', partitionIndexes: [1, 0, 2] },
        { name: 'missing', partitionIndexes: [0] },
        { name: '..', partitionIndexes: [0] },
      ],
    });
    const none = { activeProducers: [], errorMessage: expect.stringMatching(/\w/) };
    expect(topics).toEqual([
      {
        name: 'a',
        partitions: [
          {
            partitionIndex: 1,
            errorCode: 0,
            errorMessage: null,
            activeProducers: [
              {
                producerId: 7,
                producerEpoch: 2,
                lastSequence: 2,
                lastTimestamp: timestampMs,
                coordinatorEpoch: -1,
                currentTxnStartOffset: -1,
              },
            ],
          },
          { partitionIndex: 0, errorCode: 0, errorMessage: null, activeProducers: [] },
          { partitionIndex: 2, errorCode: KAFKA_ERRORS.UNKNOWN_TOPIC_OR_PARTITION, ...none },
        ],
      },
      {
        name: 'missing',
        partitions: [{ partitionIndex: 0, errorCode: KAFKA_ERRORS.UNKNOWN_TOPIC_OR_PARTITION, ...none }],
      },
      { name: '..', partitions: [{ partitionIndex: 0, errorCode: KAFKA_ERRORS.INVALID_TOPIC_EXCEPTION, ...none }] },
    ]);
  });
});
