import { describe, expect, it } from 'vitest';
import { type Access, CONSUME, DELETE_GROUPS, GROUPS, SWEEP_GROUPS, union } from '../../../infra/constructs/access.ts';
import type { Broker } from '../../../shared/broker/broker.ts';
import type { AssignedTopic } from '../../../shared/log/group/heartbeat-result.ts';
import { partitionSet } from '../../../shared/log/group/partition-set.ts';
import type { Subscription } from '../../../shared/log/group/subscription.ts';
import { guardedStores, listed } from '../../support/guarded-stores.ts';
import { appendTo, type MemoryStores, memoryBroker, memoryStores } from '../../support/memory-broker.ts';
import type { SimulatedClock } from '../../support/simulated-clock.ts';

/** What roles do with consumer groups, over stores that refuse everything else. */
interface Work {
  readonly name: string;
  readonly access: Access;
  /** What is granted with it. */
  readonly beside?: Access;
  /** Unguarded, beforehand. */
  prepare(broker: Broker, stores: MemoryStores): Promise<void>;
  run(broker: Broker, stores: MemoryStores): Promise<void>;
}

const DAY_MS = 86_400_000;
const at = (partition: number, offset: number) => ({ topic: 'orders', partition, offset });

const works: Work[] = [
  {
    name: 'members and offsets',
    access: GROUPS,
    beside: CONSUME,
    async prepare(broker) {
      await broker.putTopic({ name: 'orders', partitions: 2 });
      await broker.putTopic({ name: 'others' });
      await appendTo(broker, 'orders', 0, ['x', 'y']);
    },
    async run(broker, stores) {
      const first = new TestMember(broker, stores, 'first', { topics: ['orders'] });
      await first.until(2);
      const second = new TestMember(memoryBroker(stores), stores, 'second', { topics: ['orders', 'others'] });
      for (let i = 0; i < 20; i++) for (const member of [first, second]) await member.beat();
      expect([first.count + second.count, second.count > 0]).toEqual([3, true]);
      await stores.clock.sleep(30_000);
      await second.beat();
      await stores.clock.sleep(30_000);
      // Now the first is overdue.
      await second.until(3);
      const { memberEpoch } = second;
      const member = { memberId: 'second', memberEpoch };
      expect(await broker.commitOffsets({ group: 'g', member, offsets: [at(0, 1), at(1, 0)] })).toEqual([
        { ok: true },
        { ok: true },
      ]);
      expect(await broker.groupLag({ group: 'g' })).toMatchObject({ totalLagRecords: 1 });
      expect(await broker.describeGroup('g')).toMatchObject({ members: [{ memberId: 'second' }] });
      await broker.leaveGroup({ group: 'g', memberId: 'second' });
      await broker.commitOffsets({ group: 'h', offsets: [at(0, 0)] });
      await broker.resetOffsets({ group: 'h', topics: [{ topic: 'orders' }], reset: { to: 'latest' } });
      await broker.deleteOffsets({ group: 'h', partitions: [at(1, 0)] });
      expect((await broker.fetchOffsets({ group: 'h' })).items).toMatchObject([{ offset: 2 }]);
      expect((await broker.fetchOffsets({ group: 'h', partitions: [at(0, 0)] })).items).toHaveLength(1);
      expect((await broker.listGroups()).items).toEqual([{ group: 'g' }, { group: 'h' }]);
    },
  },
  {
    name: 'deletion',
    access: DELETE_GROUPS,
    async prepare(broker, stores) {
      await broker.putTopic({ name: 'orders', partitions: 2 });
      await new TestMember(broker, stores, 'first', { topics: ['orders'] }).until(2);
      await broker.leaveGroup({ group: 'g', memberId: 'first' });
    },
    async run(broker) {
      await broker.deleteGroup('g');
    },
  },
  {
    name: 'sweep',
    access: SWEEP_GROUPS,
    async prepare(broker, stores) {
      await broker.putTopic({ name: 'orders', partitions: 2 });
      await broker.putTopic({ name: 'deleted' });
      await new TestMember(broker, stores, 'first', { topics: ['orders'] }).until(2);
      await broker.leaveGroup({ group: 'g', memberId: 'first' });
      await broker.commitOffsets({ group: 'g', offsets: [at(0, 0), { ...at(0, 0), topic: 'deleted' }] });
      await broker.commitOffsets({ group: 'used', offsets: [at(0, 0)] });
      await broker.deleteTopic('deleted');
      await broker.sweepGroups();
      // So that one offset of an item expires before the other.
      await stores.clock.sleep(6 * DAY_MS);
      await broker.commitOffsets({ group: 'used', offsets: [at(1, 0)] });
    },
    async run(broker, stores) {
      // Stopped after its first group, so that it notes how far it came.
      const stop = new AbortController();
      const get: typeof stores.items.get = (key) => {
        if (key.pk.startsWith('group#')) stop.abort();
        return stores.items.get(key);
      };
      const stopping = memoryBroker({ ...stores, items: { ...stores.items, get } });
      const stopped = await stopping.sweepGroups({ signal: stop.signal });
      expect(stopped.error).toBeUndefined();
      expect(stopped).toMatchObject({ blocked: 0, complete: false });
      for (let day = 0; day < 20; day += 4) {
        await stores.clock.sleep(4 * DAY_MS);
        expect(await broker.sweepGroups()).toMatchObject({ blocked: 0, complete: true });
      }
      expect((await broker.listGroups()).items).toEqual([]);
    },
  },
];

