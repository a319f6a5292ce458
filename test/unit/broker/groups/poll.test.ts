import { describe, expect, it } from 'vitest';
import type { RecordToAppend } from '../../../../shared/broker/append/outcomes.ts';
import type { PollResult } from '../../../../shared/broker/groups/poll.ts';
import { recordsOf } from '../../../../shared/log/batch/stored-batch.ts';
import { encodePollToken } from '../../../../shared/log/group/poll-token.ts';
import { memoryBroker, memoryStores } from '../../../support/memory-broker.ts';

const text = new TextDecoder();
const record = (value: string, partition?: number): RecordToAppend => ({
  key: null,
  value: Buffer.from(value),
  headers: [],
  partition,
});

/** The values that a poll gives out, with their partitions. */
function valuesOf({ partitions }: PollResult): string[] {
  return partitions.flatMap(({ partition, offset, nextOffset, batches }) =>
    batches
      .flatMap(recordsOf)
      .filter((record) => record.offset >= offset && record.offset < nextOffset)
      .map(({ value }) => `${partition}:${text.decode(value as Uint8Array)}`),
  );
}

async function filled(partitions = 2, records = 4) {
  const stores = memoryStores();
  const broker = memoryBroker(stores);
  const { clock } = stores;
  const run = <T>(work: Promise<T>): Promise<T> => clock.run(work);
  await run(broker.putTopic({ name: 'orders', partitions }));
  for (let i = 0; i < records; i++)
    await run(broker.appendRecords({ topic: 'orders', records: [record(`v${i}`, i % partitions)] }));
  return { stores, broker, clock, run };
}
const subscription = { topics: ['orders'] };

