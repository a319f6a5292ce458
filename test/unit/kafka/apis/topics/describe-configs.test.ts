import { describe, expect, it } from 'vitest';
import { KAFKA_ERRORS } from '../../../../../shared/kafka/error-codes.ts';
import { DESCRIBE_CONFIGS } from '../../../../../shared/kafka/protocol/messages/topics/describe-configs.ts';
import type { KafkaClient } from '../../../../support/kafka-client.ts';
import { kafkaLog, versionsOf } from '../../../../support/kafka-log.ts';

type Result = ReturnType<ReturnType<typeof DESCRIBE_CONFIGS.response.at>['read']>['results'][number];

const NEWEST = 4;
const TOPIC = 2;
const BROKER = 4;

async function describeOne(
  client: KafkaClient,
  resourceType: number,
  resourceName: string,
  names: readonly string[] | null = null,
): Promise<Result> {
  const { results } = await client.request(DESCRIBE_CONFIGS, NEWEST, {
    resources: [{ resourceType, resourceName, configurationKeys: names }],
    includeSynonyms: true,
  });
  expect(results).toHaveLength(1);
  return results[0] as Result;
}

function setting({ configs }: Result, name: string): Result['configs'][number] | undefined {
  return configs.find((config) => config.name === name);
}

describe('DescribeConfigs', () => {
  it.each(versionsOf(DESCRIBE_CONFIGS))('shows settings of a topic in version %i', async (version) => {
    const { broker, client } = await kafkaLog();
    await broker.putTopic({ name: 'a', config: { 'retention.ms': 1_000 } });
    const ask = async (includeSynonyms: boolean, includeDocumentation: boolean) => {
      const { results } = await client.request(DESCRIBE_CONFIGS, version, {
        resources: [{ resourceType: TOPIC, resourceName: 'a', configurationKeys: ['retention.ms', 'segment.ms'] }],
        includeSynonyms,
        includeDocumentation,
      });
      return results;
    };
    const own = { name: 'retention.ms', value: '1000', readOnly: false, configSource: 1, isSensitive: false };
    const byDefault = { name: 'segment.ms', value: '604800000', readOnly: false, configSource: 5, isSensitive: false };
    const long = { configType: version >= 3 ? 5 : 0 };
    expect(await ask(false, false)).toEqual([
      {
        errorCode: 0,
        errorMessage: null,
        resourceType: TOPIC,
        resourceName: 'a',
        configs: [own, byDefault].map((config) => ({ ...config, synonyms: [], ...long, documentation: null })),
      },
    ]);
    const documentation = version >= 3 ? expect.stringMatching(/\w/) : null;
    expect((await ask(true, true))[0]?.configs).toEqual([
      {
        ...own,
        synonyms: [
          { name: 'retention.ms', value: '1000', source: 1 },
          { name: 'log.retention.ms', value: '604800000', source: 5 },
        ],
        ...long,
        documentation,
      },
      { ...byDefault, synonyms: [{ name: 'log.roll.ms', value: '604800000', source: 5 }], ...long, documentation },
    ]);
  });

  it('shows all settings of a topic, also for no names', async () => {
    const { broker, client } = await kafkaLog();
    await broker.putTopic({ name: 'a' });
    const all = await describeOne(client, TOPIC, 'a');
    expect(await describeOne(client, TOPIC, 'a', [])).toEqual(all);
    expect((await describeOne(client, TOPIC, 'a', ['nonsense'])).configs).toEqual([]);
    const names = all.configs.map(({ name }) => name);
    expect(names).toEqual([...names].sort());
    expect(new Set(names).size).toBe(names.length);
    expect(names).toEqual(expect.arrayContaining(['cleanup.policy', 'min.insync.replicas', 'max.message.bytes']));
    expect(Object.fromEntries(all.configs.map(({ name, configType }) => [name, configType]))).toMatchObject({
      'cleanup.policy': 7,
      'compression.type': 2,
      'max.message.bytes': 3,
      'min.cleanable.dirty.ratio': 6,
      'retention.ms': 5,
      'unclean.leader.election.enable': 1,
    });
    expect(setting(all, 'max.compaction.lag.ms')?.value).toBe('9223372036854775807');
    // What can't be changed says so.
    expect(setting(all, 'min.insync.replicas')).toMatchObject({ value: '1', readOnly: true, configSource: 5 });
    expect(setting(all, 'cleanup.policy')).toMatchObject({ readOnly: false });
  });

  it("shows the settings of this gateway under Kafka's names, which can't be changed", async () => {
    const { client } = await kafkaLog({ partitionsDefault: 3 });
    const shown = await describeOne(client, BROKER, '1');
    expect(shown.errorCode).toBe(0);
    expect(setting(shown, 'num.partitions')).toMatchObject({
      value: '3',
      configSource: 4,
      synonyms: [
        { name: 'num.partitions', value: '3', source: 4 },
        { name: 'num.partitions', value: '1', source: 5 },
      ],
    });
    expect(setting(shown, 'auto.create.topics.enable')).toMatchObject({ value: 'true', configSource: 5 });
    expect(setting(shown, 'node.id')).toMatchObject({
      value: '1',
      configSource: 4,
      synonyms: [{ name: 'node.id', value: '1', source: 4 }],
    });
    expect(setting(shown, 'log.retention.ms')).toMatchObject({ value: '604800000', configSource: 5 });
    expect(shown.configs.every(({ readOnly, isSensitive }) => readOnly && !isSensitive)).toBe(true);
    const names = shown.configs.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    expect(await describeOne(client, BROKER, '1', ['num.partitions'])).toMatchObject({ configs: [{ value: '3' }] });
    expect(await describeOne(client, BROKER, '')).toMatchObject({ errorCode: 0, configs: [] });
  });

  it('refuses what has no settings', async () => {
    const { client } = await kafkaLog();
    const { INVALID_REQUEST, INVALID_TOPIC_EXCEPTION, UNKNOWN_TOPIC_OR_PARTITION } = KAFKA_ERRORS;
    for (const [type, name, errorCode] of [
      [TOPIC, 'missing', UNKNOWN_TOPIC_OR_PARTITION],
      [TOPIC, '..', INVALID_TOPIC_EXCEPTION],
      [TOPIC, '', INVALID_TOPIC_EXCEPTION],
      [BROKER, '2', INVALID_REQUEST],
      [BROKER, 'x', INVALID_REQUEST],
      [0, 'a', INVALID_REQUEST],
      [8, '1', INVALID_REQUEST],
      [16, 'a', INVALID_REQUEST],
      [32, 'a', INVALID_REQUEST],
    ] as const)
      expect(await describeOne(client, type, name)).toEqual({
        errorCode,
        errorMessage: expect.stringMatching(/\w/),
        resourceType: type,
        resourceName: name,
        configs: [],
      });
  });
});
