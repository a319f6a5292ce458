import { beforeEach, describe, expect, it } from 'vitest';
import type { Broker } from '../../../../../shared/broker/broker.ts';
import { EventLogError } from '../../../../../shared/log/errors.ts';
import type { StoreRequest } from '../../../../../shared/storage/around-stores.ts';
import { GROUP, settle, subscriptionBytes } from '../../../../support/classic-world.ts';
import { claim, happeningBefore, losingReply, topicIdOf } from '../../../../support/group-world.ts';
import { appendTo, codeOf, memoryBroker, memoryStores } from '../../../../support/memory-broker.ts';
import type { SimulatedClock } from '../../../../support/simulated-clock.ts';
import { Consumer, UpgradeWorld } from '../../../../support/upgrade-world.ts';

let stores: ReturnType<typeof memoryStores>;
let broker: Broker;
let clock: SimulatedClock;
let world: UpgradeWorld;
let consumer: Consumer;

/** A group of KIP-848 with a member by each protocol. */
beforeEach(async () => {
  stores = memoryStores();
  ({ clock } = stores);
  broker = memoryBroker(stores);
  world = new UpgradeWorld(broker, clock);
  consumer = new Consumer(broker, clock, 'new');
  await clock.run(broker.putTopic({ name: 'orders', partitions: 4 }));
});

/** Both have two partitions. */
async function share(owned: readonly string[] = []): Promise<{ generation: number; owned: string[] }> {
  await consumer.beats();
  await world.take('old', owned);
  await consumer.beats();
  const taken = await world.take('old', owned);
  expect(taken.owned).toHaveLength(2);
  await consumer.beats();
  return taken;
}
const numberOf = (name: string | undefined): number => Number(name?.split('/')[1]);
const over = (at: typeof stores) => new UpgradeWorld(memoryBroker(at), clock);
const isOffsets = (request: StoreRequest, key: string): boolean =>
  request === 'updateItem' && key.startsWith('offsets#');

