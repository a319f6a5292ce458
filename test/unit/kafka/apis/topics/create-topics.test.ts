import { describe, expect, it } from 'vitest';
import { KAFKA_ERRORS } from '../../../../../shared/kafka/error-codes.ts';
import type { RequestOf, ResponseOf } from '../../../../../shared/kafka/protocol/api.ts';
import { METADATA } from '../../../../../shared/kafka/protocol/messages/cluster/metadata.ts';
import { CREATE_TOPICS } from '../../../../../shared/kafka/protocol/messages/topics/create-topics.ts';
import { ZERO_UUID } from '../../../../../shared/kafka/protocol/types.ts';
import { KafkaClient } from '../../../../support/kafka-client.ts';
import { kafkaLog, versionsOf } from '../../../../support/kafka-log.ts';
import { codeOf } from '../../../../support/memory-broker.ts';

type Asked = RequestOf<typeof CREATE_TOPICS>['topics'][number];
type Answered = ResponseOf<typeof CREATE_TOPICS>['topics'][number];

const NEWEST = 7;

function topic(name: string, rest: Partial<Asked> = {}): Asked {
  return { name, numPartitions: -1, replicationFactor: -1, assignments: [], configs: [], ...rest };
}

async function create(client: KafkaClient, topics: readonly Asked[], validateOnly = false): Promise<Answered[]> {
  return [...(await client.request(CREATE_TOPICS, NEWEST, { topics, validateOnly })).topics];
}

async function errorOf(client: KafkaClient, asked: Asked): Promise<number> {
  const [answered] = await create(client, [asked]);
  expect(answered?.errorMessage, 'an error has a message').toBeTypeOf('string');
  return answered?.errorCode as number;
}

