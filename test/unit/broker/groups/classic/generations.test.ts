import { beforeEach, describe, expect, it } from 'vitest';
import type { Broker } from '../../../../../shared/broker/broker.ts';
import type { CommitOutcome } from '../../../../../shared/broker/groups/offsets/commit-page.ts';
import { fromHex } from '../../../../../shared/log/bytes.ts';
import { EventLogError } from '../../../../../shared/log/errors.ts';
import {
  assignInTurns,
  assignmentOf,
  GROUP,
  joinRequest,
  partitionNames,
  settle,
} from '../../../../support/classic-world.ts';
import { happeningBefore, losingReply, slotNow, topicIdOf } from '../../../../support/group-world.ts';
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

const commitOf = (
  at: Broker,
  memberId: string,
  generation: number,
  offset: number,
  partition = 0,
  instanceId?: string,
) =>
  at
    .commitClassicOffsets({
      group: GROUP,
      memberId,
      instanceId,
      generation,
      offsets: [{ topic: 'orders', partition, offset }],
    })
    .then(([outcome]) => codeOfOutcome(outcome));
const codeOfOutcome = (outcome: CommitOutcome | undefined): string =>
  outcome?.ok === true ? 'ok' : (outcome?.error.code ?? 'none');
const commit = (memberId: string, generation: number, offset: number, partition = 0, instanceId?: string) =>
  clock.run(commitOf(broker, memberId, generation, offset, partition, instanceId));
const sync = (memberId: string, generation: number, more: Record<string, unknown> = {}, at = broker) =>
  at.syncClassicGroup({ group: GROUP, memberId, generation, assignments: [], ...more });
const joinAll = (...memberIds: string[]) =>
  clock.run(Promise.all(memberIds.map((memberId) => broker.joinClassicGroup(joinRequest(memberId)))));
const committed = async (partition = 0) => {
  const page = await clock.run(broker.fetchOffsets({ group: GROUP, partitions: [{ topic: 'orders', partition }] }));
  return page.items[0]?.offset;
};

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

