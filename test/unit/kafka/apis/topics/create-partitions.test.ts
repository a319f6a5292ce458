import { describe, expect, it } from 'vitest';
import { KAFKA_ERRORS } from '../../../../../shared/kafka/error-codes.ts';
import type { RequestOf } from '../../../../../shared/kafka/protocol/api.ts';
import { CREATE_PARTITIONS } from '../../../../../shared/kafka/protocol/messages/topics/create-partitions.ts';
import { KafkaClient } from '../../../../support/kafka-client.ts';
import { kafkaLog, versionsOf } from '../../../../support/kafka-log.ts';
import { codeOf } from '../../../../support/memory-broker.ts';

type Asked = RequestOf<typeof CREATE_PARTITIONS>['topics'][number];

const NEWEST = 3;
const { INVALID_PARTITIONS, INVALID_REPLICA_ASSIGNMENT, INVALID_REQUEST } = KAFKA_ERRORS;

async function errorsOf(client: KafkaClient, topics: readonly Asked[], validateOnly = false): Promise<number[]> {
  const { results } = await client.request(CREATE_PARTITIONS, NEWEST, { topics, timeoutMs: 0, validateOnly });
  for (const { errorCode, errorMessage } of results)
    expect(errorMessage).toEqual(errorCode === 0 ? null : expect.any(String));
  return results.map(({ errorCode }) => errorCode);
}

describe('CreatePartitions', () => {
  it.each(versionsOf(CREATE_PARTITIONS))('adds partitions in version %i', async (version) => {
    const { broker, client } = await kafkaLog();
    await broker.putTopic({ name: 'a', partitions: 2, config: { 'retention.ms': 7 } });
    const { results } = await client.request(CREATE_PARTITIONS, version, {
      topics: [
        { name: 'a', count: 5, assignments: null },
        { name: 'missing', count: 5, assignments: null },
        { name: '..', count: 5, assignments: null },
      ],
      timeoutMs: 1_000,
      validateOnly: false,
    });
    expect(results).toMatchObject([
      { name: 'a', errorCode: 0, errorMessage: null },
      { name: 'missing', errorCode: KAFKA_ERRORS.UNKNOWN_TOPIC_OR_PARTITION, errorMessage: expect.any(String) },
      { name: '..', errorCode: KAFKA_ERRORS.UNKNOWN_TOPIC_OR_PARTITION },
    ]);
    expect(await broker.describeTopic('a')).toMatchObject({ partitions: 5, config: { 'retention.ms': { value: 7 } } });
    expect(await codeOf(broker.describeTopic('missing'))).toBe('unknown_topic');
  });

  it('refuses numbers that are not more, or too many', async () => {
    const { broker, client } = await kafkaLog();
    await broker.putTopic({ name: 'a', partitions: 3 });
    for (const count of [3, 2, 0, -1, 10_001])
      expect(await errorsOf(client, [{ name: 'a', count, assignments: null }]), `${count}`).toEqual([
        INVALID_PARTITIONS,
      ]);
    expect((await broker.describeTopic('a')).partitions).toBe(3);
  });

  it('takes an assignment for each added partition, whatever its brokers', async () => {
    const { broker, client } = await kafkaLog();
    await broker.putTopic({ name: 'a', partitions: 3 });
    const ask = (...brokerIds: number[][]) =>
      errorsOf(client, [{ name: 'a', count: 5, assignments: brokerIds.map((ids) => ({ brokerIds: ids })) }]);
    for (const wrong of [[], [[1]], [[1], [1], [1]], [[1], []], [[1], [2, 2]]])
      expect(await ask(...wrong)).toEqual([INVALID_REPLICA_ASSIGNMENT]);
    expect(await ask([9], [7, 8])).toEqual([0]);
    expect((await broker.describeTopic('a')).partitions).toBe(5);
  });

  it('only checks if it is asked to, and refuses what is named twice', async () => {
    const { broker, client } = await kafkaLog();
    for (const name of ['a', 'b']) await broker.putTopic({ name, partitions: 3 });
    const more = { count: 4, assignments: null };
    expect(await errorsOf(client, [{ name: 'a', ...more }], true)).toEqual([0]);
    expect(await errorsOf(client, [{ name: 'a', count: 3, assignments: null }], true)).toEqual([INVALID_PARTITIONS]);
    expect(
      await errorsOf(client, [
        { name: 'b', ...more },
        { name: 'b', ...more },
      ]),
    ).toEqual([INVALID_REQUEST]);
    for (const name of ['a', 'b']) expect((await broker.describeTopic(name)).partitions).toBe(3);
  });

  it('lets one of several requests for the same number succeed', async () => {
    const { log, broker, client } = await kafkaLog();
    await broker.putTopic({ name: 'a', partitions: 3 });
    const other = await KafkaClient.connect(log.bootstrapServers as string);
    const asked = [{ name: 'a', count: 4, assignments: null }];
    const codes = await Promise.all([client, other].map((one) => errorsOf(one, asked)));
    other.close();
    expect(codes.flat().sort((a, b) => a - b)).toEqual([0, INVALID_PARTITIONS]);
  });
});
