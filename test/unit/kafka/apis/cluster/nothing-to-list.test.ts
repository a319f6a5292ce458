import { describe, expect, it } from 'vitest';
import { KAFKA_ERRORS } from '../../../../../shared/kafka/error-codes.ts';
import { DESCRIBE_CLIENT_QUOTAS } from '../../../../../shared/kafka/protocol/messages/cluster/describe-client-quotas.ts';
import { LIST_PARTITION_REASSIGNMENTS } from '../../../../../shared/kafka/protocol/messages/cluster/list-partition-reassignments.ts';
import { kafkaLog, versionsOf } from '../../../../support/kafka-log.ts';

describe('ListPartitionReassignments', () => {
  it('knows of none', async () => {
    const { broker, client } = await kafkaLog();
    await broker.putTopic({ name: 'a' });
    for (const topics of [null, [{ name: 'a', partitionIndexes: [0] }]])
      expect(await client.request(LIST_PARTITION_REASSIGNMENTS, 0, { topics })).toEqual({
        throttleTimeMs: 0,
        errorCode: 0,
        errorMessage: null,
        topics: [],
      });
  });
});

describe('DescribeClientQuotas', () => {
  it.each(versionsOf(DESCRIBE_CLIENT_QUOTAS))('knows of none in version %i', async (version) => {
    const { client } = await kafkaLog();
    const components = [0, 1, 2].map((matchType) => ({ entityType: 'user', matchType, match: null }));
    expect(await client.request(DESCRIBE_CLIENT_QUOTAS, version, { components, strict: false })).toEqual({
      throttleTimeMs: 0,
      errorCode: 0,
      errorMessage: null,
      entries: [],
    });
    for (const matchType of [3, -1])
      expect(
        await client.request(DESCRIBE_CLIENT_QUOTAS, version, {
          components: [{ entityType: 'user', matchType, match: null }],
          strict: false,
        }),
      ).toMatchObject({ errorCode: KAFKA_ERRORS.INVALID_REQUEST, errorMessage: expect.any(String), entries: null });
  });
});