describe('a sync', () => {
  it('gives each member what the leader assigns, and the partitions are claimed before', async () => {
    const { joined, assigned } = await clock.run(settle(broker, [joinRequest('a'), joinRequest('b')]));
    expect(assigned.flat().sort()).toEqual(['orders/0', 'orders/1', 'orders/2', 'orders/3']);
    const topicId = await topicIdOf(stores.items, 'orders');
    const generation = joined[0]?.generation;
    for (let partition = 0; partition < 4; partition++) {
      const owner = assigned.findIndex((names) => names.includes(`orders/${partition}`));
      expect(await slotNow(stores.items, GROUP, topicId, partition)).toMatchObject({
        fence: generation,
        owner: { memberId: joined[owner]?.memberId, memberEpoch: generation },
      });
    }
  });

  it('waits for the leader, also through another process, and repeating it gives the same', async () => {
    const { generation, leader, follower } = await twoMembers();
    const waiting = sync(follower, generation, {}, other);
    await clock.advance(2_000);
    expect(await clock.run(broker.describeClassicGroup(GROUP))).toMatchObject({ state: 'CompletingRebalance' });
    const assignments = [{ memberId: follower, assignment: assignmentOf({ orders: [1, 2] }) }];
    const ofLeader = await clock.run(sync(leader, generation, { assignments }));
    expect(ofLeader).toMatchObject({ protocol: 'range', protocolType: 'consumer', assignment: new Uint8Array() });
    expect(partitionNames((await clock.run(waiting)).assignment)).toEqual(['orders/1', 'orders/2']);
    // Another copy of the leader's request says something else, and comes too late.
    const late = [{ memberId: follower, assignment: assignmentOf({ orders: [3] }) }];
    await clock.run(sync(leader, generation, { assignments: late }));
    expect(partitionNames((await clock.run(sync(follower, generation))).assignment)).toEqual(['orders/1', 'orders/2']);
  });

  it('by a follower assigns nothing', async () => {
    const { generation, leader, follower } = await twoMembers();
    const assignments = [{ memberId: follower, assignment: assignmentOf({ orders: [0, 1, 2, 3] }) }];
    const waiting = sync(follower, generation, { assignments });
    await clock.advance(500);
    await clock.run(sync(leader, generation, { assignments: [] }));
    expect((await clock.run(waiting)).assignment).toEqual(new Uint8Array());
  });

  it('of another generation, protocol or member is rejected', async () => {
    const { generation, leader } = await twoMembers();
    expect(await clock.run(codeOf(sync(leader, generation - 1)))).toBe('illegal_generation');
    expect(await clock.run(codeOf(sync(leader, generation + 1)))).toBe('illegal_generation');
    expect(await clock.run(codeOf(sync('nobody', generation)))).toBe('unknown_member');
    expect(await clock.run(codeOf(sync(leader, generation, { protocol: 'sticky' })))).toBe(
      'inconsistent_group_protocol',
    );
    expect(await clock.run(codeOf(sync(leader, generation, { protocolType: 'connect' })))).toBe(
      'inconsistent_group_protocol',
    );
  });

  it('ends with a new round if the leader dies, or does not assign in time', async () => {
    const { generation, follower } = await twoMembers();
    const startMs = clock.nowMs();
    // It waits and sends heartbeats meanwhile, and finds that the leader's session has ended.
    expect(await clock.run(codeOf(sync(follower, generation)))).toBe('rebalance_in_progress');
    expect(clock.nowMs() - startMs).toBeGreaterThan(10_000);
    expect(clock.nowMs() - startMs).toBeLessThan(20_000);
    const [alone] = await joinAll(follower);
    expect(alone).toMatchObject({ leader: follower, generation: generation + 1 });
    expect(alone?.members).toHaveLength(1);
  });

  it('ends with a new round if the leader lives and does not assign in time', async () => {
    const { generation, leader, follower } = await twoMembers();
    const startMs = clock.nowMs();
    const alive = (async () => {
      while (clock.nowMs() - startMs < 40_000) {
        await clock.sleep(3_000);
        await codeOf(broker.heartbeatClassicGroup({ group: GROUP, memberId: leader, generation }));
      }
    })();
    expect(await clock.run(codeOf(sync(follower, generation, {}, other)))).toBe('rebalance_in_progress');
    expect(clock.nowMs() - startMs).toBeGreaterThanOrEqual(30_000);
    expect(clock.nowMs() - startMs).toBeLessThan(36_000);
    await clock.run(alive);
  });

  it('ends if a member begins a round', async () => {
    const { generation, follower } = await twoMembers();
    const waiting = codeOf(sync(follower, generation));
    await clock.advance(500);
    const third = other.joinClassicGroup(joinRequest('c'));
    await clock.advance(1_000);
    expect(await waiting).toBe('rebalance_in_progress');
    await clock.run(third);
  });

  it('is cancelled by its signal', async () => {
    const { generation, follower } = await twoMembers();
    const abort = new AbortController();
    const waiting = codeOf(sync(follower, generation, { signal: abort.signal }));
    await clock.advance(500);
    abort.abort();
    expect(await waiting).toBe('shutting_down');
    expect(clock.sleeping).toBe(0);
  });

  it('takes assignments that name no partitions as they are, and claims nothing for them', async () => {
    const { generation, leader, follower } = await twoMembers();
    const strange = bytes('not an assignment');
    const unknown = assignmentOf({ missing: [0], orders: [99] });
    await clock.run(
      sync(leader, generation, {
        assignments: [
          { memberId: leader, assignment: strange },
          { memberId: follower, assignment: unknown },
        ],
      }),
    );
    expect((await clock.run(sync(leader, generation))).assignment).toEqual(strange);
    expect((await clock.run(sync(follower, generation))).assignment).toEqual(unknown);
  });

  it('stores more than one item holds', async () => {
    const { generation, leader, follower } = await twoMembers();
    const large = new Uint8Array(700_000).map((_, i) => i);
    await clock.run(sync(leader, generation, { assignments: [{ memberId: follower, assignment: large }] }));
    expect((await clock.run(sync(follower, generation, {}, other))).assignment).toEqual(large);
    const tooLarge = [{ memberId: follower, assignment: new Uint8Array(16 * 1024 * 1024 + 1) }];
    await expect(sync(leader, generation, { assignments: tooLarge })).rejects.toMatchObject({
      details: { field: 'assignments' },
    });
  });
});

