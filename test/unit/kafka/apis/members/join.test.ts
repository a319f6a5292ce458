import { setTimeout } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { CONSUMER_GROUP_HEARTBEAT } from '../../../../../shared/kafka/protocol/messages/members/consumer-group-heartbeat.ts';
import { JOIN_GROUP } from '../../../../../shared/kafka/protocol/messages/members/join-group.ts';
import { LEAVE_GROUP } from '../../../../../shared/kafka/protocol/messages/members/leave-group.ts';
import { subscriptionBytes } from '../../../../support/classic-world.ts';
import { kafkaLog } from '../../../../support/kafka-log.ts';

describe('a member that joins', () => {
  it('of a classic group is known by its instance id, to its leader too, and gets its place back under it', async () => {
    const { client } = await kafkaLog({});
    const join = (groupInstanceId: string | null, memberId = '') =>
      client.request(JOIN_GROUP, 5, {
        ...{ groupId: 'g', memberId, groupInstanceId, sessionTimeoutMs: 10_000, rebalanceTimeoutMs: 10_000 },
        ...{ protocolType: 'consumer', protocols: [{ name: 'range', metadata: subscriptionBytes(['t']) }] },
      });
    const first = await join('instance');
    expect(first).toMatchObject({
      errorCode: 0,
      leader: first.memberId,
      members: [{ memberId: first.memberId, groupInstanceId: 'instance' }],
    });
    // A restarted instance remembers no member id.
    const again = await join('instance');
    expect(again).toMatchObject({ errorCode: 0, members: [{ groupInstanceId: 'instance' }] });
    expect(again.memberId).not.toBe(first.memberId);
    const members = [{ memberId: again.memberId, groupInstanceId: 'instance' }];
    expect(await client.request(LEAVE_GROUP, 3, { groupId: 'g', memberId: '', members })).toMatchObject({
      errorCode: 0,
      members: [{ ...members[0], errorCode: 0 }],
    });
    const dynamic = await client.request(JOIN_GROUP, 3, {
      ...{ groupId: 'g', memberId: '', sessionTimeoutMs: 10_000, rebalanceTimeoutMs: 10_000 },
      ...{ protocolType: 'consumer', protocols: [{ name: 'range', metadata: subscriptionBytes(['t']) }] },
    });
    expect(dynamic).toMatchObject({ errorCode: 0, members: [{ memberId: dynamic.memberId }] });
  });

  it('of KIP-848 is told how often to send a heartbeat: several times in a session', async () => {
    for (const [groupConsumerSessionTimeoutMs, expected] of [
      [45_000, 5_000],
      [6_000, 2_000],
    ] as const) {
      const { broker, client } = await kafkaLog({ groupConsumerSessionTimeoutMs });
      await broker.putTopic({ name: 't' });
      const intervals: number[] = [];
      for (let memberEpoch = 0, isSettled = false; !isSettled; ) {
        const answer = await client.request(CONSUMER_GROUP_HEARTBEAT, 1, {
          ...{ groupId: 'g', memberId: 'm', memberEpoch, subscribedTopicNames: ['t'] },
          topicPartitions: memberEpoch === 0 ? [] : null,
        });
        expect(answer.errorCode).toBe(0);
        memberEpoch = answer.memberEpoch;
        intervals.push(answer.heartbeatIntervalMs);
        isSettled = answer.heartbeatIntervalMs >= expected;
        if (!isSettled) await setTimeout(answer.heartbeatIntervalMs);
      }
      // While something is to be done for it, it comes again sooner.
      expect(intervals.at(-1)).toBe(expected);
      expect(Math.max(...intervals)).toBe(expected);
    }
  });
});
