import { describe, expect, it } from 'vitest';
import { readSegmentList, updateSegmentList } from '../../../../shared/broker/heads/segment-list-store.ts';
import { type HeadJob, runDue } from '../../../../shared/broker/jobs/run-due.ts';
import { makeContext } from '../../../../shared/broker/make-context.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import { schedule } from '../../../../shared/log/segment/list-changes.ts';
import type { SegmentList } from '../../../../shared/log/segment/segment-list.ts';
import { DUE_SHARDS, dueKey, duePartitionKey } from '../../../../shared/storage/keys.ts';
import { dyingStores } from '../../../support/dying-stores.ts';
import { faultyStores } from '../../../support/faulty-stores.ts';
import { memoryBroker, memoryStores, SeededRandom } from '../../../support/memory-broker.ts';

const HOUR_MS = 3_600_000;

/** A topic of two heads, of which the first is due for retention at `dueAtMs`. */
async function setUp() {
  const stores = memoryStores();
  const { topic } = await memoryBroker(stores).putTopic({ name: 't', partitions: 32 });
  const context = makeContext({ ...stores, random: new SeededRandom(1) });
  const nameOf = (headNumber: number) => ({ topicId: topic.topicId, headNumber });
  const change = (headNumber: number, to: (list: SegmentList) => SegmentList) =>
    updateSegmentList(context, stores.items, nameOf(headNumber), (list) => ({ list: to(list), result: undefined }));
  const dueAtMs = stores.clock.nowMs() + HOUR_MS;
  await change(0, (list) => schedule(list, 'expire', dueAtMs));
  await stores.clock.advance(HOUR_MS);
  const list = (headNumber = 0) => readSegmentList(stores.items, nameOf(headNumber));
  const put = (headNumber: number, atMs: number, version: number) =>
    stores.items.put(dueKey('expire', { ...nameOf(headNumber), dueAtMs: atMs, version }), {});
  /** The due items of the job: head, hours after the first, version. */
  const due = async () => {
    const found: string[] = [];
    for (let shard = 0; shard < DUE_SHARDS; shard++)
      for (const { sk } of (await stores.items.query({ pk: duePartitionKey('expire', shard), limit: 100 })).items) {
        const [time, , head, version] = sk.split('#') as [string, string, string, string];
        found.push(`${head} +${(Number(time) - dueAtMs) / HOUR_MS} v${Number(version)}`);
      }
    return found.sort();
  };
  const visited: number[] = [];
  const job =
    (next: (headNumber: number) => number | undefined): HeadJob<{ list: SegmentList; nextAtMs: number | undefined }> =>
    async (_context, _topic, headNumber) => {
      visited.push(headNumber);
      const now = await list(headNumber);
      return { list: now, nextAtMs: next(headNumber) };
    };
  const run = (next: (headNumber: number) => number | undefined = () => dueAtMs + 2 * HOUR_MS) =>
    runDue(context, 'expire', job(next));
  return { stores, context, change, list, put, due, run, job, visited, dueAtMs, nameOf };
}