describe('a commit', () => {
  it('is one write for a partition that the member has claimed', async () => {
    const { joined, assigned } = await clock.run(settle(broker, [joinRequest('a')]));
    expect(assigned).toEqual([['orders/0', 'orders/1', 'orders/2', 'orders/3']]);
    let requests = 0;
    const counted = happeningBefore(
      stores,
      () => {
        requests++;
        return false;
      },
      async () => {},
    );
    const counting = memoryBroker(counted);
    await clock.run(commitOf(counting, 'a', joined[0]?.generation as number, 1));
    requests = 0;
    expect(await clock.run(commitOf(counting, 'a', joined[0]?.generation as number, 5))).toBe('ok');
    expect(requests).toBe(1);
    expect(await committed()).toBe(5);
    // A consumer that seeks back commits less.
    expect(await commit('a', joined[0]?.generation as number, 3)).toBe('ok');
    expect(await committed()).toBe(3);
  });

  it('of an older generation is refused once a newer one has claimed the partition, and accepted before', async () => {
    const { joined } = await clock.run(settle(broker, [joinRequest('a')]));
    const old = joined[0]?.generation as number;
    const [, b] = await joinAll('a', 'b');
    const generation = b?.generation as number;
    expect(generation).toBe(old + 1);
    // Nobody has the partition yet, and the new owner reads the offset only after its claim.
    expect(await commit('a', old, 7)).toBe('ok');
    const assignments = [{ memberId: 'b', assignment: assignmentOf({ orders: [0] }) }];
    await clock.run(sync('a', generation, { assignments }));
    await clock.run(sync('b', generation));
    expect(await commit('a', old, 9)).toBe('illegal_generation');
    expect(await committed()).toBe(7);
    expect(await commit('b', generation, 8)).toBe('ok');
  });

  it('of a member that has not claimed the partition is judged by the group', async () => {
    const { generation, leader, follower } = await twoMembers();
    expect(await commit(follower, generation, 1)).toBe('rebalance_in_progress');
    const assignments = [{ memberId: leader, assignment: assignmentOf({ orders: [0] }) }];
    await clock.run(sync(leader, generation, { assignments }));
    expect(await commit(follower, generation, 2)).toBe('ok');
    expect(await commit(follower, generation, 2, 3)).toBe('ok');
    expect(await commit(follower, generation - 1, 3, 2)).toBe('illegal_generation');
    expect(await commit(follower, generation + 1, 3, 2)).toBe('illegal_generation');
    expect(await commit('nobody', generation, 3)).toBe('unknown_member');
    expect(await commit('nobody', generation, 3, 2)).toBe('unknown_member');
    // The owner is the same, and the fence of an unclaimed partition has risen.
    const topicId = await topicIdOf(stores.items, 'orders');
    expect(await slotNow(stores.items, GROUP, topicId, 0)).toMatchObject({ owner: { memberId: leader } });
    expect(await slotNow(stores.items, GROUP, topicId, 3)).toMatchObject({ owner: undefined, fence: generation });
  });

  it('that is under way when the partition is claimed is refused', async () => {
    const { joined } = await clock.run(settle(broker, [joinRequest('a')]));
    const old = joined[0]?.generation as number;
    // Between the look of the commit and its write, the next generation takes the partition.
    const slow = memoryBroker(
      happeningBefore(
        stores,
        (request, key) => request === 'updateItem' && key.startsWith('offsets#'),
        async () => {
          const [a, b] = await Promise.all(['a', 'b'].map((memberId) => other.joinClassicGroup(joinRequest(memberId))));
          const generation = a?.generation as number;
          const leader = (a?.members.length ?? 0) > 0 ? 'a' : 'b';
          const assignments = [{ memberId: 'b', assignment: assignmentOf({ orders: [0] }) }];
          await sync(leader, generation, { assignments }, other);
          await sync('b', b?.generation as number, {}, other);
        },
      ),
    );
    expect(await clock.run(commitOf(slow, 'a', old, 9))).toBe('illegal_generation');
    expect(await committed()).toBe(null);
  });

  it('for a partition that nobody has claimed is refused if it is claimed between its look and its write', async () => {
    const { generation, leader, follower } = await twoMembers();
    await clock.run(sync(leader, generation, { assignments: [] }));
    const slow = memoryBroker(
      happeningBefore(
        stores,
        (request, key) => request === 'updateItem' && key.startsWith('offsets#'),
        async () => {
          await other.leaveClassicGroup({ group: GROUP, members: [{ memberId: follower }] });
          const alone = await other.joinClassicGroup(joinRequest(leader));
          const assignments = assignInTurns(alone, 'orders', 4);
          await sync(leader, alone.generation, { assignments }, other);
        },
      ),
    );
    expect(await clock.run(commitOf(slow, follower, generation, 9))).toBe('illegal_generation');
    expect(await committed()).toBe(null);
  });

  it('without membership needs a group without live members', async () => {
    const plain = () =>
      codeOf(broker.commitOffsets({ group: GROUP, offsets: [{ topic: 'orders', partition: 0, offset: 4 }] }));
    const { joined } = await clock.run(settle(broker, [joinRequest('a')]));
    expect(await clock.run(plain())).toBe('group_not_empty');
    await clock.advance(13_000);
    expect(await clock.run(plain())).toEqual([{ ok: true }]);
    expect(await commit('a', joined[0]?.generation as number, 9)).toBe('unknown_member');
    expect(await committed()).toBe(4);
  });

  it('whose reply was lost is not applied again over a later one', async () => {
    const { joined } = await clock.run(settle(broker, [joinRequest('a')]));
    const generation = joined[0]?.generation as number;
    const lost = new EventLogError('storage_unavailable', 'The reply was lost.');
    const lossy = memoryBroker(
      losingReply(stores, (request, key) => request === 'updateItem' && key.startsWith('offsets#'), lost),
    );
    const first = commitOf(lossy, 'a', generation, 5);
    await clock.advance(1);
    expect(await committed()).toBe(5);
    await commit('a', generation, 8);
    expect(await clock.run(first)).toBe('ok');
    expect(await committed()).toBe(8);
  });

  it.each([
    ['generation', { generation: -1 }],
    ['memberId', { memberId: '' }],
    ['offsets.offset', { offsets: [{ topic: 'orders', partition: 0, offset: -1 }] }],
  ])('is checked: %s', async (field, more) => {
    const request = { group: GROUP, memberId: 'a', generation: 1, offsets: [], ...more };
    await expect(broker.commitClassicOffsets(request)).rejects.toMatchObject({ details: { field } });
  });
});

