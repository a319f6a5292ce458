import { beforeEach, describe, expect, it } from 'vitest';
import type { Broker } from '../../../../../shared/broker/broker.ts';
import type { CommitOutcome } from '../../../../../shared/broker/groups/offsets/commit-page.ts';
import { assignmentOf, GROUP, joinRequest, partitionNames, settle } from '../../../../support/classic-world.ts';
import { happeningBefore } from '../../../../support/group-world.ts';
import { bytes, codeOf, memoryBroker, memoryStores } from '../../../../support/memory-broker.ts';
import type { SimulatedClock } from '../../../../support/simulated-clock.ts';

let stores: ReturnType<typeof memoryStores>;
let broker: Broker;
let other: Broker;
let clock: SimulatedClock;

beforeEach(async () => {
  stores = memoryStores();
  ({ clock } = stores);
  broker = memoryBroker(stores);
  other = memoryBroker(stores);
  await clock.run(broker.putTopic({ name: 'orders', partitions: 4 }));
});

const codeOfOutcome = (outcome: CommitOutcome | undefined): string =>
  outcome?.ok === true ? 'ok' : (outcome?.error.code ?? 'none');
const sync = (memberId: string, generation: number, more: Record<string, unknown> = {}, at = broker) =>
  at.syncClassicGroup({ group: GROUP, memberId, generation, assignments: [], ...more });
const beat = (memberId: string, generation: number, instanceId?: string) =>
  clock.run(codeOf(broker.heartbeatClassicGroup({ group: GROUP, memberId, generation, instanceId })));
const joinAll = (...memberIds: string[]) =>
  clock.run(Promise.all(memberIds.map((memberId) => broker.joinClassicGroup(joinRequest(memberId)))));
/** Two members, the first of which leads. */
async function twoMembers(): Promise<{ generation: number; leader: string; follower: string }> {
  const [a, b] = await joinAll('a', 'b');
  const leader = (a?.members.length ?? 0) > 0 ? a : b;
  return {
    generation: leader?.generation as number,
    leader: leader?.memberId as string,
    follower: leader === a ? 'b' : 'a',
  };
}

describe('a heartbeat', () => {
  it('tells a member of the generation that it is one, and nobody else', async () => {
    const { generation, leader, follower } = await twoMembers();
    expect(await beat(follower, generation)).toBe(undefined);
    await clock.run(sync(leader, generation));
    expect(await beat(follower, generation)).toBe(undefined);
    expect(await beat(follower, generation - 1)).toBe('illegal_generation');
    expect(await beat(follower, generation + 1)).toBe('illegal_generation');
    expect(await beat('nobody', generation)).toBe('unknown_member');
    expect(await clock.run(codeOf(broker.heartbeatClassicGroup({ group: 'x', memberId: 'a', generation })))).toBe(
      'unknown_member',
    );
  });

  it('ends members whose sessions have ended, and keeps its own', async () => {
    const { joined } = await clock.run(settle(broker, [joinRequest('a'), joinRequest('b'), joinRequest('c')]));
    const generation = joined[0]?.generation as number;
    const answers: unknown[] = [];
    for (let i = 0; i < 6; i++) {
      await clock.advance(3_000);
      answers.push(await beat('b', generation));
    }
    expect(answers.indexOf('rebalance_in_progress')).toBeGreaterThanOrEqual(4);
    const [alone] = await joinAll('b');
    expect(alone?.members.map(({ memberId }) => memberId)).toEqual(['b']);
    expect(await beat('a', generation)).toBe('unknown_member');
  });

  it('begins the round for a member that has left, if the process that ended it has died', async () => {
    const { joined } = await clock.run(settle(broker, [joinRequest('a'), joinRequest('b')]));
    const generation = joined[0]?.generation as number;
    const dying = memoryBroker(
      happeningBefore(
        stores,
        (request, key) => request === 'getItem' && key.startsWith('group#'),
        () => new Promise(() => {}),
      ),
    );
    void dying.leaveClassicGroup({ group: GROUP, members: [{ memberId: 'b' }] });
    await clock.advance(100);
    expect(await clock.run(broker.describeClassicGroup(GROUP))).toMatchObject({ state: 'Stable' });
    await clock.advance(5_000);
    expect(await beat('a', generation)).toBe('rebalance_in_progress');
  });

  it('finds a dead member behind many that have left', async () => {
    const ids = Array.from({ length: 30 }, (_, i) => `m${i.toString().padStart(2, '0')}`);
    await clock.run(
      settle(
        broker,
        ids.map((id) => joinRequest(id)),
      ),
    );
    const leaving = ids.slice(1, -1).map((memberId) => ({ memberId }));
    await clock.run(broker.leaveClassicGroup({ group: GROUP, members: leaving }));
    const { joined } = await clock.run(settle(broker, [joinRequest('m00'), joinRequest('m29')]));
    const generation = joined[0]?.generation as number;
    const answers: unknown[] = [];
    for (let i = 0; i < 6; i++) {
      await clock.advance(3_000);
      answers.push(await beat('m00', generation));
    }
    expect(answers.at(-1)).toBe('rebalance_in_progress');
  });
});

