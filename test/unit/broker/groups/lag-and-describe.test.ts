import { beforeEach, describe, expect, it } from 'vitest';
import { describeGroup } from '../../../../shared/broker/groups/describe-group.ts';
import { commitOffsets } from '../../../../shared/broker/groups/offsets/commit-offsets.ts';
import { groupLag } from '../../../../shared/broker/groups/offsets/lag.ts';
import { partitionSet } from '../../../../shared/log/group/partition-set.ts';
import { aroundStores } from '../../../../shared/storage/around-stores.ts';
import { GROUP, groupKey } from '../../../../shared/storage/group-keys.ts';
import { claim, contextOver, join, topicIdOf } from '../../../support/group-world.ts';
import { appendTo, codeOf, type MemoryStores, memoryBroker, memoryStores } from '../../../support/memory-broker.ts';
import type { SimulatedClock } from '../../../support/simulated-clock.ts';

let stores: MemoryStores & { clock: SimulatedClock };
let topicId: string;

beforeEach(async () => {
  stores = memoryStores();
  await memoryBroker(stores).putTopic({ name: 'orders', partitions: 40 });
  topicId = await topicIdOf(stores.items, 'orders');
});

const at = (partition: number, offset: number, topic = 'orders') => ({ topic, partition, offset });
const lagOf = (request: object = {}, of: MemoryStores = stores) =>
  groupLag(contextOver(of), { group: 'g', ...request });

describe('lag', () => {
  beforeEach(async () => {
    const broker = memoryBroker(stores);
    for (let i = 0; i < 10; i++) {
      await appendTo(broker, 'orders', 0, [`${i}`]);
      await stores.clock.advance(1_000);
    }
    await appendTo(broker, 'orders', 1, ['x', 'y']);
    await stores.clock.advance(500);
  });

  it('counts unread records and how long the oldest of them waits', async () => {
    await commitOffsets(contextOver(stores), {
      group: 'g',
      offsets: [at(0, 4), { ...at(1, 2), metadata: 'm' }, at(30, 0)],
    });
    const lag = await lagOf();
    expect(lag).toMatchObject({
      totalLagRecords: 6,
      maxLagMs: 6_500,
      partitionsWithLag: 1,
      partitionsWithoutOffset: 0,
    });
    expect(lag.partitions).toEqual([
      {
        topic: 'orders',
        partition: 0,
        committedOffset: 4,
        metadata: '',
        logStartOffset: 0,
        highWatermark: 10,
        lagRecords: 6,
        lagMs: 6_500,
        memberId: null,
        instanceId: null,
      },
      {
        topic: 'orders',
        partition: 1,
        committedOffset: 2,
        metadata: 'm',
        logStartOffset: 0,
        highWatermark: 2,
        lagRecords: 0,
        lagMs: 0,
        memberId: null,
        instanceId: null,
      },
      {
        topic: 'orders',
        partition: 30,
        committedOffset: 0,
        metadata: '',
        logStartOffset: 0,
        highWatermark: 0,
        lagRecords: 0,
        lagMs: 0,
        memberId: null,
        instanceId: null,
      },
    ]);
    expect(await lagOf({ withTimes: false })).toMatchObject({ totalLagRecords: 6, maxLagMs: null });
  });

  it('does not count what retention has dropped, nor less than nothing', async () => {
    await commitOffsets(contextOver(stores), { group: 'g', offsets: [at(0, 2), at(1, 7)] });
    await memoryBroker(stores).deleteRecords({ topic: 'orders', partition: 0, before: 8 });
    expect((await lagOf()).partitions.map(({ lagRecords, lagMs }) => [lagRecords, lagMs])).toEqual([
      [2, 2_500],
      [0, 0],
    ]);
  });

  it('counts partitions without an offset that a member has or is to get, and names owners', async () => {
    const set = (partitions: number[]) => partitionSet(partitions.map((partition) => [topicId, partition]));
    await join(stores, 'g', 'a', { assigned: set([0, 1]), wanted: set([0, 1, 5]) });
    await claim(stores.items, 'g', { topicId, partition: 0 }, { memberId: 'a' });
    await claim(stores.items, 'g', { topicId, partition: 1 }, { memberId: 'dead' });
    await claim(stores.items, 'g', { topicId, partition: 9 }, { memberId: 'dead' });
    await commitOffsets(contextOver(stores), { group: 'g', member: { memberId: 'a' }, offsets: [at(0, 10)] });
    const lag = await lagOf();
    expect(
      lag.partitions.map(({ partition, committedOffset, lagRecords, memberId }) => [
        partition,
        committedOffset,
        lagRecords,
        memberId,
      ]),
    ).toEqual([
      [0, 10, 0, 'a'],
      [1, null, null, null],
      [5, null, null, null],
    ]);
    expect(lag).toMatchObject({ totalLagRecords: 0, partitionsWithLag: 0, partitionsWithoutOffset: 2 });
  });

  it('leaves out deleted topics, also ones that were made again', async () => {
    const broker = memoryBroker(stores);
    await broker.putTopic({ name: 'bills', partitions: 3 });
    await commitOffsets(contextOver(stores), { group: 'g', offsets: [at(0, 10), at(2, 1, 'bills')] });
    await broker.deleteTopic('bills');
    expect((await lagOf()).partitions).toHaveLength(1);
    await memoryBroker(stores).putTopic({ name: 'bills', partitions: 1 });
    expect((await lagOf()).partitions).toHaveLength(1);
    expect(await codeOf(groupLag(contextOver(stores), { group: 'none' }))).toBe('unknown_group');
  });

  it('costs one read for each head, and one for each partition that lags', async () => {
    await commitOffsets(contextOver(stores), { group: 'g', offsets: [at(0, 10), at(1, 1), at(20, 0), at(39, 0)] });
    const seen: string[] = [];
    const around = aroundStores(stores, (request, send) => (...args) => {
      seen.push(request);
      return send(...args);
    });
    await lagOf({}, { ...stores, ...around });
    // The group, the topic, three heads, one batch; members, pages, and the topics' names.
    expect(seen.sort()).toEqual([...Array(6).fill('getItem'), ...Array(3).fill('query')]);
  });
});

