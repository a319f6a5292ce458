import { beforeEach, describe, expect, it } from 'vitest';
import type { Broker } from '../../../../../shared/broker/broker.ts';
import { raiseEpoch } from '../../../../../shared/broker/groups/membership/raise-epoch.ts';
import type { MigrationPolicy } from '../../../../../shared/log/group/classic/migration-policy.ts';
import type { StoreRequest } from '../../../../../shared/storage/around-stores.ts';
import { assignmentOf, GROUP, joinRequest, settle, subscriptionBytes } from '../../../../support/classic-world.ts';
import { happeningBefore } from '../../../../support/group-world.ts';
import { codeOf, memoryBroker, memoryStores, SeededRandom } from '../../../../support/memory-broker.ts';
import type { SimulatedClock } from '../../../../support/simulated-clock.ts';
import { Consumer, UpgradeWorld } from '../../../../support/upgrade-world.ts';

let stores: ReturnType<typeof memoryStores>;
let broker: Broker;
let clock: SimulatedClock;
let world: UpgradeWorld;

beforeEach(async () => {
  stores = memoryStores();
  ({ clock } = stores);
  broker = memoryBroker(stores);
  world = new UpgradeWorld(broker, clock);
  await clock.run(broker.putTopic({ name: 'orders', partitions: 4 }));
});

/** A classic group of one member, which reads all. */
async function classicGroup(memberId = 'old'): Promise<number> {
  const { joined } = await clock.run(settle(broker, [world.request(memberId)]));
  return joined[0]?.generation as number;
}
const names = (...partitions: number[]) => partitions.map((partition) => `orders/${partition}`);
const describeIt = () => clock.run(broker.describeGroup(GROUP));
const typeOf = async () => (await clock.run(broker.listGroupStates())).items[0]?.type;