describe('members that leave', () => {
  it('are no members any more, one by one', async () => {
    const { generation, leader, follower } = await twoMembers();
    const [first, second, third] = await clock.run(
      broker.leaveClassicGroup({
        group: GROUP,
        members: [{ memberId: follower }, { memberId: 'nobody' }, { memberId: follower }],
      }),
    );
    expect([first, second, third].map(codeOfOutcome)).toEqual(['ok', 'unknown_member', 'unknown_member']);
    expect(await beat(follower, generation)).toBe('unknown_member');
    expect(await beat(leader, generation)).toBe('rebalance_in_progress');
  });

  it('leave an empty group, in which the next one waits for others', async () => {
    const { joined } = await clock.run(settle(broker, [joinRequest('a'), joinRequest('b')]));
    const generation = joined[0]?.generation as number;
    await clock.run(broker.leaveClassicGroup({ group: GROUP, members: [{ memberId: 'a' }, { memberId: 'b' }] }));
    expect(await clock.run(broker.describeClassicGroup(GROUP))).toMatchObject({
      state: 'Empty',
      generation: generation + 1,
      protocolType: 'consumer',
      protocol: '',
      members: [],
    });
    const startMs = clock.nowMs();
    const [next] = await joinAll('c');
    expect(next?.generation).toBe(generation + 2);
    expect(clock.nowMs() - startMs).toBeGreaterThanOrEqual(3_000);
  });

  it('do not hold up the others that wait for them', async () => {
    await clock.run(settle(broker, [joinRequest('a'), joinRequest('b')]));
    const third = other.joinClassicGroup(joinRequest('c'));
    const first = other.joinClassicGroup(joinRequest('a'));
    await clock.advance(1_000);
    const startMs = clock.nowMs();
    await clock.run(broker.leaveClassicGroup({ group: GROUP, members: [{ memberId: 'b' }] }));
    const [a, c] = await clock.run(Promise.all([first, third]));
    expect(clock.nowMs() - startMs).toBeLessThan(1_000);
    expect(a.members.length + c.members.length).toBe(2);
  });

  it('can be named by the instance id, or by the member id alone', async () => {
    const requests = [joinRequest('', { instanceId: 'x' }), joinRequest('', { instanceId: 'y' }), joinRequest('a')];
    const { joined } = await clock.run(settle(broker, requests));
    const outcomes = await clock.run(
      broker.leaveClassicGroup({
        group: GROUP,
        members: [
          { memberId: 'wrong', instanceId: 'x' },
          { memberId: '', instanceId: 'x' },
          { memberId: joined[1]?.memberId as string },
        ],
      }),
    );
    expect(outcomes.map(codeOfOutcome)).toEqual(['fenced_instance_id', 'ok', 'ok']);
    expect((await clock.run(broker.describeClassicGroup(GROUP))).members.map(({ memberId }) => memberId)).toEqual([
      'a',
    ]);
    await expect(broker.leaveClassicGroup({ group: GROUP, members: [{ memberId: '' }] })).rejects.toMatchObject({
      code: 'invalid_request',
    });
  });
});