describe('a claim', () => {
  it('of an older generation does not take a partition from a newer one', async () => {
    const { generation, leader, follower } = await twoMembers();
    const assignments = [{ memberId: follower, assignment: assignmentOf({ orders: [0] }) }];
    await clock.run(sync(leader, generation, { assignments }));
    const slow = memoryBroker(
      happeningBefore(
        stores,
        (request, key) => request === 'updateItem' && key.startsWith('offsets#'),
        async () => {
          await other.leaveClassicGroup({ group: GROUP, members: [{ memberId: follower }] });
          const alone = await other.joinClassicGroup(joinRequest(leader));
          await sync(leader, alone.generation, { assignments: assignInTurns(alone, 'orders', 4) }, other);
        },
      ),
    );
    expect(await clock.run(codeOf(sync(follower, generation, {}, slow)))).toBe('rebalance_in_progress');
    const topicId = await topicIdOf(stores.items, 'orders');
    expect(await slotNow(stores.items, GROUP, topicId, 0)).toMatchObject({ owner: { memberId: leader } });
  });

  it('takes a partition that has an older claim, with its offset', async () => {
    const { joined } = await clock.run(settle(broker, [joinRequest('a')]));
    await commit('a', joined[0]?.generation as number, 6);
    await clock.run(broker.leaveClassicGroup({ group: GROUP, members: [{ memberId: 'a' }] }));
    const { assigned } = await clock.run(settle(broker, [joinRequest('b')]));
    expect(assigned[0]).toHaveLength(4);
    expect(await committed()).toBe(6);
    expect(await clock.run(broker.groupLag({ group: GROUP }))).toMatchObject({
      partitions: [{ memberId: 'b', partition: 0 }, {}, {}, {}],
    });
  });
});

describe('the bytes of an assignment', () => {
  it('of a real client are claimed', async () => {
    // version 1 · 1 topic · "orders" · partitions 1 and 3 · no user data
    const real = fromHex('00010000000100066f726465727300000002000000010000000300000000');
    expect(partitionNames(real)).toEqual(['orders/1', 'orders/3']);
  });
});