describe('a classic group', () => {
  it('becomes one of KIP-848 with its first member by that, and nothing moves that its members still read', async () => {
    const generation = await classicGroup();
    expect(await world.commit('old', generation, 0, 5)).toBe('ok');
    const consumer = new Consumer(broker, clock, 'new');
    expect(await consumer.beats()).toEqual([]);
    expect(await typeOf()).toBe('consumer');
    expect((await describeIt()).members).toMatchObject([
      { memberId: 'old', protocol: 'classic', instanceId: null },
      { memberId: 'new', protocol: 'consumer' },
    ]);
    expect(await world.beat('old', generation)).toBe('rebalance_in_progress');
    expect(await world.commit('old', generation, 0, 6)).toBe('ok');
    expect(await codeOf(clock.run(broker.describeClassicGroup(GROUP)))).toBe('group_type_mismatch');

    const joined = await world.join('old', names(0, 1, 2, 3));
    expect(joined).toMatchObject({ memberId: 'old', protocolType: 'consumer', protocol: 'sticky', leader: '' });
    expect(joined.members).toEqual([]);
    expect(joined.generation).toBeGreaterThan(generation);
    const kept = await world.sync(joined);
    expect(kept).toHaveLength(2);
    // It has not said yet that it has let go of the others.
    expect(await consumer.beats()).toEqual([]);
    const again = await world.take('old', kept);
    expect(again.owned).toEqual(kept);
    expect((await consumer.beats()).map((partition) => `orders/${partition}`)).toEqual(
      names(0, 1, 2, 3).filter((name) => !kept.includes(name)),
    );
    expect(consumer.isSettled).toBe(true);
    expect(await world.beat('old', again.generation)).toBeUndefined();
    expect(await describeIt()).toMatchObject({ state: 'stable' });
    expect(await world.committed(0)).toBe(6);
  });

  it('stays as it is if its members are no consumers', async () => {
    await clock.run(
      settle(broker, [joinRequest('worker', { protocolType: 'connect', protocols: world.request('').protocols })]),
    );
    const consumer = new Consumer(broker, clock, 'new');
    expect(await codeOf(consumer.beat())).toBe('group_type_mismatch');
    expect(await typeOf()).toBe('classic');
    // Or say nothing that can be read.
    await clock.run(broker.leaveClassicGroup({ group: GROUP, members: [{ memberId: 'worker' }] }));
    await clock.run(settle(broker, [joinRequest('garbled')]));
    expect(await codeOf(consumer.beat())).toBe('group_type_mismatch');
  });

  it('changes while members join and sync: they go on in the other one', async () => {
    const waiting = Promise.all([
      broker.joinClassicGroup(world.request('a')),
      broker.joinClassicGroup(world.request('b')),
    ]);
    const consumer = new Consumer(broker, clock, 'new');
    await clock.advance(50);
    await consumer.beat();
    const joined = await clock.run(waiting);
    expect(joined.map(({ leader }) => leader)).toEqual(['', '']);
    expect(await typeOf()).toBe('consumer');

    const syncing = await clock.run(Promise.all([broker.joinClassicGroup({ ...world.request('c'), group: 'other' })]));
    const generation = syncing[0]?.generation as number;
    const request = { group: 'other', memberId: 'd', memberEpoch: 0, subscription: { topics: ['orders'] } };
    await clock.run(broker.heartbeat(request));
    const assignments = [{ memberId: 'c', assignment: assignmentOf({ orders: [0] }) }];
    const sync = broker.syncClassicGroup({ group: 'other', memberId: 'c', generation, assignments });
    expect(await codeOf(clock.run(sync))).toBe('rebalance_in_progress');
  });

  it('takes nothing from a member that does not join again, until its time to join is over', async () => {
    const { joined } = await clock.run(settle(broker, [world.request('slow', [], { rebalanceTimeoutMs: 12_000 })]));
    const generation = joined[0]?.generation as number;
    const consumer = new Consumer(broker, clock, 'new');
    await consumer.beats();
    for (let i = 0; i < 5; i++) {
      expect(await world.beat('slow', generation)).toBe('rebalance_in_progress');
      expect(await consumer.beats(2)).toEqual([]);
      await clock.advance(1_000);
    }
    await clock.advance(5_000);
    await world.beat('slow', generation);
    expect(await consumer.beats(20)).toEqual([0, 1, 2, 3]);
    expect(await world.beat('slow', generation)).toBe('unknown_member');
    expect(await world.commit('slow', generation, 0, 9)).not.toBe('ok');
  });
});

