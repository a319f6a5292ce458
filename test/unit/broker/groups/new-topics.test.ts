import { beforeEach, describe, expect, it } from 'vitest';
import type { BrokerContext } from '../../../../shared/broker/context.ts';
import { describeGroup } from '../../../../shared/broker/groups/describe-group.ts';
import { heartbeat } from '../../../../shared/broker/groups/membership/heartbeat.ts';
import { commitOffsets } from '../../../../shared/broker/groups/offsets/commit-offsets.ts';
import { fetchOffsets } from '../../../../shared/broker/groups/offsets/fetch-offsets.ts';
import { groupLag } from '../../../../shared/broker/groups/offsets/lag.ts';
import { newOffsets } from '../../../../shared/broker/groups/offsets/new-offsets.ts';
import { sweepGroups } from '../../../../shared/broker/groups/sweep-groups.ts';
import { partitionSet } from '../../../../shared/log/group/partition-set.ts';
import { aroundStores, keyOf } from '../../../../shared/storage/around-stores.ts';
import { offsetsPartitionKey } from '../../../../shared/storage/group-keys.ts';
import { TOPICS } from '../../../../shared/storage/keys.ts';
import { contextOver, happeningBefore, join, topicIdOf } from '../../../support/group-world.ts';
import { type MemoryStores, memoryBroker, memoryStores } from '../../../support/memory-broker.ts';
import { SimulatedClock } from '../../../support/simulated-clock.ts';
import { Consumer, UpgradeWorld } from '../../../support/upgrade-world.ts';

// No time passes between a listing and what is asked, so nobody lists the topics again only because the last listing is old.

let stores: MemoryStores & { clock: SimulatedClock };

beforeEach(async () => {
  stores = memoryStores();
  await make('old', 1);
});

/** Another process makes a topic. */
const make = (name: string, partitions: number) => memoryBroker(stores).putTopic({ name, partitions });
const commit = (...places: readonly (readonly [topic: string, partition: number])[]) =>
  commitOffsets(contextOver(stores), {
    group: 'g',
    offsets: places.map(([topic, partition]) => ({ topic, partition, offset: 7 })),
  });
const committed = async (context: BrokerContext): Promise<string[]> =>
  (await fetchOffsets(context, { group: 'g', limit: 100 })).items.map(
    ({ topic, partition }) => `${topic}/${partition}`,
  );

/** A process that has listed the topics. */
async function listed(of: MemoryStores = stores): Promise<BrokerContext> {
  const context = contextOver(of);
  await context.topics.byId('none');
  return context;
}

/** A member of the group that has the partition 0 of a topic. */
const joinWith = (topicId: string) => join(stores, 'g', 'a', { assigned: partitionSet([[topicId, 0]]) });

describe('of a topic that was made since the topics were listed', () => {
  it('the sweep keeps every page', async () => {
    const context = await listed();
    await make('new', 48);
    await commit(['new', 0], ['new', 16], ['new', 32]);
    expect(await sweepGroups(context)).toMatchObject({ pagesDeleted: 0, blocked: 0 });
    expect(await committed(context)).toEqual(['new/0', 'new/16', 'new/32']);
  });

  it('the sweep keeps a page that it read while a listing was under way', async () => {
    await commit(['old', 0]);
    const answer = Promise.withResolvers<void>();
    let early: Promise<unknown> | undefined;
    const around = aroundStores(stores, (request, send) => async (...args) => {
      const found = await send(...args);
      if (early !== undefined && request === 'query' && keyOf(args).startsWith(TOPICS)) await answer.promise;
      return found;
    });
    const context = await listed(
      happeningBefore(
        { ...stores, ...around },
        (request, key) => request === 'query' && key.startsWith('offsets#'),
        async () => {
          early = context.topics.byId('other', context.topics.listings);
          // The listing is sent.
          for (let i = 0; i < 50; i++) await Promise.resolve();
          await make('new', 1);
          await commit(['new', 0]);
        },
      ),
    );
    const sweeping = sweepGroups(context);
    await stores.clock.advance(0);
    expect(early).toBeDefined();
    answer.resolve();
    expect(await sweeping).toMatchObject({ pagesDeleted: 0, blocked: 0 });
    expect((await committed(contextOver(stores))).sort()).toEqual(['new/0', 'old/0']);
  });

  it('all committed offsets are listed', async () => {
    const context = await listed();
    await make('new', 1);
    await commit(['new', 0], ['old', 0]);
    expect((await committed(context)).sort()).toEqual(['new/0', 'old/0']);
  });

  it('the lag is counted', async () => {
    const context = await listed();
    await make('new', 32);
    await commit(['new', 0], ['new', 16]);
    expect((await groupLag(context, { group: 'g' })).partitions).toHaveLength(2);
  });

  it('a heartbeat and a description name the partitions of a member', async () => {
    const contexts = [await listed(), await listed()] as const;
    await make('new', 1);
    await joinWith(await topicIdOf(stores.items, 'new'));
    const beat = await heartbeat(contexts[0], { group: 'g', memberId: 'a', memberEpoch: 1 });
    expect(beat.assignment).toMatchObject([{ topic: 'new', partitions: [0] }]);
    const { members } = await describeGroup(contexts[1], 'g');
    expect(members[0]?.assigned).toEqual([{ topic: 'new', partitions: [0] }]);
  });

  it('a classic member in a group of KIP-848 is told all its partitions', async () => {
    const { clock } = stores;
    // Whose time stands still, so that its listing stays new.
    const other = memoryBroker({ ...stores, clock: new SimulatedClock() });
    await other.topicById('none');
    const broker = memoryBroker(stores);
    await broker.putTopic({ name: 'orders', partitions: 4 });
    const world = new UpgradeWorld(broker, clock);
    const consumer = new Consumer(broker, clock, 'new');
    await consumer.beats();
    await world.take('old');
    await consumer.beats();
    const { generation, owned } = await world.take('old');
    expect(owned).toHaveLength(2);
    const copy = { memberId: 'old', generation } as Awaited<ReturnType<typeof world.join>>;
    expect(await new UpgradeWorld(other, clock).sync(copy)).toEqual(owned);
  });

  it('the positions of a poll are committed, once the topics may be listed again', async () => {
    const context = await listed();
    await make('new', 1);
    const topicId = await topicIdOf(stores.items, 'new');
    const positions = ['made up', topicId].map((id) => ({ topicId: id, partition: 0, offset: 5, isNew: true }));
    expect(await stores.clock.run(newOffsets(context, positions, undefined))).toEqual([
      { topic: 'new', partition: 0, offset: 5 },
    ]);
  });

  it('a head whose nodes have moved is merged', async () => {
    const other = memoryBroker(stores);
    await other.topicById('none');
    await make('new', 1);
    const topicId = await topicIdOf(stores.items, 'new');
    expect(await other.mergeHead(topicId, 0)).toBeDefined();
  });
});

describe('of a topic that was made again under a name that is remembered', () => {
  it('the sweep keeps the offsets, and the lag is counted', async () => {
    const contexts = [contextOver(stores), contextOver(stores)] as const;
    for (const { topics } of contexts) await topics.get('old');
    await memoryBroker(stores).deleteTopic('old');
    await make('old', 1);
    await commit(['old', 0]);
    expect((await groupLag(contexts[0], { group: 'g' })).partitions).toHaveLength(1);
    expect(await sweepGroups(contexts[1])).toMatchObject({ pagesDeleted: 0 });
    expect((await stores.items.query({ pk: offsetsPartitionKey('g'), limit: 10 })).items).toHaveLength(1);
  });
});
