import { beforeAll, describe, expect, it } from 'vitest';
import { consumerGroupHeartbeat } from '../../../../../shared/kafka/apis/members/consumer-group-heartbeat.ts';
import type { RequestOf } from '../../../../../shared/kafka/protocol/api.ts';
import { CONSUMER_GROUP_HEARTBEAT } from '../../../../../shared/kafka/protocol/messages/members/consumer-group-heartbeat.ts';
import { callOf, kafkaLog } from '../../../../support/kafka-log.ts';

type Request = RequestOf<typeof CONSUMER_GROUP_HEARTBEAT>;

const JOINING = { groupId: 'g', memberId: 'm', memberEpoch: 0, topicPartitions: [] };

// A log in memory does not wait for a module that is loaded when it is first needed.
beforeAll(() => import('re2js'));

/** A member that sends heartbeats with what it changes. */
async function withMember(joining: Partial<Request>) {
  const { broker, client } = await kafkaLog();
  const { memberEpoch } = await client.request(CONSUMER_GROUP_HEARTBEAT, 1, { ...JOINING, ...joining });
  const beat = async (change: Partial<Request>) => {
    const known = (await broker.describeGroup('g')).members[0]?.memberEpoch ?? memberEpoch;
    return client.request(CONSUMER_GROUP_HEARTBEAT, 1, { groupId: 'g', memberId: 'm', memberEpoch: known, ...change });
  };
  const subscribed = async () => {
    const [member] = (await broker.describeGroup('g')).members;
    return { topics: member?.topics, pattern: member?.topicPattern };
  };
  return { broker, beat, subscribed };
}

describe('a member of KIP-848', () => {
  it.each([
    [1, 3_000],
    [7_200_000, 3_600_000],
    [2 ** 31 - 1, 3_600_000],
  ])('joins with the rebalance timeout %i', async (rebalanceTimeoutMs) => {
    const { client } = await kafkaLog();
    const joining = { ...JOINING, rebalanceTimeoutMs, subscribedTopicNames: ['t'] };
    expect(await client.request(CONSUMER_GROUP_HEARTBEAT, 1, joining)).toMatchObject({ errorCode: 0 });
  });

  it('joins with a client id that is longer than what is kept of it', async () => {
    const { broker } = await kafkaLog();
    const call = { ...callOf(broker, 1), clientId: 'x'.repeat(300) };
    const joining = { ...CONSUMER_GROUP_HEARTBEAT.request.empty, ...JOINING, subscribedTopicNames: ['t'] };
    expect(await consumerGroupHeartbeat.handle(call, joining)).toMatchObject({ errorCode: 0 });
    expect((await broker.describeGroup('g')).members[0]?.client.clientId).toBe('x'.repeat(256));
  });

  it('joins while no topic has a name that its client looks for, and reads one that is made', async () => {
    const { broker, beat } = await withMember({ subscribedTopicNames: [] });
    await broker.putTopic({ name: 't' });
    let { errorCode, assignment } = await beat({ subscribedTopicNames: ['t'] });
    for (let i = 0; i < 50 && assignment?.topicPartitions.length === 0; i++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      ({ errorCode, assignment } = await beat({}));
    }
    expect({ errorCode, count: assignment?.topicPartitions.length }).toEqual({ errorCode: 0, count: 1 });
    expect(await beat({ subscribedTopicNames: [] })).toMatchObject({ errorCode: 0 });
  });

  it('keeps the names when it changes its pattern, and the pattern when it changes the names', async () => {
    const { beat, subscribed } = await withMember({ subscribedTopicNames: ['a'], subscribedTopicRegex: 'x.*' });
    expect(await subscribed()).toEqual({ topics: ['a'], pattern: 'x.*' });
    await beat({ subscribedTopicRegex: 'y.*' });
    expect(await subscribed()).toEqual({ topics: ['a'], pattern: 'y.*' });
    await beat({ subscribedTopicNames: ['b'] });
    expect(await subscribed()).toEqual({ topics: ['b'], pattern: 'y.*' });
    await beat({ subscribedTopicRegex: '' });
    expect(await subscribed()).toEqual({ topics: ['b'], pattern: null });
  });
});
