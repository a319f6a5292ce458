import { describe, expect, it } from 'vitest';
import { KAFKA_ERRORS } from '../../../../../shared/kafka/error-codes.ts';
import { CONSUMER_GROUP_HEARTBEAT } from '../../../../../shared/kafka/protocol/messages/members/consumer-group-heartbeat.ts';
import { JOIN_GROUP } from '../../../../../shared/kafka/protocol/messages/members/join-group.ts';
import type { KafkaOptions } from '../../../../../shared/local/kafka.ts';
import { startTailrace } from '../../../../../shared/local/start.ts';
import { subscriptionBytes } from '../../../../support/classic-world.ts';
import { kafkaLog } from '../../../../support/kafka-log.ts';

/** The newest version whose members need no id to join. */
const JOIN_VERSION = 3;
const { NONE, INVALID_SESSION_TIMEOUT, INCONSISTENT_GROUP_PROTOCOL } = KAFKA_ERRORS;

async function join(kafka: KafkaOptions, sessionTimeoutMs: number): Promise<number> {
  const { client } = await kafkaLog(kafka);
  const { errorCode } = await client.request(JOIN_GROUP, JOIN_VERSION, {
    ...{ groupId: 'g', memberId: '', sessionTimeoutMs, rebalanceTimeoutMs: 1_000 },
    ...{ protocolType: 'consumer', protocols: [{ name: 'range', metadata: Buffer.of(1) }] },
  });
  return errorCode;
}

async function consumerSession(kafka: KafkaOptions): Promise<number | undefined> {
  const { broker, client } = await kafkaLog(kafka);
  await broker.putTopic({ name: 't' });
  const joining = { groupId: 'g', memberId: 'm', memberEpoch: 0, subscribedTopicNames: ['t'], topicPartitions: [] };
  expect((await client.request(CONSUMER_GROUP_HEARTBEAT, 1, joining)).errorCode).toBe(NONE);
  return (await broker.describeGroup('g')).members[0]?.sessionTimeoutMs;
}

describe('the migration policy', () => {
  it('is the one that was given at the start', async () => {
    const upgraded = async (kafka: KafkaOptions): Promise<number> => {
      const { broker, client } = await kafkaLog(kafka);
      await broker.putTopic({ name: 't' });
      const metadata = subscriptionBytes(['t']);
      const asked = { groupId: 'g', sessionTimeoutMs: 10_000, rebalanceTimeoutMs: 10_000, protocolType: 'consumer' };
      const protocols = [{ name: 'range', metadata }];
      await client.request(JOIN_GROUP, JOIN_VERSION, { ...asked, memberId: '', protocols });
      const joining = { groupId: 'g', memberId: 'm', memberEpoch: 0, subscribedTopicNames: ['t'], topicPartitions: [] };
      return (await client.request(CONSUMER_GROUP_HEARTBEAT, 1, joining)).errorCode;
    };
    expect(await upgraded({})).toBe(NONE);
    expect(await upgraded({ groupMigrationPolicy: 'upgrade' })).toBe(NONE);
    expect(await upgraded({ groupMigrationPolicy: 'disabled' })).toBe(INCONSISTENT_GROUP_PROTOCOL);
  });

  it('is refused at the start if there is no such policy', async () => {
    const kafka = { groupMigrationPolicy: 'sideways' as never };
    await expect(startTailrace({ memory: true, kafka })).rejects.toMatchObject({
      ...{ code: 'invalid_request', details: { field: 'kafka.groupMigrationPolicy' } },
    });
  });
});

describe('sessions', () => {
  it.each([
    [{}, 6_000],
    [{ groupMinSessionTimeoutMs: 3_000 }, 3_000],
    [{ groupMinSessionTimeoutMs: 10_000 }, 10_000],
  ])('of a classic group are no shorter than the gateway allows, with %o', async (kafka, shortest) => {
    expect(await join(kafka, shortest)).toBe(NONE);
    expect(await join(kafka, shortest - 1)).toBe(INVALID_SESSION_TIMEOUT);
  });

  it('of KIP-848 groups are as long as the gateway says', async () => {
    expect(await consumerSession({})).toBe(45_000);
    expect(await consumerSession({ groupConsumerSessionTimeoutMs: 3_000 })).toBe(3_000);
  });

  it.each(['groupConsumerSessionTimeoutMs', 'groupMinSessionTimeoutMs'] as const)(
    'are refused at the start where %s is out of bounds',
    async (name) => {
      for (const ms of [2_999, 1_800_001, 3_000.5])
        await expect(startTailrace({ memory: true, kafka: { [name]: ms } })).rejects.toMatchObject({
          code: 'invalid_request',
          details: { field: `kafka.${name}` },
        });
    },
  );
});