describe('a classic member in a group of KIP-848', () => {
  it('releases nothing by a join, whose copy may be late, but by the sync after it', async () => {
    const { generation, owned } = await share();
    // An eager member has let go of all when it joins. This copy of its join comes while it reads.
    const copy = await world.join('old');
    const [third, fourth] = ['third', 'fourth'].map((id) => new Consumer(broker, clock, id)) as [Consumer, Consumer];
    for (const each of [third, fourth, consumer, third, fourth]) await each.beats();
    const others = [third, fourth, consumer].flatMap(({ partitions }) => partitions);
    expect(others.filter((partition) => owned.includes(`orders/${partition}`))).toEqual([]);
    expect(await world.commit('old', generation, numberOf(owned[0]), 4)).toBe('ok');
    expect(await world.beat('old', generation)).toBe('rebalance_in_progress');
    expect(await codeOf(world.sync({ ...copy, generation }))).toBe('rebalance_in_progress');
    expect(await codeOf(world.sync({ ...copy, generation: copy.generation + 1 }))).toBe('illegal_generation');
    // It really joins.
    expect((await world.take('old')).owned).toHaveLength(1);
    for (const each of [third, fourth]) expect(await each.beats()).toHaveLength(1);
  });

  it('gets the same by each copy of a sync', async () => {
    const { generation, owned } = await share();
    const joined = { memberId: 'old', generation } as Awaited<ReturnType<typeof world.join>>;
    expect(await world.sync(joined)).toEqual(owned);
    await new Consumer(broker, clock, 'third').beats();
    expect(await world.sync(joined)).toEqual(owned);
    const other = { ...joined, protocol: 'other' };
    const request = { group: GROUP, memberId: 'old', generation, assignments: [] };
    expect(await codeOf(clock.run(broker.syncClassicGroup({ ...request, protocol: other.protocol })))).toBe(
      'inconsistent_group_protocol',
    );
    expect(await codeOf(clock.run(broker.syncClassicGroup({ ...request, protocolType: 'connect' })))).toBe(
      'inconsistent_group_protocol',
    );
    expect(
      await codeOf(
        clock
          .run(broker.syncClassicGroup({ ...request, protocolType: 'consumer', protocol: 'sticky' }))
          .then(() => 'ok'),
      ),
    ).toBe('ok');
  });

  it('commits only what it owns, and nothing under a generation from before it let go', async () => {
    const { generation, owned } = await share();
    const [mine, other] = [numberOf(owned[0]), consumer.partitions[0] as number];
    expect(await world.commit('old', generation, mine, 4)).toBe('ok');
    expect(await world.commit('old', generation, other, 4)).toBe('rebalance_in_progress');
    expect(await world.commit('old', generation - 1, mine, 3)).toBe('rebalance_in_progress');
    expect(await world.commit('nobody', generation, mine, 3)).toBe('rebalance_in_progress');
    const again = await world.take('old');
    expect(again.owned).toEqual(owned);
    expect(await world.commit('old', generation, mine, 3)).toBe('rebalance_in_progress');
    expect(await world.commit('old', again.generation, mine, 5)).toBe('ok');
    expect(await world.commit('old', again.generation + 1, mine, 6)).toBe('ok');
    expect(await world.committed(mine)).toBe(6);
  });

  it('commits nothing under an earlier generation after a commit under a newer one, though it read on', async () => {
    const { generation, owned } = await share();
    const again = await world.take('old', owned);
    const mine = numberOf(owned[0]);
    expect(await world.commit('old', generation, mine, 4)).toBe('ok');
    expect(await world.commit('old', again.generation, mine, 6)).toBe('ok');
    expect(await world.commit('old', generation, mine, 5)).toBe('rebalance_in_progress');
    expect(await world.committed(mine)).toBe(6);
  });

  it('joins again if the target is newer than its generation, so that no fence is above that', async () => {
    await share();
    const joined = await world.join('old');
    for (let i = 0; i < 20; i++) await new Consumer(broker, clock, `more${i}`).beats(2);
    const { targetEpoch } = await clock.run(broker.describeGroup(GROUP));
    expect(targetEpoch).toBeGreaterThan(joined.generation);
    expect(await codeOf(world.sync(joined))).toBe('rebalance_in_progress');
    expect((await world.join('old')).generation).toBeGreaterThanOrEqual(targetEpoch);
  });

  it('commits until it joins again when the group has become a classic one', async () => {
    const { generation, owned } = await share();
    await consumer.leave();
    const mine = numberOf(owned[0]);
    expect(await world.commit('old', generation, mine, 4)).toBe('ok');
    const joining = broker.joinClassicGroup(world.request('second'));
    await clock.advance(1_000);
    expect(await world.commit('old', generation, mine, 5)).toBe('ok');
    await clock.run(Promise.all([joining, broker.joinClassicGroup(world.request('old'))]));
    expect(await world.committed(mine)).toBe(5);
  });

  it('holds what its sync was given and did not claim, and gets it by another copy', async () => {
    await consumer.beats();
    await world.take('old');
    await consumer.beats();
    const joined = await world.join('old');
    const dying = happeningBefore(stores, isOffsets, () => Promise.reject(new Error('The process dies.')));
    await expect(over(dying).sync(joined)).rejects.toThrow('failed unexpectedly');
    const third = new Consumer(broker, clock, 'third');
    await third.beats();
    expect(third.partitions).toEqual([]);
    const owned = await world.sync(joined);
    expect(owned).toHaveLength(2);
    expect(await world.commit('old', joined.generation, numberOf(owned[0]), 1)).toBe('ok');
  });

  it('owns after a heartbeat what its sync did not claim, so that the group settles', async () => {
    await consumer.beats();
    await world.take('old');
    await consumer.beats();
    const joined = await world.join('old');
    const dying = happeningBefore(stores, isOffsets, () => Promise.reject(new Error('The process dies.')));
    await expect(over(dying).sync(joined)).rejects.toThrow('failed unexpectedly');
    expect(await world.beat('old', joined.generation)).toBeUndefined();
    await consumer.beats();
    expect(await clock.run(broker.describeGroup(GROUP))).toMatchObject({ state: 'stable' });
  });

  it('gets the generation of its last try if a reply is lost', async () => {
    await consumer.beats();
    const lost = new EventLogError('storage_unavailable', 'The reply was lost.', { outcome: 'unknown' });
    const losing = losingReply(stores, (request, key) => request === 'putItem' && key.startsWith('member#'), lost);
    const joined = await over(losing).join('old');
    expect(joined.memberId).toBe('old');
    await world.sync(joined);
    expect(await world.beat('old', joined.generation)).toBeUndefined();
  });

  it('is not disturbed by a target that gives it what it has', async () => {
    const { generation, owned } = await share();
    await clock.run(broker.putTopic({ name: 'other', partitions: 2 }));
    const request = { group: GROUP, memberId: 'elsewhere', memberEpoch: 0, subscription: { topics: ['other'] } };
    await clock.run(broker.heartbeat(request));
    await consumer.beats();
    for (let i = 0; i < 3; i++) expect(await world.beat('old', generation)).toBeUndefined();
    await consumer.beats();
    const { members, targetEpoch } = await clock.run(broker.describeGroup(GROUP));
    expect(members.find(({ memberId }) => memberId === 'old')).toMatchObject({ targetEpoch });
    expect(await world.sync({ memberId: 'old', generation } as Awaited<ReturnType<typeof world.join>>)).toEqual(owned);
  });

  it('lets go of what a newer target takes from it, and reads the rest on', async () => {
    await clock.run(broker.putTopic({ name: 'other', partitions: 1 }));
    const elsewhere = { group: GROUP, memberId: 'elsewhere', memberEpoch: 0, subscription: { topics: ['other'] } };
    await clock.run(broker.heartbeat(elsewhere));
    const all = await world.take('old');
    expect(all.owned).toHaveLength(4);
    await consumer.beats();
    expect(await world.beat('old', all.generation)).toBe('rebalance_in_progress');
    const kept = await world.take('old', all.owned);
    expect(kept.owned).toHaveLength(2);
    expect(await world.commit('old', kept.generation, numberOf(kept.owned[0]), 3)).toBe('ok');
    // The sync told it to; until it joins without them, it may still read them.
    expect(await world.beat('old', kept.generation)).toBe('rebalance_in_progress');
    expect(await consumer.beats()).toEqual([]);
    const settled = await world.take('old', kept.owned);
    expect(settled.owned).toEqual(kept.owned);
    expect(await consumer.beats()).toHaveLength(2);
    expect(await world.beat('old', settled.generation)).toBeUndefined();
  });

  it('reads what it subscribes to', async () => {
    await share();
    await clock.run(broker.putTopic({ name: 'other', partitions: 2 }));
    const protocols = [{ name: 'sticky', metadata: subscriptionBytes(['other'], { version: 1 }) }];
    const joined = await world.join('old', [], { protocols });
    expect(await world.sync(joined)).toEqual(['other/0', 'other/1']);
    expect(await consumer.beats()).toEqual([0, 1, 2, 3]);
    // A topic that grows is noticed by its heartbeats.
    await clock.run(broker.putTopic({ name: 'other', partitions: 3 }));
    const answers: unknown[] = [];
    for (let i = 0; i < 8; i++) {
      await clock.advance(1_000);
      answers.push(await world.beat('old', joined.generation));
      await consumer.beat();
    }
    expect(answers).toContain('rebalance_in_progress');
  });

  it('looks after members by KIP-848', async () => {
    consumer.sessionTimeoutMs = 10_000;
    let { generation } = await share();
    const types: unknown[] = [];
    for (let i = 0; i < 8; i++) {
      await clock.advance(2_500);
      const code = await world.beat('old', generation);
      if (code === 'rebalance_in_progress') ({ generation } = await world.take('old'));
      types.push((await clock.run(broker.listGroupStates())).items[0]?.type);
    }
    expect(types[0]).toBe('consumer');
    expect(types.at(-1)).toBe('classic');
    expect(await codeOf(consumer.beat())).toBe('unknown_member');
  });

  it('leaves its partitions to the others', async () => {
    await share();
    await clock.run(broker.leaveClassicGroup({ group: GROUP, members: [{ memberId: 'old' }] }));
    expect(await clock.run(broker.describeGroup(GROUP))).toMatchObject({ state: 'computing', members: [{}] });
    expect(await consumer.beats()).toEqual([0, 1, 2, 3]);
    expect(await codeOf(world.join('old'))).toBe('unknown_member');
  });

  it('shares the group with polls', async () => {
    const { generation, owned } = await share();
    await consumer.leave();
    for (let i = 0; i < 4; i++) await clock.run(appendTo(broker, 'orders', i, [`r${i}`]));
    const poll = { group: GROUP, memberId: 'shell', subscription: { topics: ['orders'] }, waitMs: 5_000 };
    const polled = await clock.run(broker.pollGroup(poll));
    expect(polled.partitions).toHaveLength(2);
    expect(polled.assignment[0]?.partitions.map((partition) => `orders/${partition}`)).not.toEqual(owned);
    expect(await world.commit('old', generation, numberOf(owned[0]), 1)).toBe('ok');
  });
});

