import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Broker } from '../../../../shared/broker/broker.ts';
import type { HeartbeatRequest } from '../../../../shared/broker/groups/membership/heartbeat-request.ts';
import type { HeartbeatResult } from '../../../../shared/log/group/heartbeat-result.ts';
import { partitionSet } from '../../../../shared/log/group/partition-set.ts';
import { memoryBroker, memoryStores } from '../../../support/memory-broker.ts';
import type { SimulatedClock } from '../../../support/simulated-clock.ts';

const SESSION_MS = 10_000;

let broker: Broker;
let clock: SimulatedClock;

// Simulated time does not wait for a module that is loaded when it is first needed.
beforeAll(() => import('re2js'));

beforeEach(async () => {
  const stores = memoryStores();
  broker = memoryBroker(stores);
  clock = stores.clock;
  for (const name of ['orders', 'returns']) await clock.run(broker.putTopic({ name, partitions: 4 }));
});

function beat(memberId: string, memberEpoch: number, more: Partial<HeartbeatRequest> = {}): Promise<HeartbeatResult> {
  const subscription = memberEpoch === 0 ? { topics: ['orders'] } : undefined;
  return clock.run(
    broker.heartbeat({ group: 'g', memberId, memberEpoch, subscription, sessionTimeoutMs: SESSION_MS, ...more }),
  );
}

/** Sends heartbeats of members in turn, each of which holds what it was told to read, until all are settled. */
async function settle(
  ...members: readonly (Partial<HeartbeatRequest> & { readonly memberId: string; readonly answer?: HeartbeatResult })[]
): Promise<HeartbeatResult[]> {
  const answers = members.map(({ answer }) => answer);
  for (let round = 0; round < 60; round++) {
    for (const [i, { memberId, answer: _, ...more }] of members.entries()) {
      const last = answers[i];
      const owned = partitionSet(
        (last?.assignment ?? []).flatMap(({ topicId, partitions }) =>
          partitions.map((each) => [topicId, each] as const),
        ),
      );
      answers[i] = await beat(memberId, last?.memberEpoch ?? 0, { ...more, owned });
    }
    if (answers.every((answer) => answer?.isSettled)) break;
    await clock.advance(600);
  }
  expect(answers.every((answer) => answer?.isSettled)).toBe(true);
  return answers as HeartbeatResult[];
}

const names = ({ assignment }: HeartbeatResult): string[] =>
  assignment.flatMap(({ topic, partitions }) => partitions.map((each) => `${topic}/${each}`)).sort();
const commit = (memberId: string, memberEpoch: number | undefined, offset: number, instanceId?: string) =>
  clock.run(
    broker.commitOffsets({
      group: 'g',
      member: { memberId, memberEpoch, instanceId },
      offsets: [{ topic: 'orders', partition: 0, offset }],
    }),
  );
const ALL_ORDERS = ['orders/0', 'orders/1', 'orders/2', 'orders/3'];

