import { beforeEach, describe, expect, it } from 'vitest';
import type { Broker } from '../../../../shared/broker/broker.ts';
import { readSegmentList } from '../../../../shared/broker/heads/segment-list-store.ts';
import { duePartitionKey, inlineBatchPartitionKey, nodePartitionKey } from '../../../../shared/storage/keys.ts';
import { appendTo, memoryBroker, memoryStores } from '../../../support/memory-broker.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

let stores: ReturnType<typeof memoryStores>;
let broker: Broker;
beforeEach(() => {
  stores = memoryStores();
  broker = memoryBroker(stores);
});

async function made(name: string): Promise<string> {
  await stores.clock.run(broker.putTopic({ name }));
  return (await broker.describeTopic(name)).topicId;
}

/** As many commits as fill these tail nodes. */
async function appendNodes(name: string, nodes: number): Promise<void> {
  await stores.clock.run(async () => {
    for (let i = 0; i < 8 * nodes; i++) await appendTo(broker, name, 0, ['value']);
    await broker.idle();
  });
}

const busy = (signal?: AbortSignal) => stores.clock.run(broker.mergeBusyHeads({ signal }));

async function dueItems(topicId: string): Promise<string[]> {
  const all = await Promise.all(
    Array.from({ length: 8 }, (_, shard) => stores.items.query({ pk: duePartitionKey('merge', shard), limit: 100 })),
  );
  return all.flatMap(({ items }) => items.map(({ sk }) => sk)).filter((sk) => sk.includes(topicId));
}

it('leaves nothing unmerged for two minutes under a steady hundred appends a second', async () => {
  const topicId = await made('busy');
  const startMs = stores.clock.nowMs();
  let oldestMs = 0;
  for (let second = 0; second < 400; second++) {
    await appendNodes('busy', 12);
    await stores.clock.advance(1_000);
    // As often as the timers do.
    if (second % 5 === 0) expect((await busy()).error).toBeUndefined();
    oldestMs = Math.max(oldestMs, stores.clock.nowMs() - (broker.unmerged().oldestMs ?? stores.clock.nowMs()));
  }
  expect(oldestMs).toBeLessThan(2 * MINUTE_MS);
  expect(oldestMs).toBeGreaterThanOrEqual(MINUTE_MS);
  const { mergedEntry } = await readSegmentList(stores.items, { topicId, headNumber: 0 });
  const mergedUntilMs = startMs + (mergedEntry / 96) * 1_000;
  expect(stores.clock.nowMs() - mergedUntilMs).toBeLessThan(2 * MINUTE_MS);
}, 60_000);

it('knows of a node whose move was applied although its reply was lost', async () => {
  broker = memoryBroker({
    ...stores,
    items: {
      get: (key) => stores.items.get(key),
      query: (range) => stores.items.query(range),
      put: (...args) => stores.items.put(...args),
      delete: (...args) => stores.items.delete(...args),
      async update(...args) {
        if (args[1].some((update) => update.do === 'remove_first')) await stores.items.update(...args);
        return stores.items.update(...args);
      },
    },
  });
  await made('busy');
  await appendNodes('busy', 1);
  expect(broker.unmerged().heads).toBe(1);
});

it('costs nothing while no head is due', async () => {
  await made('quiet');
  await appendNodes('quiet', 1);
  const before = broker.usage();
  expect(await busy()).toEqual({ results: [], blocked: 0, error: undefined, complete: true });
  expect(broker.usage()).toEqual(before);
});

it('schedules a quiet head, so that another process merges it when its nodes are an hour old', async () => {
  const topicId = await made('quiet');
  await appendNodes('quiet', 1);
  // What the first append left counts no longer once there is a list.
  await stores.clock.run(broker.mergeHead(topicId, 0, { force: true }));
  await appendNodes('quiet', 1);
  await stores.clock.advance(6 * MINUTE_MS);
  const { results } = await busy();
  expect(results).toMatchObject([{ nodesMerged: 0 }]);
  // The lists of many heads would not fit in memory.
  expect(results[0]).not.toHaveProperty('list');
  const { due } = await readSegmentList(stores.items, { topicId, headNumber: 0 });
  expect(due.merge?.atMs).toBeLessThanOrEqual(stores.clock.nowMs() + HOUR_MS);
  // Once is enough.
  await stores.clock.advance(6 * MINUTE_MS);
  expect((await busy()).results).toEqual([]);
  const other = memoryBroker(stores);
  await stores.clock.advance(HOUR_MS);
  expect((await stores.clock.run(other.runMerges())).results).toMatchObject([{ nodesMerged: 1 }]);
});

