import { describe, expect, it } from 'vitest';
import type { Broker } from '../../../../shared/broker/broker.ts';
import { DEFAULT_SETTINGS } from '../../../../shared/broker/settings.ts';
import type { HeartbeatResult } from '../../../../shared/log/group/heartbeat-result.ts';
import { type PartitionSet, partitionSet } from '../../../../shared/log/group/partition-set.ts';
import { memberPartitionKey, offsetsPartitionKey, targetPartitionKey } from '../../../../shared/storage/group-keys.ts';
import { itemBytes } from '../../../../shared/storage/rules/item-size.ts';
import { memoryBroker, memoryStores } from '../../../support/memory-broker.ts';

const INTERVAL_MS = 5_000;
const SESSION_MS = 15_000;
const GROUP = 'g';

type World = ReturnType<typeof memoryStores>;

/** A member in a process of its own. It sends its heartbeats until it is stopped, and holds what it was told to read. */
class TestMember {
  readonly id: string;
  readonly broker: Broker;
  readonly #world: World;
  readonly #topics: readonly string[];
  #epoch = 0;
  #isStopped = false;
  answer: HeartbeatResult | undefined;
  heartbeats = 0;
  requestsMax = 0;
  writesOfLast = 0;
  /** Whenever it was told something else: the partitions that it lost by that. */
  readonly lost: string[] = [];

  constructor(world: World, id: string, topics: readonly string[] = ['t']) {
    this.id = id;
    this.#world = world;
    this.#topics = topics;
    this.broker = memoryBroker(world, DEFAULT_SETTINGS);
  }

  get owned(): PartitionSet {
    const topics = this.answer?.assignment ?? [];
    return partitionSet(
      topics.flatMap(({ topicId, partitions }) => partitions.map((each) => [topicId, each] as const)),
    );
  }

  get names(): string[] {
    return (this.answer?.assignment ?? []).flatMap(({ topic, partitions }) =>
      partitions.map((each) => `${topic}/${each}`),
    );
  }

  async beat(): Promise<HeartbeatResult> {
    const before = this.#requests();
    const names = this.names;
    this.answer = await this.broker.heartbeat({
      group: GROUP,
      memberId: this.id,
      memberEpoch: this.#epoch,
      subscription: this.#epoch === 0 ? { topics: this.#topics } : undefined,
      sessionTimeoutMs: SESSION_MS,
      owned: this.owned,
    });
    this.#epoch = this.answer.memberEpoch;
    this.lost.push(...names.filter((name) => !this.names.includes(name)));
    this.heartbeats++;
    const after = this.#requests();
    this.requestsMax = Math.max(this.requestsMax, after.all - before.all);
    this.writesOfLast = after.writes - before.writes;
    return this.answer;
  }

  async run(): Promise<void> {
    while (!this.#isStopped) {
      const { heartbeatIntervalMs } = await this.beat();
      await this.#world.clock.sleep(heartbeatIntervalMs);
    }
  }

  stop(): void {
    this.#isStopped = true;
  }

  #requests(): { readonly all: number; readonly writes: number } {
    let [reads, writes] = [0, 0];
    for (const { purpose, counts } of this.broker.usage()) {
      if (purpose !== 'group') continue;
      reads += counts.getItem + counts.query;
      writes += counts.putItem + counts.updateItem + counts.deleteItem;
    }
    return { all: reads + writes, writes };
  }
}

async function worldWith(partitions: number) {
  const world = memoryStores();
  const { clock } = world;
  await clock.run(memoryBroker(world).putTopic({ name: 't', partitions }));
  return world;
}

/** Each partition once, over all members. */
function ownedOnce(members: readonly TestMember[]): string[] {
  const all = members.flatMap(({ names }) => names);
  expect(new Set(all).size).toBe(all.length);
  return all;
}