describe('a static member', () => {
  it('that leaves and comes back under another id has its partitions at once, and its predecessor cannot commit', async () => {
    const [first] = await settle({ memberId: 'a1', instanceId: 'a' }, { memberId: 'b', instanceId: 'b' });
    const had = names(first as HeartbeatResult);
    await clock.run(broker.leaveGroup({ group: 'g', memberId: 'a1', instanceId: 'a', willReturn: true }));
    const back = await beat('a2', 0, { instanceId: 'a' });
    expect(names(back)).toEqual(had);
    expect(back.memberEpoch).toBeGreaterThan((first as HeartbeatResult).memberEpoch);
    const epochs = [undefined, first?.memberEpoch, back.memberEpoch];
    for (const epoch of epochs)
      expect((await commit('a1', epoch, 1, 'a'))[0]).toMatchObject({
        ok: false,
        error: { code: 'fenced_member_epoch' },
      });
    expect(await commit('a2', back.memberEpoch, 1, 'a')).toEqual([{ ok: true }]);
    await expect(beat('a1', back.memberEpoch, { instanceId: 'a' })).rejects.toMatchObject({
      code: 'fenced_member_epoch',
    });
  });

  it('cannot be joined by another one while it is there, but after its session', async () => {
    await settle({ memberId: 'a1', instanceId: 'a' });
    await expect(beat('a2', 0, { instanceId: 'a' })).rejects.toMatchObject({
      code: 'instance_in_use',
      details: { instanceId: 'a' },
    });
    await clock.advance(SESSION_MS + 2_001);
    expect(names(await beat('a2', 0, { instanceId: 'a' }))).toEqual(ALL_ORDERS);
  });

  it('that is away is not a member for heartbeats, and loses its partitions when its session ends', async () => {
    const [away, other] = await settle({ memberId: 'a1', instanceId: 'a' }, { memberId: 'b' });
    await clock.run(broker.leaveGroup({ group: 'g', memberId: 'a1', instanceId: 'a', willReturn: true }));
    await clock.advance(SESSION_MS - 1_000);
    // It does not make the session longer either.
    await expect(beat('a1', away?.memberEpoch as number, { instanceId: 'a' })).rejects.toMatchObject({
      code: 'unknown_member',
    });
    const [kept] = await settle({ memberId: 'b', answer: other as HeartbeatResult });
    expect(names(kept as HeartbeatResult)).toHaveLength(2);
    await clock.advance(4_000);
    let answer = kept as HeartbeatResult;
    for (let i = 0; i < 8 && names(answer).length < 4; i++) {
      answer = await beat('b', answer.memberEpoch);
      await clock.advance(600);
    }
    expect(names(answer)).toEqual(ALL_ORDERS);
  });
});

describe('a member that leaves', () => {
  it('makes the group compute a new target at once', async () => {
    await settle({ memberId: 'a' }, { memberId: 'b' });
    const { epoch } = await clock.run(broker.describeGroup('g'));
    await clock.run(broker.leaveGroup({ group: 'g', memberId: 'a' }));
    expect(await clock.run(broker.describeGroup('g'))).toMatchObject({ epoch: epoch + 1, state: 'computing' });
    await expect(clock.run(broker.leaveGroup({ group: 'g', memberId: 'a' }))).rejects.toMatchObject({
      code: 'unknown_member',
    });
  });
});

it('rejects to leave for a while without an instance id', async () => {
  const [a] = await settle({ memberId: 'a' });
  await expect(clock.run(broker.leaveGroup({ group: 'g', memberId: 'a', willReturn: true }))).rejects.toMatchObject({
    code: 'invalid_request',
    details: { field: 'willReturn' },
  });
  expect(await beat('a', a?.memberEpoch as number)).toMatchObject({ isSettled: true });
});

