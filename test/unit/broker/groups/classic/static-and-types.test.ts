import { beforeEach, describe, expect, it } from 'vitest';
import type { Broker } from '../../../../../shared/broker/broker.ts';
import type { JoinClassicRequest } from '../../../../../shared/broker/groups/classic/join-classic-group.ts';
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

const joinAs = (instanceId: string, more: Partial<JoinClassicRequest> = {}, at = broker) =>
  at.joinClassicGroup(joinRequest('', { instanceId, ...more }));
const sync = (memberId: string, generation: number, instanceId: string, at = broker) =>
  at.syncClassicGroup({ group: GROUP, memberId, generation, instanceId, assignments: [] });
const beat = (memberId: string, generation: number, instanceId?: string) =>
  clock.run(codeOf(broker.heartbeatClassicGroup({ group: GROUP, memberId, generation, instanceId })));
const commit = async (memberId: string, generation: number, instanceId: string, partition: number) => {
  const offsets = [{ topic: 'orders', partition, offset: 5 }];
  const request = { group: GROUP, memberId, generation, instanceId, offsets };
  const [outcome] = await clock.run(broker.commitClassicOffsets(request));
  return outcome?.ok ? 'ok' : outcome?.error.code;
};
const partitionOf = (names: readonly string[] | undefined): number => Number(names?.[0]?.split('/')[1]);
const state = async () => (await clock.run(broker.describeClassicGroup(GROUP))).state;