describe('a poll', () => {
  it('joins, and gives out what its group has not committed', async () => {
    const { broker, run } = await filled();
    const first = await run(broker.pollGroup({ group: 'g', memberId: 'a', subscription }));
    expect(valuesOf(first).sort()).toEqual(['0:v0', '0:v2', '1:v1', '1:v3']);
    expect(first).toMatchObject({ memberId: 'a', isSettled: true, commits: [] });
    const second = await run(broker.pollGroup({ group: 'g', after: first.token }));
    expect(valuesOf(second)).toEqual([]);
    expect(second.commits.map(({ outcome }) => outcome)).toEqual([{ ok: true }, { ok: true }]);
    const lag = await run(broker.groupLag({ group: 'g' }));
    expect(lag).toMatchObject({ totalLagRecords: 0 });
  });

  it('gives records out again if they were not committed', async () => {
    const { broker, run } = await filled();
    await run(broker.pollGroup({ group: 'g', memberId: 'a', subscription }));
    const again = await run(broker.pollGroup({ group: 'g', memberId: 'a', subscription }));
    expect(valuesOf(again)).toHaveLength(4);
  });

  it('names topics that do not exist when it joins, of those that the caller may read', async () => {
    const { broker, run } = await filled();
    await run(broker.putTopic({ name: 'secret' }));
    const topics = ['ordres', 'orders', 'secret', 'secrets'];
    const mayRead = (topic: string) => !topic.startsWith('secrets');
    const first = await run(
      broker.pollGroup({ group: 'g', memberId: 'a', subscription: { topics }, mayRead, maxRecords: 0 }),
    );
    expect(first.unknownTopics).toEqual(['ordres']);
    // A second member has no partition, but the topic exists.
    await run(broker.putTopic({ name: 'one', partitions: 1 }));
    const one = { group: 'h', subscription: { topics: ['one'] } };
    await run(broker.pollGroup({ ...one, memberId: 'a' }));
    expect((await run(broker.pollGroup({ ...one, memberId: 'b' }))).unknownTopics).toEqual([]);
    await run(broker.putTopic({ name: 'ordres' }));
    expect((await run(broker.pollGroup({ group: 'g', after: first.token, mayRead }))).unknownTopics).toEqual([]);
  });

  it('reads on without a commit, and commits all of it later', async () => {
    const { broker, run } = await filled(1, 4);
    const first = await run(broker.pollGroup({ group: 'g', memberId: 'a', subscription, maxRecords: 1 }));
    const more = { group: 'g', maxRecords: 1 };
    const second = await run(broker.pollGroup({ ...more, after: first.token, commitLater: true }));
    expect(second.commits).toEqual([]);
    expect(valuesOf(second)).toEqual(['0:v1']);
    const idle = await run(
      broker.pollGroup({ ...more, after: second.token, commitLater: true, paused: [{ topic: 'orders' }] }),
    );
    expect(valuesOf(idle)).toEqual([]);
    const last = await run(broker.pollGroup({ group: 'g', after: idle.token, maxRecords: 0 }));
    expect(last.commits).toMatchObject([{ offset: 2, outcome: { ok: true } }]);
    const both = { ...more, after: last.token, commitLater: true, commitAtOnce: true };
    await expect(run(broker.pollGroup(both))).rejects.toMatchObject({ details: { field: 'commitLater' } });
  });

  it('does not read paused partitions, and keeps them', async () => {
    const { broker, run } = await filled();
    const request = { group: 'g', memberId: 'a', subscription };
    const first = await run(broker.pollGroup({ ...request, paused: [{ topic: 'orders', partitions: [0] }] }));
    expect(valuesOf(first)).toEqual(['1:v1', '1:v3']);
    expect(first.assignment[0]?.partitions).toEqual([0, 1]);
    const second = await run(broker.pollGroup({ group: 'g', after: first.token, paused: [{ topic: 'other' }] }));
    expect(valuesOf(second)).toEqual(['0:v0', '0:v2']);
  });

  it("reads nothing of a topic that is not the member's, whatever its token says", async () => {
    const { broker, run } = await filled(1, 1);
    const { topic } = await run(broker.putTopic({ name: 'other' }));
    await run(broker.appendRecords({ topic: 'other', records: [record('secret')] }));
    const mayRead = (name: string): boolean => name !== 'other';
    const first = await run(broker.pollGroup({ group: 'g', memberId: 'a', subscription, mayRead }));
    const after = encodePollToken({
      memberId: 'a',
      instanceId: undefined,
      memberEpoch: first.memberEpoch,
      positions: [{ topicId: topic.topicId, partition: 0, offset: 0, isNew: false }],
    });
    expect(valuesOf(await run(broker.pollGroup({ group: 'g', after, mayRead })))).toEqual(['0:v0']);
  });

  it('does not wait for partitions if it only commits', async () => {
    const { broker, run, clock } = await filled();
    const first = await run(broker.pollGroup({ group: 'g', memberId: 'a', subscription }));
    await run(broker.pollGroup({ group: 'g', memberId: 'b', subscription }));
    await clock.advance(6_000);
    const atMs = clock.nowMs();
    await run(broker.pollGroup({ group: 'g', after: first.token, maxRecords: 0 }));
    expect(clock.nowMs()).toBe(atMs);
  });

  it('does not take offsets back for a token of a former poll', async () => {
    const { broker, run } = await filled(1, 4);
    const first = await run(broker.pollGroup({ group: 'g', memberId: 'a', subscription, maxRecords: 1 }));
    const second = await run(broker.pollGroup({ group: 'g', after: first.token, maxRecords: 1 }));
    await run(broker.pollGroup({ group: 'g', after: second.token, maxRecords: 0 }));
    await run(broker.pollGroup({ group: 'g', after: first.token, maxRecords: 0 }));
    expect(await run(broker.groupLag({ group: 'g' }))).toMatchObject({ totalLagRecords: 2 });
  });

  it('commits before it answers, if asked to', async () => {
    const { broker, run } = await filled();
    await run(broker.pollGroup({ group: 'g', memberId: 'a', subscription, commitAtOnce: true }));
    const again = await run(broker.pollGroup({ group: 'g', memberId: 'a', subscription }));
    expect(valuesOf(again)).toEqual([]);
  });

  it('ends at its limit of records within a batch, and goes on there', async () => {
    const { broker, run } = await filled(1, 0);
    await run(
      broker.appendRecords({
        topic: 'orders',
        records: ['a', 'b', 'c'].map((value) => record(value)),
      }),
    );
    const first = await run(broker.pollGroup({ group: 'g', memberId: 'a', subscription, maxRecords: 2 }));
    expect(valuesOf(first)).toEqual(['0:a', '0:b']);
    const second = await run(broker.pollGroup({ group: 'g', after: first.token, maxRecords: 2 }));
    expect(valuesOf(second)).toEqual(['0:c']);
  });

  it('gives each partition a turn before any gets its second, over several polls', async () => {
    const { broker, run } = await filled(3, 30);
    let after: string | undefined;
    const turns: number[] = [];
    for (let i = 0; i < 6; i++) {
      const polled: PollResult = await run(
        broker.pollGroup({ group: 'g', memberId: 'a', subscription, after, maxRecords: 2 }),
      );
      turns.push(...polled.partitions.map(({ partition }) => partition));
      after = polled.token;
    }
    expect([turns.slice(0, 3).toSorted(), turns.slice(3).toSorted()]).toEqual([
      [0, 1, 2],
      [0, 1, 2],
    ]);
  });

  it('waits for records', async () => {
    const { broker, run, clock } = await filled(1, 0);
    const waiting = broker.pollGroup({ group: 'g', memberId: 'a', subscription, waitMs: 10_000 });
    const appended = clock
      .sleep(7_000)
      .then(() => broker.appendRecords({ topic: 'orders', records: [record('late')] }));
    expect(valuesOf(await run(waiting))).toEqual(['0:late']);
    await run(appended);
  });

  it('begins at the end with startAt latest, and keeps that place', async () => {
    const { broker, run } = await filled(1, 3);
    const first = await run(broker.pollGroup({ group: 'g', memberId: 'a', subscription, startAt: 'latest' }));
    expect(valuesOf(first)).toEqual([]);
    await run(broker.appendRecords({ topic: 'orders', records: [record('new')] }));
    const second = await run(broker.pollGroup({ group: 'g', memberId: 'a', subscription, startAt: 'latest' }));
    expect(valuesOf(second)).toEqual(['0:new']);
  });

  it('moves partitions to a second member, and commits of the first are rejected then', async () => {
    const { broker, run, clock } = await filled(2, 4);
    const first = await run(broker.pollGroup({ group: 'g', memberId: 'a', subscription, leaseMs: 6_000 }));
    await clock.advance(9_000);
    const other = await run(broker.pollGroup({ group: 'g', memberId: 'b', subscription, waitMs: 15_000 }));
    const more = await run(broker.pollGroup({ group: 'g', after: other.token, waitMs: 15_000 }));
    expect([...valuesOf(other), ...valuesOf(more)].sort()).toEqual(['0:v0', '0:v2', '1:v1', '1:v3']);
    const late = await run(broker.pollGroup({ group: 'g', after: first.token, subscription }));
    expect(late.commits.map(({ outcome }) => outcome.ok)).toEqual([false, false]);
  });

  it('skips nothing that another member did not get to, with a token of an earlier membership', async () => {
    const { broker, run, clock } = await filled(1, 4);
    const first = await run(broker.pollGroup({ group: 'g', memberId: 'a', subscription, leaseMs: 6_000 }));
    expect(valuesOf(first)).toHaveLength(4);
    await clock.advance(9_000);
    const other = await run(
      broker.pollGroup({ group: 'g', memberId: 'b', subscription, maxRecords: 1, waitMs: 15_000 }),
    );
    expect(valuesOf(other)).toEqual(['0:v0']);
    await run(broker.pollGroup({ group: 'g', after: other.token, maxRecords: 0 }));
    await run(broker.leaveGroup({ group: 'g', memberId: 'b' }));
    const again = await run(broker.pollGroup({ group: 'g', after: first.token, subscription, waitMs: 15_000 }));
    expect(valuesOf(again)).toEqual(['0:v1', '0:v2', '0:v3']);
  });

  it('extends the lease of a member that was told more since its token', async () => {
    const { broker, run, clock } = await filled(2, 0);
    const first = await run(broker.pollGroup({ group: 'g', memberId: 'a', subscription, leaseMs: 6_000 }));
    await run(broker.pollGroup({ group: 'g', memberId: 'b', subscription }));
    await clock.advance(5_000);
    const later = await run(broker.pollGroup({ group: 'g', after: first.token }));
    expect(later.memberEpoch).toBeGreaterThan(first.memberEpoch);
    await clock.advance(5_000);
    const { leaseExpiresAtMs } = await run(broker.extendLease({ group: 'g', token: first.token }));
    expect(leaseExpiresAtMs).toBeGreaterThanOrEqual(clock.nowMs() + 6_000);
  });

  it('extends the lease', async () => {
    const { broker, run, clock } = await filled(2, 4);
    const first = await run(broker.pollGroup({ group: 'g', memberId: 'a', subscription, leaseMs: 6_000 }));
    for (let i = 0; i < 5; i++) {
      await clock.advance(5_000);
      const { leaseExpiresAtMs } = await run(broker.extendLease({ group: 'g', token: first.token }));
      expect(leaseExpiresAtMs - clock.nowMs()).toBeGreaterThan(5_900);
    }
    const second = await run(broker.pollGroup({ group: 'g', after: first.token }));
    expect(second.commits.map(({ outcome }) => outcome.ok)).toEqual([true, true]);
  });

  it('promises no shorter lease than an extension did', async () => {
    const { broker, run, clock } = await filled(2, 4);
    const first = await run(broker.pollGroup({ group: 'g', memberId: 'a', subscription }));
    await clock.advance(1_000);
    const extended = await run(broker.extendLease({ group: 'g', token: first.token }));
    expect(extended.leaseExpiresAtMs).toBeGreaterThan(first.leaseExpiresAtMs);
    const second = await run(broker.pollGroup({ group: 'g', after: first.token }));
    expect(second.leaseExpiresAtMs).toBe(extended.leaseExpiresAtMs);
    // A poll that waits learns of an extension that comes meanwhile.
    await clock.advance(100);
    const waiting = broker.pollGroup({ group: 'g', after: second.token, waitMs: 1_500 });
    const meanwhile = clock.sleep(500).then(() => broker.extendLease({ group: 'g', token: second.token }));
    const [waited, { leaseExpiresAtMs }] = await run(Promise.all([waiting, meanwhile]));
    expect(waited.leaseExpiresAtMs).toBe(leaseExpiresAtMs);
  });

  it('sends the heartbeats that are due all the same, so that a member whose lease is extended learns of others', async () => {
    const { broker, run, clock } = await filled(2, 4);
    let { token } = await run(broker.pollGroup({ group: 'g', memberId: 'a', subscription }));
    await run(broker.pollGroup({ group: 'g', memberId: 'b', subscription }));
    let partitions = 2;
    for (let i = 0; i < 20 && partitions > 1; i++) {
      await clock.advance(1_000);
      await run(broker.extendLease({ group: 'g', token }));
      const next = await run(broker.pollGroup({ group: 'g', after: token, waitMs: 0, maxRecords: 0 }));
      token = next.token;
      partitions = next.assignment.reduce((sum, each) => sum + each.partitions.length, 0);
    }
    expect(partitions).toBe(1);
  });

  it('costs one read of each head, and nothing else, while nothing is new', async () => {
    const { broker, run } = await filled(20, 20);
    const first = await run(broker.pollGroup({ group: 'g', memberId: 'a', subscription }));
    const second = await run(broker.pollGroup({ group: 'g', after: first.token }));
    const before = broker.usage();
    await run(broker.pollGroup({ group: 'g', after: second.token }));
    const count = (rows: typeof before, of: 'getItem' | 'putItem' | 'updateItem' | 'query'): number =>
      rows.reduce((sum, { counts }) => sum + counts[of], 0);
    const after = broker.usage();
    expect(count(after, 'getItem') - count(before, 'getItem')).toBe(2);
    for (const write of ['putItem', 'updateItem', 'query'] as const)
      expect(count(after, write) - count(before, write)).toBe(0);
  });

  it.each([
    [{ group: 'g', memberId: 'a' }, 'topics'],
    [{ group: '', subscription }, 'group'],
    [{ group: 'g', subscription, maxRecords: -1 }, 'maxRecords'],
    [{ group: 'g', subscription, waitMs: 20_001 }, 'waitMs'],
    [{ group: 'g', subscription, leaseMs: 1 }, 'sessionTimeoutMs'],
    [{ group: 'g', after: 'x' }, 'after'],
  ])('rejects %j, and names %s', async (request, field) => {
    const { broker, run } = await filled();
    await expect(run(broker.pollGroup(request))).rejects.toMatchObject({ code: 'invalid_request', details: { field } });
  });
});