describe('descriptions', () => {
  it('show the members with what they said and got', async () => {
    const client = { clientId: 'app', clientHost: '/10.0.0.1' };
    const { joined, assigned } = await clock.run(settle(broker, [joinRequest('a', client)]));
    expect(assigned[0]).toHaveLength(4);
    expect(await clock.run(other.describeClassicGroup(GROUP))).toEqual({
      group: GROUP,
      state: 'Stable',
      generation: joined[0]?.generation,
      protocolType: 'consumer',
      protocol: 'range',
      members: [
        {
          memberId: 'a',
          instanceId: undefined,
          ...client,
          metadata: bytes('metadata'),
          assignment: assignmentOf({ orders: [0, 1, 2, 3] }),
        },
      ],
    });
    await clock.advance(13_000);
    expect(await clock.run(other.describeClassicGroup(GROUP))).toMatchObject({ state: 'Empty', members: [] });
    expect(await clock.run(other.describeClassicGroup('none'))).toMatchObject({ state: 'Dead', members: [] });
  });

  it('list the groups with their types', async () => {
    await clock.run(settle(broker, [joinRequest('a')]));
    await clock.run(
      broker.heartbeat({ group: 'k', memberId: 'm', memberEpoch: 0, subscription: { topics: ['orders'] } }),
    );
    expect(await clock.run(other.listGroupStates())).toEqual({
      items: [
        { group: GROUP, type: 'classic', state: 'Stable', protocolType: 'consumer' },
        { group: 'k', type: 'consumer', state: 'computing', protocolType: 'consumer' },
      ],
    });
  });
});

describe('deleting a group', () => {
  it('needs a group without live members, and its generations go on', async () => {
    const { joined } = await clock.run(settle(broker, [joinRequest('a')]));
    const generation = joined[0]?.generation as number;
    expect(await clock.run(codeOf(broker.deleteGroup(GROUP)))).toBe('group_not_empty');
    await clock.run(broker.leaveClassicGroup({ group: GROUP, members: [{ memberId: 'a' }] }));
    await clock.run(broker.deleteGroup(GROUP));
    expect(await clock.run(broker.describeClassicGroup(GROUP))).toMatchObject({ state: 'Dead' });
    expect(await clock.run(broker.listGroupStates())).toEqual({ items: [] });
    const again = await clock.run(settle(broker, [joinRequest('b')]));
    expect(again.joined[0]?.generation).toBeGreaterThan(generation);
    expect(await clock.run(broker.listGroups())).toEqual({ items: [{ group: GROUP }] });
  });

  it('does not delete a group that a member makes again meanwhile', async () => {
    await clock.run(settle(broker, [joinRequest('a')]));
    await clock.run(broker.leaveClassicGroup({ group: GROUP, members: [{ memberId: 'a' }] }));
    let waiting: Promise<unknown> | undefined;
    const deleting = memoryBroker(
      happeningBefore(
        stores,
        (request, key) => request === 'updateItem' && key.startsWith('group#'),
        async () => {
          waiting = other.joinClassicGroup(joinRequest('b'));
          await clock.sleep(100);
        },
      ),
    );
    expect(await clock.run(codeOf(deleting.deleteGroup(GROUP)))).toBe('group_not_empty');
    expect(await clock.run(waiting as Promise<unknown>)).toMatchObject({ memberId: 'b' });
    expect(await clock.run(broker.listGroups())).toEqual({ items: [{ group: GROUP }] });
  });

  it('is left to the sweep if nobody uses it, which keeps what a generation refers to', async () => {
    const { joined, assigned } = await clock.run(settle(broker, [joinRequest('a')]));
    for (let i = 0; i < 1_300; i++) {
      await clock.advance(3_000);
      if (i % 2 === 0) await beat('a', joined[0]?.generation as number);
    }
    await clock.run(broker.sweepGroups());
    const synced = await clock.run(sync('a', joined[0]?.generation as number, {}, memoryBroker(stores)));
    expect(partitionNames(synced.assignment)).toEqual(assigned[0]);
    await clock.advance(60_000);
    for (let day = 0; day < 9; day++) {
      await clock.run(broker.sweepGroups());
      await clock.advance(86_400_000);
    }
    expect(await clock.run(broker.listGroups())).toEqual({ items: [] });
  });
});