describe('a run over the heads that are due', () => {
  it('visits a head when its time has come, and schedules the next visit', async () => {
    const { stores, run, due, visited } = await setUp();
    expect(await due()).toEqual(['0 +0 v1']);
    expect(await run()).toMatchObject({ blocked: 0, complete: true, results: [{}] });
    expect(await due()).toEqual(['0 +2 v2']);
    await run();
    expect(visited).toEqual([0]);
    await stores.clock.advance(2 * HOUR_MS - 1);
    await run();
    expect(visited).toEqual([0]);
    await stores.clock.advance(1);
    await run(() => undefined);
    expect(visited).toEqual([0, 0]);
    expect(await due()).toEqual([]);
  });

  it('deletes leftovers, and leaves alone what an update under way may still name', async () => {
    const { put, due, run, visited, dueAtMs, change } = await setUp();
    await change(0, (list) => ({ ...list, dropBelow: 1 }));
    await put(0, dueAtMs - HOUR_MS, 2);
    await put(0, dueAtMs - HOUR_MS, 3);
    await run();
    expect(visited).toEqual([0]);
    // The visit itself was update 3, so the item of version 3 is a leftover now, which the next run deletes.
    expect(await due()).toEqual(['0 +-1 v3', '0 +2 v3']);
    await run();
    expect(await due()).toEqual(['0 +2 v3']);
  });

  it('visits the head of a first append, which has no list, and makes one', async () => {
    const { put, due, run, visited, dueAtMs, list } = await setUp();
    await put(1, dueAtMs, 0);
    await put(1, dueAtMs - 5, 0);
    await run();
    expect(visited).toContain(1);
    expect((await list(1)).version).toBeGreaterThan(0);
    await run();
    expect(await due()).toEqual(['0 +2 v2', `1 +2 v${(await list(1)).due.expire?.version}`]);
  });

  it.each([
    ['keeps an earlier visit that was scheduled meanwhile', 1, 1],
    ['brings forward a later one', 9, 2],
  ])('%s', async (_, scheduledHours, expectedHours) => {
    const { change, due, dueAtMs, context, job, list } = await setUp();
    const visit = job(() => dueAtMs + 2 * HOUR_MS);
    await runDue(context, 'expire', async (...args) => {
      const result = await visit(...args);
      await change(0, (now) => schedule(now, 'expire', dueAtMs + scheduledHours * HOUR_MS));
      return result;
    });
    const named = (await list()).due.expire;
    expect(named?.atMs).toBe(dueAtMs + expectedHours * HOUR_MS);
    expect(await due()).toContain(`0 +${expectedHours} v${named?.version}`);
  });

  it('keeps a visit that was scheduled anew for the same time', async () => {
    const { change, due, dueAtMs, context, job, list } = await setUp();
    const visit = job(() => dueAtMs + 2 * HOUR_MS);
    await runDue(context, 'expire', async (...args) => {
      const result = await visit(...args);
      await change(0, (now) => schedule(now, 'expire', undefined));
      await change(0, (now) => schedule(now, 'expire', dueAtMs));
      return result;
    });
    expect((await list()).due.expire).toEqual({ atMs: dueAtMs, version: 3 });
    expect(await due()).toContain('0 +0 v3');
  });

  it('goes on behind a head that fails, and visits it again', async () => {
    const { change, run, dueAtMs, visited, due } = await setUp();
    await change(1, (list) => schedule(list, 'expire', dueAtMs));
    const failing = (headNumber: number): number => {
      if (headNumber === 0) throw new EventLogError('corrupt_data', 'Injected.');
      return dueAtMs + HOUR_MS;
    };
    expect(await run(failing)).toMatchObject({ blocked: 1, error: { message: 'Injected.' }, results: [{}] });
    expect(visited.sort()).toEqual([0, 1]);
    expect(await due()).toEqual(['0 +0 v1', '1 +1 v2']);
    expect(await run()).toMatchObject({ blocked: 0, results: [{}] });
  });

  it('throws what is no error of the log', async () => {
    const { run } = await setUp();
    const bug = (): never => {
      throw new TypeError('a bug');
    };
    await expect(run(bug)).rejects.toThrow('a bug');
  });

  it('begins nothing once it is told to stop', async () => {
    const { context, job, visited } = await setUp();
    const run = await runDue(
      context,
      'expire',
      job(() => undefined),
      { signal: AbortSignal.abort() },
    );
    expect([run.complete, visited]).toEqual([false, []]);
  });

  it.each(['is gone', 'was made again'])('deletes the items of a topic that %s', async (what) => {
    const { stores, context, run, due, visited, nameOf } = await setUp();
    expect(await context.topics.byId(nameOf(0).topicId)).toMatchObject({ name: 't' });
    await stores.clock.advance(context.settings.topicCacheMs);
    await memoryBroker(stores).deleteTopic('t');
    if (what === 'was made again') await memoryBroker(stores).putTopic({ name: 't' });
    await run();
    expect([await due(), visited]).toEqual([[], []]);
  });

  it('visits every head of a topic that was made since the topics were listed', async () => {
    const { stores, context, visited, run, dueAtMs } = await setUp();
    expect(await context.topics.byId('none')).toBeUndefined();
    const { topic } = await memoryBroker(stores).putTopic({ name: 'new', partitions: 640 });
    for (let headNumber = 0; headNumber < 40; headNumber++)
      await updateSegmentList(context, stores.items, { topicId: topic.topicId, headNumber }, (list) => ({
        list: schedule(list, 'expire', dueAtMs),
        result: undefined,
      }));
    await run();
    expect(visited).toHaveLength(41);
  });

  it('that dies between any two requests leaves a head that is still found', async () => {
    for (let requests = 0; requests < 40; requests++) {
      const world = await setUp();
      const dying = dyingStores(world.stores, requests, requests % 2 === 0 ? 'is_sent' : 'is_not_sent');
      const dead = runDue(
        makeContext({ ...dying.stores, random: new SeededRandom(2) }),
        'expire',
        world.job(() => world.dueAtMs + 2 * HOUR_MS),
      );
      await Promise.race([dead, dying.died]);
      await world.stores.clock.advance(2 * HOUR_MS);
      await world.run(() => world.dueAtMs + 9 * HOUR_MS);
      await world.run();
      expect(world.visited.length).toBeGreaterThan(0);
      const named = (await world.list()).due.expire;
      expect(await world.due(), `after ${requests} requests`).toEqual([`0 +9 v${named?.version}`]);
    }
  });

  it('twice at once leaves one item, the one that is named', async () => {
    for (let seed = 0; seed < 20; seed++) {
      const world = await setUp();
      const random = new SeededRandom(seed);
      const slow = faultyStores(world.stores, () => ({ delayMs: random.below(5) }));
      const next = (by: number) => world.job(() => world.dueAtMs + by * HOUR_MS);
      const runs = [2, 3, 4].map((by) =>
        runDue(makeContext({ ...slow, random: new SeededRandom(seed + by) }), 'expire', next(by)),
      );
      await world.stores.clock.run(Promise.all(runs));
      const named = (await world.list()).due.expire;
      expect(await world.due()).toContain(`0 +${((named?.atMs ?? 0) - world.dueAtMs) / HOUR_MS} v${named?.version}`);
      await world.stores.clock.advance(9 * HOUR_MS);
      await world.run(() => world.dueAtMs + 20 * HOUR_MS);
      await world.run();
      expect(await world.due()).toHaveLength(1);
    }
  });
});

it.each([-1, Number.MAX_SAFE_INTEGER + 1, 1.5, Number.NaN])('no due item has the time %s, out of order', (dueAtMs) => {
  const name = { topicId: 'a', headNumber: 0, version: 1 };
  expect(() => dueKey('expire', { ...name, dueAtMs })).toThrow(`a key cannot have the number ${dueAtMs}`);
});