describe('100 members that join a group of 1,000 partitions at once', () => {
  it('have them all within 3 heartbeat intervals, with at most 4 requests to the table in each heartbeat', async () => {
    const world = await worldWith(1_000);
    const members = Array.from({ length: 100 }, (_, i) => new TestMember(world, `m${i}`));
    const runs = members.map((member) => member.run());
    await world.clock.advance(3 * INTERVAL_MS);
    expect(ownedOnce(members)).toHaveLength(1_000);
    expect(members.every(({ answer }) => answer?.isSettled)).toBe(true);
    for (const { names } of members) expect(names).toHaveLength(10);
    expect(Math.max(...members.map(({ requestsMax }) => requestsMax))).toBeLessThanOrEqual(4);
    for (const member of members) member.stop();
    await world.clock.run(Promise.all(runs));
  });
});

describe('a group of 4 members', () => {
  async function settled() {
    const world = await worldWith(40);
    const members = Array.from({ length: 4 }, (_, i) => new TestMember(world, `m${i}`));
    const runs = members.map((member) => member.run());
    await world.clock.advance(3 * INTERVAL_MS);
    expect(ownedOnce(members)).toHaveLength(40);
    for (const { lost } of members) lost.length = 0;
    const end = async (): Promise<void> => {
      for (const member of members) member.stop();
      await world.clock.run(Promise.all(runs));
    };
    return { world, members, end };
  }

  it('owns the partitions of a killed member again within its session and 2 heartbeats, and the others keep theirs', async () => {
    const { world, members, end } = await settled();
    const [killed, ...others] = members as [TestMember, ...TestMember[]];
    killed.stop();
    await world.clock.advance(SESSION_MS + 2 * INTERVAL_MS);
    expect(ownedOnce(others)).toHaveLength(40);
    expect(others.flatMap(({ lost }) => lost)).toEqual([]);
    await end();
  });

  it('owns the partitions of a member that leaves within 2 heartbeats', async () => {
    const { world, members, end } = await settled();
    const [leaving, ...others] = members as [TestMember, ...TestMember[]];
    leaving.stop();
    await world.clock.run(leaving.broker.leaveGroup({ group: GROUP, memberId: leaving.id }));
    await world.clock.advance(2 * INTERVAL_MS);
    expect(ownedOnce(others)).toHaveLength(40);
    await end();
  });

  it('gives a fifth member its share, and takes no other partitions away', async () => {
    const { world, members, end } = await settled();
    const fifth = new TestMember(world, 'm4');
    const run = fifth.run();
    await world.clock.advance(3 * INTERVAL_MS);
    expect(ownedOnce([...members, fifth])).toHaveLength(40);
    expect(fifth.names).toHaveLength(8);
    expect(members.flatMap(({ lost }) => lost).sort()).toEqual(fifth.names.toSorted());
    fifth.stop();
    await world.clock.run(run);
    await end();
  });

  it('follows a topic that gets more partitions', async () => {
    const { world, members, end } = await settled();
    await world.clock.run(memoryBroker(world).putTopic({ name: 't', partitions: 44 }));
    await world.clock.advance(4 * INTERVAL_MS);
    expect(ownedOnce(members)).toHaveLength(44);
    await end();
  });

  it('costs 1 write a heartbeat while nothing happens', async () => {
    const { world, members, end } = await settled();
    await world.clock.advance(4 * INTERVAL_MS);
    for (const { writesOfLast } of members) expect(writesOfLast).toBe(1);
    await end();
  });
});

describe('a group of 1,000 members and 10,000 partitions', () => {
  it('has no item near the limit of 400 KB', { timeout: 120_000 }, async () => {
    const world = await worldWith(10_000);
    const members = Array.from({ length: 1_000 }, (_, i) => new TestMember(world, `member-${i}`));
    for (let round = 0; round < 8; round++) {
      for (const member of members) await world.clock.run(member.beat());
      await world.clock.advance(500);
      if (members.every(({ answer }) => answer?.isSettled)) break;
    }
    expect(ownedOnce(members)).toHaveLength(10_000);
    const sizes: number[] = [];
    for (const pk of [memberPartitionKey(GROUP), offsetsPartitionKey(GROUP), targetPartitionKey(GROUP)]) {
      for (const { sk, attributes } of (await world.items.query({ pk, limit: 10_000 })).items)
        sizes.push(itemBytes({ pk, sk }, attributes));
    }
    expect(Math.max(...sizes)).toBeLessThan(64 * 1024);
  });
});