describe('a group of KIP-848', () => {
  it('takes members by the classic protocol', async () => {
    const consumer = new Consumer(broker, clock, 'new');
    expect(await consumer.beats()).toEqual([0, 1, 2, 3]);
    const first = await world.take('late');
    expect(first.owned).toEqual([]);
    expect(await world.beat('late', first.generation)).toBeUndefined();
    expect(await consumer.beats()).toHaveLength(2);
    expect(await world.beat('late', first.generation)).toBe('rebalance_in_progress');
    const second = await world.take('late');
    expect(second.owned).toHaveLength(2);
    expect(second.generation).toBeGreaterThan(first.generation);
    await consumer.beats();
    expect(await describeIt()).toMatchObject({ state: 'stable' });
  });

  it('refuses members that are no consumers, or share no protocol with the others', async () => {
    await new Consumer(broker, clock, 'new').beats(2);
    const other = [{ name: 'other', metadata: subscriptionBytes(['orders']) }];
    expect(await codeOf(world.join('x', [], { protocolType: 'connect' }))).toBe('group_type_mismatch');
    expect(await codeOf(clock.run(broker.joinClassicGroup(joinRequest('x'))))).toBe('group_type_mismatch');
    await world.join('y');
    expect(await codeOf(world.join('x', [], { protocols: other }))).toBe('inconsistent_group_protocol');
    expect((await describeIt()).members.map(({ memberId }) => memberId)).toEqual(['y', 'new']);
  });

  it('becomes a classic one when its last member by that has left', async () => {
    const consumer = new Consumer(broker, clock, 'new');
    await consumer.beats();
    const ids = ['a', 'b'];
    const generations = new Map<string, number>();
    for (const id of ids) generations.set(id, (await world.take(id)).generation);
    await consumer.beats();
    // Each join gives a member another generation, and the epoch of the group stays.
    for (let i = 0; i < 10; i++) for (const id of ids) generations.set(id, (await world.take(id)).generation);
    expect(await world.commit('a', generations.get('a') as number, 0, 3)).toMatch(/ok|rebalance/);
    await consumer.leave();
    for (const id of ids) expect(await world.beat(id, generations.get(id) as number)).toBe('rebalance_in_progress');
    expect(await typeOf()).toBe('consumer');
    // All members are waited for, as long as they may take to join.
    const joining = broker.joinClassicGroup(world.request('a', [], { rebalanceTimeoutMs: 2_000 }));
    await clock.advance(4_000);
    expect(await typeOf()).toBe('classic');
    expect(await world.beat('b', generations.get('b') as number)).toBe('rebalance_in_progress');
    const [a, b] = await clock.run(Promise.all([joining, broker.joinClassicGroup(world.request('b'))]));
    expect(a?.generation).toBe(b?.generation);
    expect(a?.generation).toBeGreaterThan(Math.max(...generations.values()));
    expect([a, b].filter(({ leader, memberId }) => leader === memberId)).toHaveLength(1);
  });

  it('becomes a classic one when the session of its last member by that ends', async () => {
    const consumer = new Consumer(broker, clock, 'new');
    consumer.sessionTimeoutMs = 10_000;
    await consumer.beats();
    const { generation } = await world.take('a');
    for (let i = 0; i < 5; i++) {
      await clock.advance(3_000);
      await world.beat('a', generation);
    }
    expect(await world.beat('a', generation)).toBe('rebalance_in_progress');
    expect((await world.join('a')).leader).toBe('a');
    expect(await typeOf()).toBe('classic');
  });

  it('tells its classic members so until one has joined', async () => {
    await clock.run(broker.putTopic({ name: 'other', partitions: 1 }));
    const consumer = { group: GROUP, memberId: 'new', memberEpoch: 0, subscription: { topics: ['other'] } };
    await clock.run(broker.heartbeat(consumer));
    const { generation, owned } = await world.take('a');
    expect(owned).toHaveLength(4);
    expect(await world.beat('a', generation)).toBeUndefined();
    await clock.run(broker.leaveGroup(consumer));
    for (let i = 0; i < 4; i++) {
      await clock.advance(1_000);
      expect(await world.beat('a', generation)).toBe('rebalance_in_progress');
    }
  });

  it('knows of a classic member that joins while a target without one is computed', async () => {
    const consumer = new Consumer(broker, clock, 'new');
    await consumer.beats();
    await world.take('a');
    await clock.run(broker.leaveClassicGroup({ group: GROUP, members: [{ memberId: 'a' }] }));
    await clock.advance(1_000);
    let joining: Promise<unknown> = Promise.resolve();
    const isSwitch = (request: StoreRequest, key: string): boolean =>
      request === 'updateItem' && key.startsWith('group#');
    const racing = happeningBefore(stores, isSwitch, async () => {
      joining = broker.joinClassicGroup(world.request('b'));
      for (let i = 0; i < 20; i++) await new Promise<void>((resolve) => setImmediate(resolve));
    });
    const computing = new Consumer(memoryBroker(racing), clock, 'new');
    Object.assign(computing, { epoch: consumer.epoch, owned: consumer.owned });
    for (let i = 0; i < 6; i++) await computing.beat();
    await clock.run(joining);
    expect(await clock.run(broker.usesClassicProtocol({ group: GROUP, memberId: 'b' }))).toBe(true);
  });

  it('forgets that it had classic members with its next target', async () => {
    const consumer = new Consumer(broker, clock, 'new');
    await consumer.beats();
    await world.take('a');
    expect(await clock.run(broker.usesClassicProtocol({ group: GROUP, memberId: 'a' }))).toBe(true);
    expect(await clock.run(broker.usesClassicProtocol({ group: GROUP, memberId: 'new' }))).toBe(false);
    await clock.run(broker.leaveClassicGroup({ group: GROUP, members: [{ memberId: 'a' }] }));
    expect(await consumer.beats()).toEqual([0, 1, 2, 3]);
    expect(await clock.run(broker.usesClassicProtocol({ group: GROUP, memberId: 'a' }))).toBe(false);
  });
});

