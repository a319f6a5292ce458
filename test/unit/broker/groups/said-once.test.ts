import { beforeEach, describe, expect, it } from 'vitest';
import type { Broker } from '../../../../shared/broker/broker.ts';
import type { HeartbeatRequest } from '../../../../shared/broker/groups/membership/heartbeat-request.ts';
import type { HeartbeatResult } from '../../../../shared/log/group/heartbeat-result.ts';
import { type PartitionSet, partitionSet } from '../../../../shared/log/group/partition-set.ts';
import { memoryBroker, memoryStores } from '../../../support/memory-broker.ts';
import type { SimulatedClock } from '../../../support/simulated-clock.ts';

let broker: Broker;
let clock: SimulatedClock;

// Each member's heartbeat looks at its group first, and so computes a target that is due.
const noCoin = { bytes: (length: number) => new Uint8Array(length) };

beforeEach(async () => {
  const stores = memoryStores();
  broker = memoryBroker(stores, {}, noCoin);
  clock = stores.clock;
  for (const name of ['orders', 'returns']) await clock.run(broker.putTopic({ name, partitions: 4 }));
});

function beat(memberId: string, memberEpoch: number, more: Partial<HeartbeatRequest> = {}): Promise<HeartbeatResult> {
  const subscription = memberEpoch === 0 ? { topics: ['orders'] } : undefined;
  return clock.run(
    broker.heartbeat({ group: 'g', memberId, memberEpoch, subscription, sessionTimeoutMs: 60_000, ...more }),
  );
}

function heldOf({ assignment }: HeartbeatResult): PartitionSet {
  return partitionSet(
    assignment.flatMap(({ topicId, partitions }) => partitions.map((each) => [topicId, each] as const)),
  );
}

const described = async () => (await clock.run(broker.describeGroup('g'))).members;

/** Heartbeats that say nothing new, as Kafka's clients send them: each change is in one request alone. */
async function untilSettled(answers: Map<string, HeartbeatResult>): Promise<void> {
  for (let i = 0; i < 40; i++) {
    await clock.advance(600);
    for (const [memberId, answer] of answers) answers.set(memberId, await beat(memberId, answer.memberEpoch));
    if ([...answers.values()].every(({ isSettled }) => isSettled)) return;
  }
}

describe('what a heartbeat says once', () => {
  it('is heard if the heartbeat computes a target: another subscription', async () => {
    const { memberEpoch } = await beat('a', 0);
    await beat('a', memberEpoch, { subscription: { topics: ['returns'] } });
    expect(await described()).toMatchObject([{ topics: ['returns'] }]);
  });

  it.each([
    ['alone', undefined],
    ['beside another subscription', { topics: ['orders', 'returns'] }],
  ])('is heard if the heartbeat computes a target: what it has let go of, %s', async (_, subscription) => {
    const answers = new Map([['a', await beat('a', 0)]]);
    await untilSettled(answers);
    let a = answers.get('a') as HeartbeatResult;
    const b = await beat('b', 0);
    for (let i = 0; i < 10 && (await described())[0]?.revoking.length === 0; i++) {
      await clock.advance(600);
      a = await beat('a', a.memberEpoch);
    }
    expect((await described())[0]?.revoking).not.toEqual([]);
    // A target is due when it has let go.
    const c = await beat('c', 0);
    await clock.advance(600);
    a = await beat('a', a.memberEpoch, { owned: heldOf(a), subscription });
    expect((await described())[0]?.revoking).toEqual([]);
    const all = new Map(Object.entries({ a, b, c }));
    await untilSettled(all);
    expect([...all.values()].every(({ isSettled }) => isSettled)).toBe(true);
  });

  it('is heard beside another subscription: what it has let go of', async () => {
    const answers = new Map([['a', await beat('a', 0)]]);
    await untilSettled(answers);
    let a = answers.get('a') as HeartbeatResult;
    await beat('b', 0);
    for (let i = 0; i < 10 && (await described())[0]?.revoking.length === 0; i++) {
      await clock.advance(600);
      a = await beat('a', a.memberEpoch);
    }
    await beat('a', a.memberEpoch, { owned: heldOf(a), subscription: { topics: ['orders', 'returns'] } });
    expect(await described()).toMatchObject([{ revoking: [], topics: ['orders', 'returns'] }, {}]);
  });

  it('is heard although the member has gained what it was not told of: another subscription', async () => {
    const answers = new Map([['a', await beat('a', 0)]]);
    await untilSettled(answers);
    let a = answers.get('a') as HeartbeatResult;
    let b = await beat('b', 0);
    const isAhead = async () => ((await described())[1]?.memberEpoch ?? 0) > b.memberEpoch;
    for (let i = 0; i < 20 && !(await isAhead()); i++) {
      await clock.advance(600);
      a = await beat('a', a.memberEpoch, { owned: heldOf(a) });
      b = await beat('b', b.memberEpoch);
    }
    expect(await isAhead()).toBe(true);
    await beat('b', b.memberEpoch, { subscription: { topics: ['orders', 'returns'] } });
    expect((await described())[1]?.topics).toEqual(['orders', 'returns']);
  });
});
