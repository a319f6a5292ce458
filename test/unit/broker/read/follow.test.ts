import { describe, expect, it, vi } from 'vitest';
import type { Broker } from '../../../../shared/broker/broker.ts';
import type { Follower, FollowRequest, FollowStep, TopicToFollow } from '../../../../shared/broker/read/follow.ts';
import { recordsOf } from '../../../../shared/log/batch/stored-batch.ts';
import { HEAD, headKey } from '../../../../shared/storage/keys.ts';
import type { Stores } from '../../../../shared/storage/ports.ts';
import { appendTo, codeOf, memoryBroker, memoryStores, requestsFor, text } from '../../../support/memory-broker.ts';
import { MergedLog } from '../../../support/merged-log.ts';
import { turn } from '../../../support/simulated-clock.ts';

const LOOK_MS = 1_000;
const EARLIEST = { tail: Number.MAX_SAFE_INTEGER };
const LATEST = { tail: 0 };

async function setUp(partitions: number) {
  const stores = memoryStores();
  const broker = memoryBroker(stores, { topicCacheMs: 3_600_000 });
  await broker.putTopic({ name: 't', partitions });
  const stop = new AbortController();
  return {
    stores,
    clock: stores.clock,
    broker,
    stop,
    follow(topic: Partial<TopicToFollow> = {}, request: Partial<FollowRequest> = {}): Promise<Follower> {
      return broker.follow({
        topics: [{ topic: 't', partitions: 'all', from: EARLIEST, ...topic }],
        turnBytes: 10_000,
        lookMs: LOOK_MS,
        signal: stop.signal,
        ...request,
      });
    },
    /** What the next step is, as one line; it waits `waitMs` at most. */
    async next(follower: Follower, waitMs = 0): Promise<string> {
      return describeStep(await stores.clock.run(follower.next(stores.clock.nowMs() + waitMs)));
    },
  };
}

/** `topic/partition: values`, or the gap, or `idle`. Values are cut after eight characters. */
async function describeStep(step: FollowStep): Promise<string> {
  if (step.type === 'idle') return 'idle';
  const place = `${step.topic}/${step.partition}`;
  if (step.type === 'gap') return `${place}: gap ${step.from} to ${step.to}`;
  const values: string[] = [];
  for await (const batch of step.result.batches) {
    for (const each of recordsOf(batch))
      if (each.offset >= step.result.offset) values.push(text(each.value).slice(0, 8));
  }
  return `${place}: ${values.join()}`;
}

/** As if retention had dropped what lies before an offset. */
async function dropBefore(stores: Stores, broker: Broker, partition: number, offset: number): Promise<void> {
  const { topicId } = await broker.describeTopic('t');
  await stores.items.update(headKey(topicId, 0), [{ do: 'set', name: HEAD.start(partition), value: offset }]);
}