describe('a group under a migration policy', () => {
  const under = (groupMigrationPolicy: MigrationPolicy): void => {
    broker = memoryBroker(stores, { groupMigrationPolicy });
    world = new UpgradeWorld(broker, clock);
  };

  it.each([
    ['disabled', 'group_type_mismatch'],
    ['downgrade', 'group_type_mismatch'],
    ['upgrade', 'consumer'],
    ['bidirectional', 'consumer'],
  ] as const)('that is %s: its classic members and one by KIP-848', async (policy, outcome) => {
    under(policy);
    const generation = await classicGroup();
    const consumer = new Consumer(broker, clock, 'new');
    const refusal = await codeOf(consumer.beat());
    expect(outcome === 'consumer' ? await typeOf() : refusal).toBe(outcome);
    if (outcome === 'consumer') return;
    // The classic member reads on undisturbed, and when it has left the other one is welcome.
    expect(await typeOf()).toBe('classic');
    expect(await world.beat('old', generation)).toBeUndefined();
    expect(await world.commit('old', generation, 0, 5)).toBe('ok');
    await clock.run(broker.leaveClassicGroup({ group: GROUP, members: [{ memberId: 'old' }] }));
    expect(await new Consumer(broker, clock, 'newer').beats()).toEqual([0, 1, 2, 3]);
    expect(await typeOf()).toBe('consumer');
  });

  it.each(['disabled', 'upgrade'] as const)(
    'that is %s stays one of KIP-848 as long as it has a member of either protocol',
    async (policy) => {
      under(policy);
      const consumer = new Consumer(broker, clock, 'new');
      await consumer.beats();
      await world.take('a');
      await consumer.beats();
      let member = await world.take('a');
      expect(member.owned).toHaveLength(2);
      await consumer.leave();
      for (let i = 0; i < 10 && member.owned.length < 4; i++) {
        await clock.advance(1_000);
        if ((await world.beat('a', member.generation)) !== undefined) member = await world.take('a', member.owned);
      }
      expect(member.owned).toEqual(names(0, 1, 2, 3));
      expect(await world.beat('a', member.generation)).toBeUndefined();
      expect(await world.commit('a', member.generation, 0, 7)).toBe('ok');
      expect(await typeOf()).toBe('consumer');
      expect(await describeIt()).toMatchObject({ state: 'stable' });
      // Another one comes, and shares with it.
      await world.take('b');
      for (let i = 0; i < 10 && member.owned.length > 2; i++) {
        await clock.advance(1_000);
        if ((await world.beat('a', member.generation)) !== undefined) member = await world.take('a');
      }
      expect(member.owned).toHaveLength(2);
      expect(await typeOf()).toBe('consumer');
      // Without members it is free again.
      await clock.run(broker.leaveClassicGroup({ group: GROUP, members: [{ memberId: 'a' }, { memberId: 'b' }] }));
      await clock.run(settle(broker, [world.request('c')]));
      expect(await typeOf()).toBe('classic');
    },
  );

  it('that only has offsets takes any first member, also of a kind that KIP-848 does not know', async () => {
    under('disabled');
    await clock.run(broker.commitOffsets({ group: GROUP, offsets: [{ topic: 'orders', partition: 0, offset: 1 }] }));
    // The member is stored when the group changes under it: it must not take itself for one that keeps the group.
    const racing = happeningBefore(
      stores,
      (request, key) => request === 'updateItem' && key.startsWith('group#'),
      () => raiseEpoch(stores.items, new SeededRandom(1), GROUP),
    );
    const slow = memoryBroker(racing, { groupMigrationPolicy: 'disabled' });
    await clock.run(settle(slow, [joinRequest('worker', { protocolType: 'connect' })]));
    expect(await typeOf()).toBe('classic');
  });
});