describe('the upgrade', () => {
  it('looks again if a member joins in between, which then is in the group', async () => {
    const { joined } = await clock.run(settle(broker, [world.request('old')]));
    const isUpgrade = (request: StoreRequest, key: string): boolean => request === 'query' && key.startsWith('member#');
    const late = broker.joinClassicGroup.bind(broker);
    let joining: Promise<unknown> = Promise.resolve();
    const racing = happeningBefore(stores, isUpgrade, async () => {
      joining = late(world.request('late'));
      for (let i = 0; i < 20; i++) await new Promise<void>((resolve) => setImmediate(resolve));
    });
    const first = new Consumer(memoryBroker(racing), clock, 'new');
    await first.beat();
    await clock.run(joining);
    expect(joined).toHaveLength(1);
    const { members } = await clock.run(broker.describeGroup(GROUP));
    expect(members.map(({ memberId }) => memberId)).toEqual(['late', 'old', 'new']);
  });
});

describe('a static member', () => {
  it('by KIP-848 follows one by the classic protocol under its instance id', async () => {
    const request = world.request('', [], { instanceId: 'box', requiresMemberId: false });
    const [old] = (await clock.run(settle(broker, [request]))).joined;
    const { memberId = '', generation = 0 } = old ?? {};
    const follower = new Consumer(broker, clock, 'new', 'box');
    expect(await follower.beats()).toEqual([0, 1, 2, 3]);
    expect(await world.beat(memberId, generation, 'box')).toBe('fenced_instance_id');
    expect(await codeOf(world.join(memberId, [], { instanceId: 'box' }))).toBe('fenced_instance_id');
    expect(await follower.beats()).toEqual([0, 1, 2, 3]);
  });

  it('by the classic protocol follows one by KIP-848 under its instance id', async () => {
    const former = new Consumer(broker, clock, 'former', 'box');
    await former.beats();
    await consumer.beats();
    const joined = await world.join('', [], { instanceId: 'box' });
    await world.sync(joined, 'box');
    expect(await codeOf(former.beat())).toBe('unknown_member');
    await consumer.beats();
    const again = await world.join(joined.memberId, [], { instanceId: 'box' });
    expect(await world.sync(again, 'box')).toHaveLength(2);
    const { members } = await clock.run(broker.describeGroup(GROUP));
    expect(members).toMatchObject([
      { instanceId: 'box', protocol: 'classic' },
      { memberId: 'new', protocol: 'consumer' },
    ]);
    // Another user of the id takes over its partitions.
    const next = await world.join('', [], { instanceId: 'box' });
    expect(await world.sync(next, 'box')).toHaveLength(2);
    expect(await world.beat(joined.memberId, again.generation, 'box')).toBe('fenced_instance_id');
  });
});

describe('a member that comes from a classic group', () => {
  it('is not given what another member has claimed since', async () => {
    const { joined, assigned } = await clock.run(
      settle(
        broker,
        ['old', 'late'].map((id) => world.request(id)),
      ),
    );
    const [had = []] = assigned;
    expect(had).toHaveLength(2);
    const topicId = await clock.run(topicIdOf(stores.items, 'orders'));
    await consumer.beats(3);
    // A leader that saw a late copy of a join gave the partitions to another, whose sync is late.
    const fence = joined[0]?.generation ?? 0;
    const other = { memberId: 'late', memberKey: 'c:late', memberEpoch: fence, fence };
    for (const name of had) await clock.run(claim(stores.items, GROUP, { topicId, partition: numberOf(name) }, other));
    expect((await world.take('old', had)).owned).toEqual([]);
  });
});