describe('a follower', () => {
  it('gives each partition that has more one turn before any gets its second', async () => {
    const { broker, follow, next } = await setUp(3);
    const large = (name: string) => `${name}`.padEnd(20_000, '.');
    for (const value of ['a', 'b', 'c']) await appendTo(broker, 't', 0, [large(value)]);
    for (const value of ['A', 'B']) await appendTo(broker, 't', 2, [large(value)]);
    await appendTo(broker, 't', 1, ['1']);
    const follower = await follow();
    const steps: string[] = [];
    for (let step = await next(follower); step !== 'idle'; step = await next(follower)) steps.push(step);
    expect(steps.map((step) => step.replaceAll('.', ''))).toEqual([
      't/0: a',
      't/1: 1',
      't/2: A',
      't/0: b',
      't/2: B',
      't/0: c',
    ]);
  });

  it('goes on behind the partition that had the last turn if a round takes too long', async () => {
    const { clock, broker, follow, next } = await setUp(3);
    for (let partition = 0; partition < 3; partition++) {
      for (let i = 0; i < 3; i++) await appendTo(broker, 't', partition, [`${partition}${i}`.padEnd(20_000, '.')]);
    }
    const follower = await follow();
    const partitions: string[] = [];
    for (let i = 0; i < 6; i++) {
      partitions.push((await next(follower)).slice(0, 7));
      // Whoever takes the steps is slow: each look is too old at the second turn.
      await clock.advance(5_000);
    }
    expect(partitions).toEqual(['t/0: 00', 't/1: 10', 't/2: 20', 't/0: 01', 't/1: 11', 't/2: 21']);
  });

  it('waits for an append, or until the time is over', async () => {
    const { clock, broker, follow, next } = await setUp(20);
    const follower = await follow({ from: LATEST });
    const startMs = clock.nowMs();
    expect(await next(follower, 2_500)).toBe('idle');
    expect(clock.nowMs() - startMs).toBe(2_500);
    const waiting = follower.next(clock.nowMs() + 10_000);
    await turn();
    await appendTo(broker, 't', 19, ['a']);
    expect(await describeStep(await clock.run(waiting))).toBe('t/19: a');
    expect(clock.nowMs() - startMs).toBe(2_500);
  });

  it('finds what another process appends within a look', async () => {
    const { stores, clock, follow } = await setUp(1);
    const follower = await follow({ from: LATEST });
    const startMs = clock.nowMs();
    const waiting = follower.next(clock.nowMs() + 10_000);
    await turn();
    await appendTo(memoryBroker(stores), 't', 0, ['a']);
    expect(await describeStep(await clock.run(waiting))).toBe('t/0: a');
    expect(clock.nowMs() - startMs).toBe(LOOK_MS);
  });

  it('finds partitions that are added, from their first record on', async () => {
    const { broker, follow, next } = await setUp(1);
    const follower = await follow({ from: LATEST });
    await broker.putTopic({ name: 't', partitions: 20 });
    await appendTo(broker, 't', 18, ['a']);
    expect(await next(follower)).toBe('t/18: a');
    expect([...(follower.topics[0]?.positions.keys() ?? [])]).toEqual(Array.from({ length: 20 }, (_, i) => i));
  });

  it('hears appends to a partition that was added', async () => {
    const { clock, broker, follow, next } = await setUp(1);
    const follower = await follow({ from: LATEST });
    await broker.putTopic({ name: 't', partitions: 2 });
    expect(await next(follower)).toBe('idle');
    const startMs = clock.nowMs();
    const waiting = follower.next(clock.nowMs() + 10_000);
    await turn();
    await appendTo(broker, 't', 1, ['a']);
    expect(await describeStep(await clock.run(waiting))).toBe('t/1: a');
    expect(clock.nowMs()).toBe(startMs);
  });

  it('follows some partitions of several topics as one set', async () => {
    const { clock, broker, follow, next } = await setUp(40);
    await broker.putTopic({ name: 'u', partitions: 2 });
    for (const partition of [3, 4, 33]) await appendTo(broker, 't', partition, [`t${partition}`]);
    for (const partition of [0, 1]) await appendTo(broker, 'u', partition, [`u${partition}`]);
    const follower = await follow(
      {},
      {
        topics: [
          { topic: 't', partitions: [3, 33], from: EARLIEST },
          { topic: 'u', partitions: 'all', from: EARLIEST, offsets: new Map([[1, 1]]) },
        ],
      },
    );
    expect([await next(follower), await next(follower), await next(follower), await next(follower)]).toEqual([
      't/3: t3',
      't/33: t33',
      'u/0: u0',
      'idle',
    ]);
    const waiting = follower.next(clock.nowMs() + 10_000);
    await turn();
    await appendTo(broker, 't', 4, ['not followed']);
    await appendTo(broker, 'u', 1, ['u1']);
    expect(await describeStep(await clock.run(waiting))).toBe('u/1: u1');
  });

  it('has its positions before what the last step gave until the next one is asked for', async () => {
    const { broker, follow, next } = await setUp(1);
    await appendTo(broker, 't', 0, ['a', 'b']);
    const follower = await follow();
    const position = (): number | undefined => follower.topics[0]?.positions.get(0);
    expect(position()).toBe(0);
    await next(follower);
    expect(position()).toBe(0);
    await next(follower);
    expect(position()).toBe(2);
  });

  it('tells of offsets that retention has dropped, and goes on behind them', async () => {
    const { stores, broker, follow, next } = await setUp(2);
    for (const value of ['a', 'b', 'c', 'd']) await appendTo(broker, 't', 0, [value]);
    await dropBefore(stores, broker, 0, 3);
    const follower = await follow({ offsets: new Map([[0, 1]]) });
    expect([await next(follower), await next(follower), await next(follower)]).toEqual([
      't/0: gap 1 to 3',
      't/0: d',
      'idle',
    ]);
    await appendTo(broker, 't', 0, ['e', 'f']);
    await dropBefore(stores, broker, 0, 6);
    expect([await next(follower), await next(follower)]).toEqual(['t/0: gap 4 to 6', 'idle']);
  });

  it('does not read by a look that retention may have overtaken', async () => {
    const { stores, clock, broker, follow, next } = await setUp(2);
    await appendTo(broker, 't', 0, ['x']);
    for (const value of ['a', 'b']) await appendTo(broker, 't', 1, [value]);
    const follower = await follow();
    expect(await next(follower)).toBe('t/0: x');
    // The turn of partition 1 is next, and waits for a slow taker.
    await dropBefore(stores, broker, 1, 1);
    await clock.advance(1_001);
    expect([await next(follower), await next(follower)]).toEqual(['t/1: gap 0 to 1', 't/1: b']);
  });

  it('lets others run before it looks again, though everything came from memory', async () => {
    const { clock, broker, follow, next } = await setUp(1);
    for (const value of ['a', 'b', 'c']) await appendTo(broker, 't', 0, [value.padEnd(20_000, '.')]);
    const follower = await follow();
    const sleep = vi.spyOn(clock, 'sleep');
    for (let i = 0; i < 3; i++) await next(follower);
    expect(sleep.mock.calls.filter(([ms]) => ms === 0)).toHaveLength(2);
  });

  it.each([
    ['unknown_topic', { topic: 'none' }],
    ['invalid_request', { topic: 'a b' }],
    ['invalid_request', { from: { offset: -1 } }],
    ['unknown_partition', { partitions: [1] }],
    ['unknown_partition', { offsets: new Map([[1, 0]]) }],
    ['offset_out_of_range', { from: { offset: 2 } }],
    ['offset_out_of_range', { offsets: new Map([[0, 2]]) }],
  ] as const)('does not begin with %s: %j', async (code, topic) => {
    const { broker, follow } = await setUp(1);
    await appendTo(broker, 't', 0, ['a']);
    expect(await codeOf(follow(topic))).toBe(code);
  });

  it('takes at most 1,000 partitions, over all topics and for as long as it follows', async () => {
    const { broker, follow, next } = await setUp(999);
    await broker.putTopic({ name: 'u' });
    const topics = [
      { topic: 't', partitions: 'all', from: LATEST },
      { topic: 'u', partitions: 'all', from: LATEST },
    ] as const;
    const follower = await follow({}, { topics });
    expect(await next(follower)).toBe('idle');
    await broker.putTopic({ name: 'u', partitions: 2 });
    const before = requestsFor(broker, 'read').getItem;
    expect(await codeOf(next(follower))).toBe('invalid_request');
    expect(await codeOf(follow({}, { topics }))).toBe('invalid_request');
    // The heads of a topic that has too many are not read.
    expect(requestsFor(broker, 'read').getItem - before).toBeLessThanOrEqual(2 * 63);
    await broker.putTopic({ name: 'huge', partitions: 10_000 });
    expect(await codeOf(follow({ topic: 'huge' }))).toBe('invalid_request');
    expect(requestsFor(broker, 'read').getItem - before).toBeLessThanOrEqual(2 * 63);
  });

  it.each([false, true])('ends with unknown_topic when its topic is deleted (made again: %s)', async (again) => {
    const { broker, follow, next } = await setUp(2);
    const follower = await follow();
    expect(await next(follower)).toBe('idle');
    await broker.deleteTopic('t');
    if (again) await broker.putTopic({ name: 't', partitions: 2 });
    expect(await codeOf(next(follower))).toBe('unknown_topic');
  });

  it('stops waiting when it is aborted, and then listens no longer', async () => {
    const { stores, clock, broker, stop, follow } = await setUp(1);
    const follower = await follow({ from: LATEST });
    const waiting = follower.next(clock.nowMs() + 60_000);
    await turn();
    stop.abort();
    expect(await describeStep(await waiting)).toBe('idle');
    expect(clock.sleeping).toBe(0);
    // What is appended while someone listens is kept for them; now it is read from the store.
    const before = requestsFor(broker, 'read').getItem;
    await appendTo(broker, 't', 0, ['a']);
    expect((await broker.read({ topic: 't', partition: 0, from: { offset: 0 } })).nextOffset).toBe(1);
    const { batches } = await broker.read({ topic: 't', partition: 0, from: { offset: 0 } });
    for await (const batch of batches) expect(recordsOf(batch)).toHaveLength(1);
    expect(requestsFor(broker, 'read').getItem - before).toBe(3);
    expect(stores.clock.sleeping).toBe(0);
  });

  it('never listens if it is aborted before it begins or while it looks', async () => {
    const { broker, stop, follow } = await setUp(1);
    const follower = await follow();
    const looking = follower.next(Number.MAX_SAFE_INTEGER);
    stop.abort();
    expect((await looking).type).toBe('idle');
    expect((await (await follow()).next(0)).type).toBe('idle');
    const before = requestsFor(broker, 'read').getItem;
    await appendTo(broker, 't', 0, ['a']);
    const { batches } = await broker.read({ topic: 't', partition: 0, from: { offset: 0 } });
    for await (const batch of batches) expect(recordsOf(batch)).toHaveLength(1);
    expect(requestsFor(broker, 'read').getItem - before).toBe(2);
  });
});