describe('a heartbeat', () => {
  it('of an epoch that the group has not given is fenced', async () => {
    const [a] = await settle({ memberId: 'a' });
    await expect(beat('a', (a?.memberEpoch as number) + 1)).rejects.toMatchObject({ code: 'fenced_member_epoch' });
  });

  it('of a member that the group does not know says so', async () => {
    await expect(beat('nobody', 3)).rejects.toMatchObject({ code: 'unknown_member' });
  });

  it('of an earlier epoch lets go of nothing, and repeats the answer', async () => {
    const [a] = await settle({ memberId: 'a' });
    const again = await beat('a', 1, { owned: partitionSet([]) });
    expect(again).toMatchObject({ memberEpoch: a?.memberEpoch, assignment: a?.assignment });
  });

  it('that joins twice is one member, with what it has', async () => {
    const [a] = await settle({ memberId: 'a' });
    const again = await beat('a', 0);
    expect(again).toMatchObject({ memberEpoch: a?.memberEpoch, assignment: a?.assignment });
  });

  it('gives a member that joins again after its end a higher epoch', async () => {
    const [a] = await settle({ memberId: 'a' });
    await clock.run(broker.leaveGroup({ group: 'g', memberId: 'a' }));
    expect((await beat('a', 0)).memberEpoch).toBeGreaterThan(a?.memberEpoch as number);
  });

  it('changes what the member subscribes to', async () => {
    const [a] = await settle({ memberId: 'a' });
    const both = { topics: ['orders', 'returns'] };
    const [more] = await settle({ memberId: 'a', subscription: both, answer: a as HeartbeatResult });
    expect(names(more as HeartbeatResult)).toHaveLength(8);
    const [less] = await settle({
      memberId: 'a',
      subscription: { topics: ['returns'] },
      answer: more as HeartbeatResult,
    });
    expect(names(less as HeartbeatResult)).toEqual(names(more as HeartbeatResult).slice(4));
  });

  it('finds the topics of a pattern, also those that are made later', async () => {
    const subscription = { topics: [], pattern: 'or.*|later' };
    const [a] = await settle({ memberId: 'a', subscription });
    expect(names(a as HeartbeatResult)).toEqual(ALL_ORDERS);
    await clock.run(broker.putTopic({ name: 'later', partitions: 1 }));
    await clock.advance(6_000);
    await beat('a', a?.memberEpoch as number);
    const [more] = await settle({ memberId: 'a', answer: a as HeartbeatResult });
    expect(names(more as HeartbeatResult)).toEqual(['later/0', ...ALL_ORDERS]);
  });

  it('leaves a topic that was deleted', async () => {
    const subscription = { topics: ['orders', 'returns'] };
    const [a] = await settle({ memberId: 'a', subscription });
    await clock.run(broker.deleteTopic('returns'));
    await clock.advance(6_000);
    await beat('a', a?.memberEpoch as number);
    const [less] = await settle({ memberId: 'a', answer: a as HeartbeatResult });
    expect(names(less as HeartbeatResult)).toEqual(ALL_ORDERS);
  });

  it('is not heard of a member that kept a partition for longer than its rebalance timeout', async () => {
    const [a] = await settle({ memberId: 'a', rebalanceTimeoutMs: 5_000, sessionTimeoutMs: 60_000 });
    let [answer, b] = [a as HeartbeatResult, await beat('b', 0, { sessionTimeoutMs: 60_000 })];
    let error: unknown;
    for (let i = 0; i < 40 && error === undefined; i++) {
      // It says nothing of what it holds, so it holds all that it was ever told to read.
      answer = await beat('a', answer.memberEpoch).catch((thrown: unknown) => {
        error = thrown;
        return answer;
      });
      b = await beat('b', b.memberEpoch);
      await clock.advance(600);
    }
    expect(error).toMatchObject({ code: 'unknown_member' });
    for (let i = 0; i < 20 && names(b).length < 4; i++) {
      b = await beat('b', b.memberEpoch);
      await clock.advance(600);
    }
    expect(names(b)).toEqual(ALL_ORDERS);
  });

  it.each([
    [{ memberId: '' }, 'memberId'],
    [{ group: 'a\nb' }, 'group'],
    [{ memberEpoch: -1 }, 'memberEpoch'],
    [{ instanceId: 'x'.repeat(256) }, 'instanceId'],
    [{ subscription: undefined }, 'topics'],
    [{ sessionTimeoutMs: 2_999 }, 'sessionTimeoutMs'],
    [{ rebalanceTimeoutMs: 3_600_001 }, 'rebalanceTimeoutMs'],
    [{ subscription: { topics: [], pattern: '(' } }, 'topicPattern'],
    [{ client: { clientId: 'x'.repeat(257) } }, 'clientId'],
  ] as const)('with %j is rejected, and names %s', async (more, field) => {
    await expect(beat('a', 0, more as Partial<HeartbeatRequest>)).rejects.toMatchObject({
      code: 'invalid_request',
      details: { field },
    });
    await expect(clock.run(broker.describeGroup('g'))).rejects.toMatchObject({ code: 'unknown_group' });
  });
});
