import { describe, expect, it } from 'vitest';
import { KAFKA_ERRORS } from '../../../../../shared/kafka/error-codes.ts';
import { INCREMENTAL_ALTER_CONFIGS } from '../../../../../shared/kafka/protocol/messages/topics/incremental-alter-configs.ts';
import { KafkaClient } from '../../../../support/kafka-client.ts';
import { kafkaLog, versionsOf } from '../../../../support/kafka-log.ts';
import { codeOf } from '../../../../support/memory-broker.ts';
import { ownSettings } from '../../../../support/own-settings.ts';

const NEWEST = 1;
const TOPIC = 2;
const SET = 0;
const DELETE = 1;
const APPEND = 2;
const SUBTRACT = 3;
const { INVALID_CONFIG, INVALID_REQUEST, INVALID_TOPIC_EXCEPTION, UNKNOWN_TOPIC_OR_PARTITION } = KAFKA_ERRORS;

type Change = readonly [name: string, configOperation: number, value: string | null];

async function alter(
  client: KafkaClient,
  changes: readonly Change[],
  { type = TOPIC, name = 'a', validateOnly = false, version = NEWEST } = {},
): Promise<number> {
  const configs = changes.map(([setting, configOperation, value]) => ({ name: setting, configOperation, value }));
  const { responses } = await client.request(INCREMENTAL_ALTER_CONFIGS, version, {
    resources: [{ resourceType: type, resourceName: name, configs }],
    validateOnly,
  });
  expect(responses).toHaveLength(1);
  expect(responses[0]).toMatchObject({ resourceType: type, resourceName: name });
  expect(responses[0]?.errorMessage).toEqual(responses[0]?.errorCode === 0 ? null : expect.stringMatching(/\w/));
  return responses[0]?.errorCode as number;
}

describe('IncrementalAlterConfigs', () => {
  it.each(versionsOf(INCREMENTAL_ALTER_CONFIGS))('changes single settings in version %i', async (version) => {
    const { broker, client } = await kafkaLog();
    await broker.putTopic({ name: 'a', config: { 'retention.ms': 7, 'segment.ms': 8, 'retention.bytes': 9 } });
    const changes: Change[] = [
      ['retention.ms', SET, '70'],
      ['segment.ms', DELETE, null],
      ['cleanup.policy', APPEND, 'compact'],
      ['min.insync.replicas', SET, '2'],
      ['flush.ms', DELETE, 'whatever'],
    ];
    expect(await alter(client, changes, { version })).toBe(0);
    expect(await ownSettings(broker, 'a')).toEqual({
      'retention.ms': 70,
      'retention.bytes': 9,
      'cleanup.policy': 'delete,compact',
    });
  });

  it('adds to lists and takes from them', async () => {
    const { broker, client } = await kafkaLog();
    await broker.putTopic({ name: 'a' });
    const policy = async (operation: number, value: string) => {
      const errorCode = await alter(client, [['cleanup.policy', operation, value]]);
      return errorCode === 0 ? (await ownSettings(broker, 'a'))['cleanup.policy'] : errorCode;
    };
    expect(await policy(APPEND, 'delete')).toBe('delete');
    expect(await policy(APPEND, ' compact')).toBe('delete,compact');
    expect(await policy(APPEND, 'nonsense')).toBe(INVALID_CONFIG);
    expect(await policy(SUBTRACT, 'nonsense')).toBe('delete,compact');
    expect(await policy(SUBTRACT, 'delete')).toBe('compact');
    expect(await policy(SUBTRACT, 'compact')).toBe(INVALID_CONFIG);
    expect(await policy(SET, 'delete')).toBe('delete');
    expect(await alter(client, [['leader.replication.throttled.replicas', APPEND, '0:1']])).toBe(0);
  });

  it('changes nothing if one change is wrong, or if it is only to check', async () => {
    const { broker, client } = await kafkaLog();
    await broker.putTopic({ name: 'a', config: { 'retention.ms': 7 } });
    const good: Change = ['retention.bytes', SET, '5'];
    const wrong: readonly (readonly [Change, number])[] = [
      [['nonsense', SET, '1'], INVALID_CONFIG],
      [['nonsense', APPEND, '1'], INVALID_CONFIG],
      [['segment.ms', SET, 'x'], INVALID_CONFIG],
      [['segment.ms', APPEND, '1'], INVALID_CONFIG],
      [['compression.type', SUBTRACT, 'producer'], INVALID_CONFIG],
      [['segment.ms', SET, null], INVALID_REQUEST],
      [['cleanup.policy', APPEND, null], INVALID_REQUEST],
      [['segment.ms', 4, '1'], INVALID_REQUEST],
      [['segment.ms', -1, '1'], INVALID_REQUEST],
      [['retention.bytes', SET, '6'], INVALID_REQUEST],
    ];
    for (const [change, errorCode] of wrong)
      for (const validateOnly of [false, true])
        expect(await alter(client, [good, change], { validateOnly }), change.join(' ')).toBe(errorCode);
    expect(await alter(client, [good], { validateOnly: true })).toBe(0);
    expect(await ownSettings(broker, 'a')).toEqual({ 'retention.ms': 7 });
  });

  it('refuses everything but topics that are there, and what is named twice', async () => {
    const { broker, client } = await kafkaLog();
    await broker.putTopic({ name: 'a' });
    for (const type of [0, 4, 8, 16, 32])
      expect(await alter(client, [['num.partitions', SET, '3']], { type, name: '' })).toBe(INVALID_REQUEST);
    expect(await alter(client, [], { name: '..' })).toBe(INVALID_TOPIC_EXCEPTION);
    for (const validateOnly of [false, true])
      expect(await alter(client, [], { name: 'missing', validateOnly })).toBe(UNKNOWN_TOPIC_OR_PARTITION);
    expect(await codeOf(broker.describeTopic('missing'))).toBe('unknown_topic');
    const configs = [{ name: 'segment.ms', configOperation: SET, value: '9' }];
    const twice = { resourceType: TOPIC, resourceName: 'a', configs };
    const { responses } = await client.request(INCREMENTAL_ALTER_CONFIGS, NEWEST, {
      resources: [twice, twice],
      validateOnly: false,
    });
    expect(responses.map(({ errorCode }) => errorCode)).toEqual([INVALID_REQUEST, INVALID_REQUEST]);
    expect(await ownSettings(broker, 'a')).toEqual({});
  });

  it('loses no change of two at the same time', async () => {
    const { log, broker, client } = await kafkaLog();
    const other = await KafkaClient.connect(log.bootstrapServers as string);
    for (let i = 0; i < 5; i++) {
      await broker.putTopic({ name: `t${i}` });
      const name = `t${i}`;
      await Promise.all([
        alter(client, [['retention.ms', SET, '5']], { name }),
        alter(other, [['cleanup.policy', APPEND, 'compact']], { name }),
      ]);
      expect(await ownSettings(broker, name)).toEqual({ 'retention.ms': 5, 'cleanup.policy': 'delete,compact' });
    }
    other.close();
  });
});