describe('a follower of merged records', () => {
  it('passes over what compaction and retention dropped, and goes on at the tail', async () => {
    const { stores, broker, follow, next } = await setUp(1);
    const log = new MergedLog(stores, (await broker.describeTopic('t')).topicId);
    const append = async (from: number, count: number): Promise<void> => {
      for (let i = from; i < from + count; i++) {
        await appendTo(broker, 't', 0, [`${i}`]);
        await broker.idle();
      }
    };
    await append(0, 8);
    await log.merge({ keeps: ({ baseOffset }) => baseOffset < 3 });
    await append(8, 8);
    await log.merge({ keeps: ({ baseOffset }) => baseOffset > 13 });
    await append(16, 8);
    await log.merge({ keeps: () => false });
    await log.clean();
    const follower = await follow();
    expect(await next(follower)).toBe('t/0: 0,1,2,14,15');
    expect(await next(follower)).toBe('idle');
    expect(follower.topics[0]?.positions.get(0)).toBe(24);
    await append(24, 2);
    expect(await next(follower)).toBe('t/0: 24,25');
  });

  it('begins in a gap, reports no records for it, and is told once that it has passed it', async () => {
    const { stores, broker, follow, next } = await setUp(1);
    const log = new MergedLog(stores, (await broker.describeTopic('t')).topicId);
    for (let i = 0; i < 8; i++) {
      await appendTo(broker, 't', 0, [`${i}`]);
      await broker.idle();
    }
    await log.merge({ keeps: ({ baseOffset }) => baseOffset < 3 });
    const follower = await follow({ offsets: new Map([[0, 5]]) });
    expect(await next(follower)).toBe('t/0: ');
    expect(await next(follower)).toBe('idle');
  });

  it('reports a gap if retention drops what it is about to read', async () => {
    const { stores, broker, follow, next } = await setUp(1);
    const log = new MergedLog(stores, (await broker.describeTopic('t')).topicId);
    for (let i = 0; i < 40; i++) {
      await appendTo(broker, 't', 0, [`${i}`.padEnd(9_000, '.')]);
      await broker.idle();
      if (i % 8 === 7) await log.merge();
    }
    const follower = await follow({}, { turnBytes: 1 });
    expect(await next(follower)).toMatch(/^t\/0: 0/);
    // Another process, between the look of this follower and its read.
    const { get } = stores.items;
    let heads = 0;
    stores.items.get = async (key) => {
      const read = await get.call(stores.items, key);
      if (key.pk.startsWith('head#') && heads++ === 0) {
        await dropBefore(stores, broker, 0, 24);
        await log.drop(0, 24);
        await stores.clock.advance(61_000);
      }
      return read;
    };
    expect(await next(follower)).toBe('t/0: gap 8 to 24');
    expect(await next(follower)).toMatch(/^t\/0: 24/);
  });
});