/** A member that sends what a client would. */
class TestMember {
  assignment: readonly AssignedTopic[] = [];
  memberEpoch = 0;
  readonly #broker: Broker;
  readonly #clock: MemoryStores['clock'];
  readonly #memberId: string;
  readonly #subscription: Subscription;

  constructor(broker: Broker, { clock }: MemoryStores, memberId: string, subscription: Subscription) {
    this.#broker = broker;
    this.#clock = clock;
    this.#memberId = memberId;
    this.#subscription = subscription;
  }

  get count(): number {
    return this.assignment.reduce((sum, { partitions }) => sum + partitions.length, 0);
  }

  async beat(): Promise<void> {
    const owned = partitionSet(
      this.assignment.flatMap(({ topicId, partitions }) => partitions.map((each) => [topicId, each] as const)),
    );
    const { memberEpoch, assignment } = await this.#broker.heartbeat({
      group: 'g',
      memberId: this.#memberId,
      memberEpoch: this.memberEpoch,
      owned,
      ...(this.memberEpoch === 0 ? { subscription: this.#subscription } : {}),
    });
    this.memberEpoch = memberEpoch;
    this.assignment = assignment;
    await this.#clock.sleep(500);
  }

  async until(count: number): Promise<void> {
    for (let i = 0; i < 60 && this.count !== count; i++) await this.beat();
    expect(this.count).toBe(count);
  }
}

async function runGuarded({ access, beside, prepare, run }: Work) {
  const stores = memoryStores();
  const clock: SimulatedClock = stores.clock;
  await clock.run(() => prepare(memoryBroker(stores), stores));
  const guarded = guardedStores(stores, beside === undefined ? access : union(access, beside));
  await clock.run(() => run(memoryBroker(guarded), guarded));
  return guarded;
}

describe.each(works)('groups: $name', (work) => {
  it('needs no more than its access, and all of it', async () => {
    const { refused, used } = await runGuarded(work);
    expect([...refused]).toEqual([]);
    expect(listed(work.access).filter((what) => !used.has(what))).toEqual([]);
  });
});

it('lets who reads as a group change neither records nor topics, and delete nothing', () => {
  const allowed = listed(union(CONSUME, GROUPS)).filter((what) => !/^(GetItem|Query|GetObject) /.test(what));
  expect(allowed).toEqual([
    'PutItem groupListing',
    'PutItem member',
    'PutItem target',
    'UpdateItem group',
    'UpdateItem member',
    'UpdateItem offsets',
  ]);
});

it('lets who deletes or sweeps groups read no record', () => {
  for (const access of [DELETE_GROUPS, SWEEP_GROUPS])
    expect(listed(access).filter((what) => /Object|inlineBatch|node|head/.test(what))).toEqual([]);
});
