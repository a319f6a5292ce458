import { describe, expect, it } from 'vitest';
import { KAFKA_ERRORS } from '../../../../../shared/kafka/error-codes.ts';
import { DELETE_RECORDS } from '../../../../../shared/kafka/protocol/messages/topics/delete-records.ts';
import type { KafkaClient } from '../../../../support/kafka-client.ts';
import { kafkaLog, versionsOf } from '../../../../support/kafka-log.ts';
import { appendTo, bytes } from '../../../../support/memory-broker.ts';

const NEWEST = 2;

async function ask(client: KafkaClient, name: string, partitionIndex: number, offset: number): Promise<number[]> {
  const { topics } = await client.request(DELETE_RECORDS, NEWEST, {
    topics: [{ name, partitions: [{ partitionIndex, offset }] }],
    timeoutMs: 0,
  });
  const answered = topics[0]?.partitions[0];
  return [answered?.errorCode as number, answered?.lowWatermark as number];
}

describe('DeleteRecords', () => {
  it.each(versionsOf(DELETE_RECORDS))('deletes what is below an offset in version %i', async (version) => {
    const { broker, client } = await kafkaLog();
    await broker.putTopic({ name: 'a', partitions: 2 });
    for (const partition of [0, 1]) await appendTo(broker, 'a', partition, ['x', 'y', 'z']);
    const { topics } = await client.request(DELETE_RECORDS, version, {
      topics: [
        { name: 'a', partitions: [1, 0, 2].map((partitionIndex) => ({ partitionIndex, offset: partitionIndex + 1 })) },
        { name: 'missing', partitions: [{ partitionIndex: 0, offset: 0 }] },
      ],
      timeoutMs: 1_000,
    });
    const unknown = { lowWatermark: -1, errorCode: KAFKA_ERRORS.UNKNOWN_TOPIC_OR_PARTITION };
    expect(topics).toEqual([
      {
        name: 'a',
        partitions: [
          { partitionIndex: 1, lowWatermark: 2, errorCode: 0 },
          { partitionIndex: 0, lowWatermark: 1, errorCode: 0 },
          { partitionIndex: 2, ...unknown },
        ],
      },
      { name: 'missing', partitions: [{ partitionIndex: 0, ...unknown }] },
    ]);
    expect(await broker.partitionEnds('a', 0)).toMatchObject({ logStartOffset: 1, highWatermark: 3 });
    expect(await broker.partitionEnds('a', 1)).toMatchObject({ logStartOffset: 2, highWatermark: 3 });
  });

  it('deletes all for -1, nothing for less than there is, and refuses offsets that are not there', async () => {
    const { broker, client } = await kafkaLog();
    await broker.putTopic({ name: 'a' });
    await appendTo(broker, 'a', 0, ['x', 'y', 'z']);
    expect(await ask(client, 'a', 0, 4)).toEqual([KAFKA_ERRORS.OFFSET_OUT_OF_RANGE, -1]);
    expect(await ask(client, 'a', 0, -2)).toEqual([KAFKA_ERRORS.OFFSET_OUT_OF_RANGE, -1]);
    expect(await ask(client, 'a', 0, 2)).toEqual([0, 2]);
    expect(await ask(client, 'a', 0, 1)).toEqual([0, 2]);
    expect(await ask(client, 'a', 0, -1)).toEqual([0, 3]);
    expect(await ask(client, '..', 0, 0)).toEqual([KAFKA_ERRORS.INVALID_TOPIC_EXCEPTION, -1]);
  });

  it('leaves topics alone that are only compacted', async () => {
    const { broker, client } = await kafkaLog();
    for (const [name, policy] of [
      ['compacted', 'compact'],
      ['both', 'compact,delete'],
    ] as const) {
      await broker.putTopic({ name, config: { 'cleanup.policy': policy } });
      await appendTo(broker, name, 0, ['x'], { key: bytes('k') });
    }
    expect(await ask(client, 'compacted', 0, 1)).toEqual([KAFKA_ERRORS.POLICY_VIOLATION, -1]);
    expect(await ask(client, 'both', 0, 1)).toEqual([0, 1]);
    expect(await broker.partitionEnds('compacted', 0)).toMatchObject({ logStartOffset: 0, highWatermark: 1 });
  });
});