describe('following costs', () => {
  it('1 read of each head to begin, 1 for each look, and for a turn no more than its data', async () => {
    const { clock, broker, follow, next } = await setUp(40);
    for (const partition of [0, 20, 39]) await appendTo(broker, 't', partition, ['a']);
    const reads = (): number => requestsFor(broker, 'read').getItem;
    let before = reads();
    const spent = (): number => {
      const now = reads();
      const difference = now - before;
      before = now;
      return difference;
    };
    const follower = await follow();
    expect(spent()).toBe(3);
    await next(follower);
    // A look at three heads, and the inline batch of the first turn.
    expect(spent()).toBe(3 + 1);
    await next(follower);
    await next(follower);
    expect(spent()).toBe(2);
    // At once, each second, and at the end.
    expect(await next(follower, 10 * LOOK_MS)).toBe('idle');
    expect(spent()).toBe(11 * 3);
    const waiting = follower.next(clock.nowMs() + 10 * LOOK_MS);
    await turn();
    await appendTo(broker, 't', 39, ['b']);
    expect(await describeStep(await waiting)).toBe('t/39: b');
    // A look that finds nothing, one after the append was heard, and the data from memory.
    expect(spent()).toBe(2 * 3);
  });

  it('1 read of the head for a follower of one partition, however many the topic has', async () => {
    const { broker, follow, next } = await setUp(1_000);
    const follower = await follow({ partitions: [500], from: LATEST });
    expect(await next(follower)).toBe('idle');
    expect(requestsFor(broker, 'read').getItem).toBe(2);
  });
});
