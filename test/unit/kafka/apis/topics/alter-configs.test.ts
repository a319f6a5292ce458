import { describe, expect, it } from 'vitest';
import { KAFKA_ERRORS } from '../../../../../shared/kafka/error-codes.ts';
import { ALTER_CONFIGS } from '../../../../../shared/kafka/protocol/messages/topics/alter-configs.ts';
import type { KafkaClient } from '../../../../support/kafka-client.ts';
import { kafkaLog, versionsOf } from '../../../../support/kafka-log.ts';
import { codeOf } from '../../../../support/memory-broker.ts';
import { ownSettings } from '../../../../support/own-settings.ts';

const NEWEST = 2;
const TOPIC = 2;
const { INVALID_CONFIG, INVALID_REQUEST, INVALID_TOPIC_EXCEPTION, UNKNOWN_TOPIC_OR_PARTITION } = KAFKA_ERRORS;

async function alter(
  client: KafkaClient,
  resourceType: number,
  resourceName: string,
  settings: readonly (readonly [string, string | null])[],
  validateOnly = false,
): Promise<number> {
  const configs = settings.map(([name, value]) => ({ name, value }));
  const { responses } = await client.request(ALTER_CONFIGS, NEWEST, {
    resources: [{ resourceType, resourceName, configs }],
    validateOnly,
  });
  expect(responses).toHaveLength(1);
  expect(responses[0]).toMatchObject({ resourceType, resourceName });
  expect(responses[0]?.errorMessage).toEqual(responses[0]?.errorCode === 0 ? null : expect.stringMatching(/\w/));
  return responses[0]?.errorCode as number;
}

describe('AlterConfigs', () => {
  it.each(versionsOf(ALTER_CONFIGS))('replaces all settings of a topic in version %i', async (version) => {
    const { broker, client } = await kafkaLog();
    await broker.putTopic({ name: 'a', partitions: 3, config: { 'retention.ms': 7, 'segment.ms': 8 } });
    const { responses } = await client.request(ALTER_CONFIGS, version, {
      resources: [
        { resourceType: TOPIC, resourceName: 'a', configs: [{ name: 'segment.ms', value: '9' }] },
        { resourceType: TOPIC, resourceName: 'missing', configs: [] },
      ],
      validateOnly: false,
    });
    expect(responses).toEqual([
      { errorCode: 0, errorMessage: null, resourceType: TOPIC, resourceName: 'a' },
      {
        errorCode: UNKNOWN_TOPIC_OR_PARTITION,
        errorMessage: expect.stringContaining('missing'),
        resourceType: TOPIC,
        resourceName: 'missing',
      },
    ]);
    expect(await ownSettings(broker, 'a')).toEqual({ 'segment.ms': 9 });
    expect((await broker.describeTopic('a')).partitions).toBe(3);
    expect(await codeOf(broker.describeTopic('missing'))).toBe('unknown_topic');
  });

  it('changes nothing if one setting is wrong, or if it is only to check', async () => {
    const { broker, client } = await kafkaLog();
    await broker.putTopic({ name: 'a', config: { 'retention.ms': 7 } });
    const good = ['segment.ms', '9'] as const;
    for (const [wrong, errorCode] of [
      [['nonsense', '1'], INVALID_CONFIG],
      [['retention.bytes', 'many'], INVALID_CONFIG],
      [['min.insync.replicas', 'many'], INVALID_CONFIG],
      [['retention.bytes', null], INVALID_REQUEST],
      [['segment.ms', '10'], INVALID_REQUEST],
    ] as const)
      expect(await alter(client, TOPIC, 'a', [good, wrong]), wrong[0]).toBe(errorCode);
    expect(await alter(client, TOPIC, 'a', [good], true)).toBe(0);
    expect(await alter(client, TOPIC, 'a', [['segment.ms', '0']], true)).toBe(INVALID_CONFIG);
    expect(await ownSettings(broker, 'a')).toEqual({ 'retention.ms': 7 });
    expect(await alter(client, TOPIC, 'a', [])).toBe(0);
    expect(await ownSettings(broker, 'a')).toEqual({});
  });

  it('refuses everything but topics, and what is named twice', async () => {
    const { broker, client } = await kafkaLog();
    await broker.putTopic({ name: 'a' });
    for (const type of [0, 4, 8, 16, 32])
      expect(await alter(client, type, '1', [['num.partitions', '3']])).toBe(INVALID_REQUEST);
    expect(await alter(client, TOPIC, '..', [])).toBe(INVALID_TOPIC_EXCEPTION);
    const twice = { resourceType: TOPIC, resourceName: 'a', configs: [{ name: 'segment.ms', value: '9' }] };
    const { responses } = await client.request(ALTER_CONFIGS, NEWEST, {
      resources: [twice, twice],
      validateOnly: false,
    });
    expect(responses.map(({ errorCode }) => errorCode)).toEqual([INVALID_REQUEST, INVALID_REQUEST]);
    expect(await ownSettings(broker, 'a')).toEqual({});
  });
});