describe('a static member', () => {
  it('takes the place of its predecessor without a round, and fences it', async () => {
    const { joined, assigned } = await clock.run(
      settle(
        broker,
        ['x', 'y'].map((instanceId) => joinRequest('', { instanceId })),
      ),
    );
    const leads = joined.findIndex(({ memberId, leader }) => memberId === leader);
    const [old, had, instanceId] = [joined[1 - leads], assigned[1 - leads], leads === 0 ? 'y' : 'x'];
    const generation = old?.generation as number;
    const partition = partitionOf(had);
    expect(await commit(old?.memberId as string, generation, instanceId, partition)).toBe('ok');
    const next = await clock.run(joinAs(instanceId, {}, other));
    expect(next).toMatchObject({ generation, leader: joined[leads]?.memberId, members: [], skipAssignment: false });
    expect(next.memberId).not.toBe(old?.memberId);
    expect(await state()).toBe('Stable');
    expect(partitionNames((await clock.run(sync(next.memberId, generation, instanceId, other))).assignment)).toEqual(
      had,
    );
    expect(await commit(next.memberId, generation, instanceId, partition)).toBe('ok');
    expect(await commit(old?.memberId as string, generation, instanceId, partition)).toBe('fenced_instance_id');
    expect(await beat(old?.memberId as string, generation, instanceId)).toBe('fenced_instance_id');
    expect(await clock.run(codeOf(sync(old?.memberId as string, generation, instanceId)))).toBe('fenced_instance_id');
    const again = codeOf(broker.joinClassicGroup(joinRequest(old?.memberId as string, { instanceId })));
    expect(await clock.run(again)).toBe('fenced_instance_id');
    expect(await beat(next.memberId, generation, instanceId)).toBe(undefined);
  });

  it('that leads skips the assignment if its client can, and otherwise is not told that it leads', async () => {
    const { joined, assigned } = await clock.run(settle(broker, [joinRequest('', { instanceId: 'x' })]));
    const first = joined[0];
    const old = await clock.run(joinAs('x'));
    expect(old).toMatchObject({ leader: first?.memberId, members: [], skipAssignment: false });
    const next = await clock.run(joinAs('x', { supportsSkippingAssignment: true }));
    expect(next).toMatchObject({ leader: next.memberId, skipAssignment: true, generation: first?.generation });
    expect(next.members.map(({ memberId, instanceId }) => [memberId, instanceId])).toEqual([[next.memberId, 'x']]);
    const synced = await clock.run(sync(next.memberId, next.generation, 'x'));
    expect(partitionNames(synced.assignment)).toEqual(assigned[0]);
  });

  it('begins a round if it says something else than its predecessor', async () => {
    const { joined } = await clock.run(settle(broker, [joinRequest('', { instanceId: 'x' })]));
    const next = await clock.run(joinAs('x', { protocols: [{ name: 'range', metadata: bytes('more') }] }));
    expect(next.generation).toBe((joined[0]?.generation as number) + 1);
    expect(next).toMatchObject({ leader: next.memberId, skipAssignment: false });
  });

  it('that waits in a round is fenced by its successor', async () => {
    const first = codeOf(joinAs('x'));
    await clock.advance(1_000);
    const [old, next] = await clock.run(Promise.all([first, joinAs('x', {}, other)]));
    expect(old).toBe('fenced_instance_id');
    expect(next).toMatchObject({ leader: next.memberId, members: [{ instanceId: 'x' }] });
  });

  it('cannot sync in place of its predecessor while the leader has not assigned', async () => {
    const first = await clock.run(joinAs('x'));
    const next = await clock.run(joinAs('x', { supportsSkippingAssignment: true }));
    expect(next.generation).toBe(first.generation + 1);
    expect(await clock.run(codeOf(sync(first.memberId, first.generation, 'x')))).toBe('fenced_instance_id');
  });

  it('stays in the group at the end of a round until its session ends', async () => {
    const { joined } = await clock.run(
      settle(broker, [joinRequest('a'), joinRequest('', { instanceId: 'x', sessionTimeoutMs: 60_000 })]),
    );
    const stays = joined[1]?.memberId as string;
    const begun = await clock.run(
      broker.joinClassicGroup(joinRequest('a', { protocols: [{ name: 'range', metadata: bytes('more') }] })),
    );
    expect(begun.members.map(({ memberId }) => memberId).sort()).toEqual(['a', stays].sort());
    expect(begun.leader).toBe('a');
    await clock.run(
      broker.syncClassicGroup({
        group: GROUP,
        memberId: 'a',
        generation: begun.generation,
        assignments: [{ memberId: stays, assignment: assignmentOf({ orders: [2] }) }],
      }),
    );
    expect(await beat(stays, joined[1]?.generation as number, 'x')).toBe('illegal_generation');
  });

  it('that is expected back makes a round go on, if nobody else is there', async () => {
    const { joined } = await clock.run(
      settle(broker, [
        joinRequest('a'),
        joinRequest('', { instanceId: 'x', sessionTimeoutMs: 300_000, rebalanceTimeoutMs: 5_000 }),
      ]),
    );
    const abort = new AbortController();
    const metadata = [{ name: 'range', metadata: bytes('more') }];
    const begun = codeOf(broker.joinClassicGroup(joinRequest('a', { protocols: metadata, signal: abort.signal })));
    await clock.advance(500);
    abort.abort();
    await begun;
    await clock.run(broker.leaveClassicGroup({ group: GROUP, members: [{ memberId: 'a' }] }));
    await clock.advance(60_000);
    expect(await beat(joined[1]?.memberId as string, joined[1]?.generation as number, 'x')).toBe(
      'rebalance_in_progress',
    );
    const back = await clock.run(
      broker.joinClassicGroup(joinRequest(joined[1]?.memberId as string, { instanceId: 'x' })),
    );
    expect(back).toMatchObject({ leader: joined[1]?.memberId, generation: (joined[1]?.generation as number) + 1 });
  });

  it('must not name an id that the group does not know', async () => {
    expect(await clock.run(codeOf(broker.joinClassicGroup(joinRequest('old', { instanceId: 'x' }))))).toBe(
      'unknown_member',
    );
  });
});