it('leaves an earlier visit as it is', async () => {
  const topicId = await made('visited');
  await appendNodes('visited', 1);
  await stores.clock.run(broker.mergeHead(topicId, 0));
  const { due } = await readSegmentList(stores.items, { topicId, headNumber: 0 });
  // Nothing is left to merge, so the next look could wait for a day.
  await stores.clock.run(broker.mergeHead(topicId, 0, { force: true }));
  expect((await readSegmentList(stores.items, { topicId, headNumber: 0 })).due.merge).toEqual(due.merge);
});

it('merges the other heads if one fails, and tries that one again later', async () => {
  const broken = await made('broken');
  await made('fine');
  await appendNodes('broken', 16);
  await appendNodes('fine', 16);
  for (let shard = 0; shard < 4; shard++) {
    const pk = inlineBatchPartitionKey(broken, 0, shard);
    for (const { sk } of (await stores.items.query({ pk, limit: 1_000 })).items) await stores.items.delete({ pk, sk });
  }
  await stores.clock.advance(MINUTE_MS);
  expect(await busy()).toMatchObject({ results: [{ nodesMerged: 16 }], blocked: 1, error: { code: 'corrupt_data' } });
  expect(await busy()).toMatchObject({ results: [], blocked: 0 });
  await stores.clock.advance(MINUTE_MS);
  expect(await busy()).toMatchObject({ results: [], blocked: 1 });
});

it('keeps what it had no time for', async () => {
  for (const name of ['a', 'b', 'c', 'd', 'e']) {
    await made(name);
    await appendNodes(name, 16);
  }
  await stores.clock.advance(MINUTE_MS);
  expect(await busy(AbortSignal.abort())).toMatchObject({ results: [], complete: false });
  expect(broker.unmerged().heads).toBe(5);
  const { results, complete } = await busy();
  expect([results.map(({ nodesMerged }) => nodesMerged), complete]).toEqual([[16, 16, 16, 16, 16], true]);
});

it('forgets heads whose topic is gone', async () => {
  await made('gone');
  await appendNodes('gone', 16);
  await stores.clock.run(broker.deleteTopic('gone'));
  await stores.clock.advance(MINUTE_MS);
  expect(await busy()).toEqual({ results: [], blocked: 0, error: undefined, complete: true });
  expect(broker.unmerged().heads).toBe(0);
});

describe('a head of which the list names no due item', () => {
  it('is still found by that of the first append, after a job died at its first update', async () => {
    const topicId = await made('crashed');
    await appendNodes('crashed', 16);
    let updates = 0;
    const dying = memoryBroker({
      ...stores,
      items: {
        get: (key) => stores.items.get(key),
        query: (range) => stores.items.query(range),
        update: (...args) => stores.items.update(...args),
        delete: (...args) => stores.items.delete(...args),
        async put(key, ...rest) {
          if (key.pk.startsWith('segments#') && ++updates > 1) return new Promise(() => {});
          return stores.items.put(key, ...rest);
        },
      },
    });
    void dying.mergeHead(topicId, 0, { force: true });
    for (let turns = 0; turns < 50; turns++) await stores.clock.advance(1);
    expect((await readSegmentList(stores.items, { topicId, headNumber: 0 })).announcements).toHaveLength(1);
    expect(await dueItems(topicId)).toHaveLength(1);
    await stores.clock.advance(2 * HOUR_MS);
    const { results } = await stores.clock.run(memoryBroker(stores).runMerges());
    expect(results).toMatchObject([{ nodesMerged: 16 }]);
    // From now on the item of the list counts, and the other one is only deleted.
    expect((await stores.clock.run(memoryBroker(stores).runMerges())).results).toEqual([]);
    expect(await dueItems(topicId)).toHaveLength(1);
    expect((await readSegmentList(stores.items, { topicId, headNumber: 0 })).due.merge).toBeDefined();
  });
});

it('merges the few nodes of a quiet head when they are an hour old', async () => {
  const topicId = await made('nodes');
  await appendNodes('nodes', 3);
  const { items } = await stores.items.query({ pk: nodePartitionKey(topicId, 0), limit: 100 });
  expect(items).toHaveLength(3);
  await stores.clock.advance(HOUR_MS);
  expect((await busy()).results).toMatchObject([{ nodesMerged: 3, waitedMs: expect.any(Number) }]);
});