describe('a description', () => {
  it('tells the state and the members', async () => {
    expect(await codeOf(describeGroup(contextOver(stores), 'g'))).toBe('unknown_group');
    await commitOffsets(contextOver(stores), { group: 'g', offsets: [at(0, 1)] });
    expect(await describeGroup(contextOver(stores), 'g')).toMatchObject({ state: 'empty', epoch: 1, members: [] });
    const set = partitionSet([
      [topicId, 0],
      [topicId, 3],
    ]);
    const subscription = { topics: ['orders'] };
    await join(stores, 'g', 'a', {
      assigned: set,
      wanted: set,
      targetEpoch: 2,
      epoch: 5,
      assignor: 'range',
      client: { clientId: 'c', host: 'h' },
      subscription,
    });
    const state = async () => (await describeGroup(contextOver(stores), 'g')).state;
    expect(await state()).toBe('computing');
    await stores.items.update(groupKey('g'), [{ do: 'set', name: GROUP.targetEpoch, value: 2 }]);
    await stores.clock.advance(2_900);
    expect(await describeGroup(contextOver(stores), 'g')).toEqual({
      group: 'g',
      state: 'stable',
      epoch: 2,
      targetEpoch: 2,
      assignor: 'range',
      members: [
        {
          memberId: 'a',
          instanceId: null,
          client: { clientId: 'c', host: 'h' },
          memberEpoch: 5,
          targetEpoch: 2,
          topics: ['orders'],
          topicPattern: null,
          assigned: [{ topic: 'orders', partitions: [0, 3] }],
          revoking: [],
          wanted: [{ topic: 'orders', partitions: [0, 3] }],
          secondsSinceSeen: 2,
          sessionTimeoutMs: 45_000,
          isAway: false,
          protocol: 'consumer',
        },
      ],
    });
    await join(stores, 'g', 'b', { key: 'i:box', targetEpoch: 1, isAway: true });
    expect(await state()).toBe('computing');
    await stores.items.update(groupKey('g'), [{ do: 'set', name: GROUP.targetEpoch, value: 3 }]);
    expect(await state()).toBe('reconciling');
    const { members } = await describeGroup(contextOver(stores), 'g');
    expect(members.map(({ memberId, instanceId, isAway }) => [memberId, instanceId, isAway])).toEqual([
      ['b', 'box', true],
      ['a', null, false],
    ]);
  });
});