describe('a group', () => {
  const beatByConsumer = (at = broker) =>
    codeOf(
      at.heartbeat({
        group: GROUP,
        memberId: 'k',
        memberEpoch: 0,
        subscription: { topics: ['orders'] },
        sessionTimeoutMs: 6_000,
      }),
    );

  it('with classic members takes no others, and the reverse', async () => {
    const { joined } = await clock.run(settle(broker, [joinRequest('a')]));
    expect(await clock.run(beatByConsumer())).toBe('group_type_mismatch');
    // It does not disturb the generation.
    expect(await beat('a', joined[0]?.generation as number)).toBe(undefined);
    expect(await state()).toBe('Stable');
    expect(await clock.run(codeOf(broker.describeGroup(GROUP)))).toBe('group_type_mismatch');
    await clock.run(broker.leaveClassicGroup({ group: GROUP, members: [{ memberId: 'a' }] }));
    expect(await clock.run(beatByConsumer())).toMatchObject({ memberId: 'k' });
    expect(await clock.run(codeOf(broker.joinClassicGroup(joinRequest('b'))))).toBe('group_type_mismatch');
    expect(await clock.run(codeOf(broker.describeClassicGroup(GROUP)))).toBe('group_type_mismatch');
    expect(await clock.run(broker.describeGroup(GROUP))).toMatchObject({ members: [{ memberId: 'k' }] });
  });

  it('changes its type when it is empty, and its epoch goes on, so that no fence comes twice', async () => {
    const { joined } = await clock.run(settle(broker, [joinRequest('a')]));
    const first = joined[0]?.generation as number;
    await clock.advance(13_000);
    expect(await clock.run(beatByConsumer())).toMatchObject({ memberId: 'k' });
    const { epoch } = await clock.run(broker.describeGroup(GROUP));
    expect(epoch).toBeGreaterThan(first);
    expect(await beat('a', first)).toBe('unknown_member');
    let memberEpoch = 1;
    for (let i = 0; i < 20; i++) {
      const answer = await clock.run(broker.heartbeat({ group: GROUP, memberId: 'k', memberEpoch }));
      memberEpoch = answer.memberEpoch;
      if (answer.isSettled) expect(answer.assignment[0]?.partitions).toEqual([0, 1, 2, 3]);
      await clock.advance(200);
    }
    await clock.advance(9_000);
    const again = await clock.run(settle(broker, [joinRequest('b')]));
    expect(again.joined[0]?.generation).toBeGreaterThan(epoch);
    expect(again.assigned[0]).toHaveLength(4);
    const late = {
      group: GROUP,
      member: { memberId: 'k', memberEpoch },
      offsets: [{ topic: 'orders', partition: 0, offset: 9 }],
    };
    const [outcome] = await clock.run(broker.commitOffsets(late));
    expect(outcome).toMatchObject({ ok: false, error: { code: 'fenced_member_epoch' } });
  });

  it.each(['classic first', 'consumer first'])('has one type if members of both come at once: %s', async (order) => {
    // One of them begins while the other is about to change the group.
    let second: Promise<unknown> | undefined;
    const classic = (at: Broker) => codeOf(at.joinClassicGroup(joinRequest('a')));
    const begun = order === 'classic first' ? beatByConsumer : classic;
    const waiting = order === 'classic first' ? classic : beatByConsumer;
    const slow = memoryBroker(
      happeningBefore(
        stores,
        (request, key) => request === 'updateItem' && key.startsWith('group#'),
        async () => {
          second = begun(other);
          await clock.sleep(order === 'classic first' ? 50 : 4_000);
        },
      ),
    );
    const results = [await clock.run(waiting(slow) as Promise<unknown>), await clock.run(second as Promise<unknown>)];
    expect(results).toContain('group_type_mismatch');
    expect(results.filter((each) => each !== 'group_type_mismatch')).toHaveLength(1);
    // The one that was refused is no member.
    const listed = await clock.run(broker.listGroupStates());
    expect(listed.items).toMatchObject([{ type: order === 'classic first' ? 'consumer' : 'classic' }]);
  });

  it('of which only offsets are known becomes a classic one', async () => {
    await clock.run(broker.commitOffsets({ group: GROUP, offsets: [{ topic: 'orders', partition: 0, offset: 3 }] }));
    const { joined } = await clock.run(settle(broker, [joinRequest('a')]));
    expect(joined[0]).toMatchObject({ leader: 'a' });
    const fetched = await clock.run(
      broker.fetchOffsets({ group: GROUP, partitions: [{ topic: 'orders', partition: 0 }] }),
    );
    expect(fetched.items[0]?.offset).toBe(3);
  });

  it('has room for 1,000 members', async () => {
    const quick = memoryBroker(stores, { initialRebalanceDelayMs: 500 });
    const all = Array.from({ length: 1_001 }, (_, i) => codeOf(quick.joinClassicGroup(joinRequest(`m${i}`))));
    const results = await clock.run(Promise.all(all));
    expect(results.filter((result) => result === 'group_full')).toHaveLength(1);
    expect(results.find((result) => typeof result === 'object' && result.members.length > 0)).toMatchObject({
      members: expect.objectContaining({ length: 1_000 }),
    });
    const leader = results.find((result) => typeof result === 'object' && result.members.length > 0);
    if (typeof leader !== 'object') throw new Error('There is no leader.');
    await clock.run(
      broker.syncClassicGroup({
        group: GROUP,
        memberId: leader.memberId,
        generation: leader.generation,
        assignments: [],
      }),
    );
    expect(await clock.run(codeOf(quick.joinClassicGroup(joinRequest('late'))))).toBe('group_full');
  });
});