describe('CreateTopics', () => {
  it.each(versionsOf(CREATE_TOPICS))('makes topics in version %i', async (version) => {
    const { broker, client } = await kafkaLog();
    const configs = [{ name: 'retention.ms', value: '1000' }];
    const { topics } = await client.request(CREATE_TOPICS, version, {
      topics: [topic('a', { numPartitions: 3, replicationFactor: 1, configs }), topic('..')],
    });
    const a = await broker.describeTopic('a');
    expect(a).toMatchObject({ partitions: 3, config: { 'retention.ms': { value: 1_000, source: 'topic' } } });
    expect(topics).toMatchObject([
      { name: 'a', errorCode: 0, errorMessage: null },
      { name: '..', errorCode: KAFKA_ERRORS.INVALID_TOPIC_EXCEPTION, errorMessage: expect.stringContaining('..') },
    ]);
    expect(topics[0]?.topicId).toBe(version >= 7 ? a.topicId : ZERO_UUID);
    if (version < 5) return;
    expect(topics[0]).toMatchObject({ numPartitions: 3, replicationFactor: 1, topicConfigErrorCode: 0 });
    const [shown] = topics[0]?.configs?.filter(({ name }) => name === 'retention.ms') ?? [];
    expect(shown).toEqual({
      name: 'retention.ms',
      value: '1000',
      readOnly: false,
      configSource: 1,
      isSensitive: false,
    });
    expect(topics[1]).toMatchObject({ numPartitions: -1, replicationFactor: -1, configs: [] });
  });

  it('gives topics the default number of partitions, and takes any replication factor', async () => {
    const { broker, client } = await kafkaLog({ partitionsDefault: 4 });
    const answered = await create(client, [topic('a'), topic('b', { numPartitions: 2, replicationFactor: 3 })]);
    expect(answered).toMatchObject([
      { errorCode: 0, numPartitions: 4, replicationFactor: 1 },
      { errorCode: 0, numPartitions: 2, replicationFactor: 1 },
    ]);
    expect((await broker.describeTopic('a')).partitions).toBe(4);
    expect((await broker.describeTopic('b')).partitions).toBe(2);
  });

  it('takes the partitions of an assignment, whatever its brokers', async () => {
    const { broker, client } = await kafkaLog();
    const assignments = [2, 0, 1].map((partitionIndex) => ({ partitionIndex, brokerIds: [7, 8] }));
    expect(await create(client, [topic('a', { assignments })])).toMatchObject([{ errorCode: 0, numPartitions: 3 }]);
    expect((await broker.describeTopic('a')).partitions).toBe(3);
  });

  it('refuses assignments with gaps, repetitions, no brokers, or a number of partitions beside them', async () => {
    const { broker, client } = await kafkaLog();
    const at = (...partitions: number[]) => partitions.map((partitionIndex) => ({ partitionIndex, brokerIds: [1] }));
    const { INVALID_REPLICA_ASSIGNMENT, INVALID_REQUEST } = KAFKA_ERRORS;
    for (const assignments of [
      at(0, 2),
      at(1),
      at(0, 0),
      at(0, 1, 1),
      [{ partitionIndex: 0, brokerIds: [] }],
      [{ partitionIndex: 0, brokerIds: [1, 1] }],
    ])
      expect(await errorOf(client, topic('a', { assignments }))).toBe(INVALID_REPLICA_ASSIGNMENT);
    expect(await errorOf(client, topic('a', { assignments: at(0), numPartitions: 1 }))).toBe(INVALID_REQUEST);
    expect(await errorOf(client, topic('a', { assignments: at(0), replicationFactor: 1 }))).toBe(INVALID_REQUEST);
    expect(await codeOf(broker.describeTopic('a'))).toBe('unknown_topic');
  });

  it('refuses numbers that no topic can have', async () => {
    const { broker, client } = await kafkaLog();
    const { INVALID_PARTITIONS, INVALID_REPLICATION_FACTOR } = KAFKA_ERRORS;
    for (const numPartitions of [0, -2, 10_001, 2 ** 31 - 1])
      expect(await errorOf(client, topic('a', { numPartitions }))).toBe(INVALID_PARTITIONS);
    for (const replicationFactor of [0, -2])
      expect(await errorOf(client, topic('a', { replicationFactor }))).toBe(INVALID_REPLICATION_FACTOR);
    expect(await codeOf(broker.describeTopic('a'))).toBe('unknown_topic');
  });

  it('refuses settings that are unknown, without a value, or out of range', async () => {
    const { broker, client } = await kafkaLog();
    for (const [name, value] of [
      ['nonsense', '1'],
      ['toString', '1'],
      ['retention.ms', 'soon'],
      ['retention.ms', null],
      ['segment.bytes', '1'],
      ['retention.ms', '9223372036854775808'],
      ['cleanup.policy', 'compact,nonsense'],
      ['cleanup.policy', ''],
      ['min.insync.replicas', 'two'],
      ['preallocate', '1'],
    ] as const)
      expect(await errorOf(client, topic('a', { configs: [{ name, value }] })), name).toBe(KAFKA_ERRORS.INVALID_CONFIG);
    expect(await codeOf(broker.describeTopic('a'))).toBe('unknown_topic');
  });

  it("takes settings as Kafka's tools write them", async () => {
    const { broker, client } = await kafkaLog();
    const configs = [
      { name: 'cleanup.policy', value: ' compact , delete,compact' },
      { name: 'max.compaction.lag.ms', value: '9223372036854775807' },
      { name: 'min.insync.replicas', value: '2' },
      { name: 'unclean.leader.election.enable', value: 'False' },
      { name: 'leader.replication.throttled.replicas', value: '0:1' },
    ];
    const [answered] = await create(client, [topic('a', { configs })]);
    const shown = new Map(answered?.configs?.map(({ name, value }) => [name, value]));
    expect(shown.get('cleanup.policy')).toBe('compact,delete');
    expect(shown.get('max.compaction.lag.ms')).toBe('9223372036854775807');
    // It has no effect, so nobody should think that it has.
    expect(shown.get('min.insync.replicas')).toBe('1');
    expect((await broker.describeTopic('a')).config['cleanup.policy'].value).toBe('compact,delete');
  });

  it('refuses a topic that exists, and leaves it as it is', async () => {
    const { broker, client } = await kafkaLog();
    await broker.putTopic({ name: 'a', partitions: 2 });
    const configs = [{ name: 'retention.ms', value: '1000' }];
    expect(await errorOf(client, topic('a', { numPartitions: 5, configs }))).toBe(KAFKA_ERRORS.TOPIC_ALREADY_EXISTS);
    expect(await errorOf(client, topic('a', { numPartitions: 1 }))).toBe(KAFKA_ERRORS.TOPIC_ALREADY_EXISTS);
    expect(await broker.describeTopic('a')).toMatchObject({
      partitions: 2,
      config: { 'retention.ms': { source: 'default' } },
    });
  });

  it('lets one of many at the same time make the topic, which can be used at once', async () => {
    const { log, broker, client } = await kafkaLog();
    const others = await Promise.all([1, 2, 3].map(() => KafkaClient.connect(log.bootstrapServers as string)));
    const all = await Promise.all(
      [client, ...others].map((one, i) => create(one, [topic('a', { numPartitions: i + 1 })])),
    );
    for (const other of others) other.close();
    const codes = all.map(([answered]) => answered?.errorCode);
    expect(codes.filter((code) => code === 0)).toHaveLength(1);
    expect(codes.filter((code) => code === KAFKA_ERRORS.TOPIC_ALREADY_EXISTS)).toHaveLength(3);
    expect((await broker.describeTopic('a')).partitions).toBe(codes.indexOf(0) + 1);
    const { topics } = await client.request(METADATA, 12, {
      topics: [{ topicId: ZERO_UUID, name: 'a' }],
      allowAutoTopicCreation: false,
    } as never);
    expect(topics[0]?.topicId).toBe(all.flat().find(({ errorCode }) => errorCode === 0)?.topicId);
  });

  it('makes nothing of what is named twice, and the rest of the request', async () => {
    const { broker, client } = await kafkaLog();
    const answered = await create(client, [topic('a'), topic('b'), topic('a', { numPartitions: 3 })]);
    expect(new Map(answered.map(({ name, errorCode }) => [name, errorCode]))).toEqual(
      new Map([
        ['a', KAFKA_ERRORS.INVALID_REQUEST],
        ['b', 0],
      ]),
    );
    expect(answered).toHaveLength(2);
    expect(await codeOf(broker.describeTopic('a'))).toBe('unknown_topic');
  });

  it('only checks if it is asked to', async () => {
    const { broker, client } = await kafkaLog();
    await broker.putTopic({ name: 'old' });
    const asked = [
      topic('new', { numPartitions: 3 }),
      topic('old'),
      topic('wrong', { configs: [{ name: 'retention.ms', value: 'x' }] }),
    ];
    expect(await create(client, asked, true)).toMatchObject([
      { name: 'new', errorCode: 0, numPartitions: 3, topicId: ZERO_UUID },
      { name: 'old', errorCode: KAFKA_ERRORS.TOPIC_ALREADY_EXISTS },
      { name: 'wrong', errorCode: KAFKA_ERRORS.INVALID_CONFIG },
    ]);
    expect(await codeOf(broker.describeTopic('new'))).toBe('unknown_topic');
  });
});
