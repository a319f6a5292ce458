import { beforeEach, expect, it } from 'vitest';
import type { Broker } from '../../../../shared/broker/broker.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import { makeBatchId } from '../../../../shared/log/head/batch-id.ts';
import {
  GARBAGE,
  garbageKey,
  hotObjectKey,
  inlineBatchPartitionKey,
  jobKey,
  TOPIC,
  topicKey,
} from '../../../../shared/storage/keys.ts';
import type { ItemKey, ItemStore } from '../../../../shared/storage/ports.ts';
import { appendTo, bytes, memoryBroker, memoryStores } from '../../../support/memory-broker.ts';

const HOUR_MS = 3_600_000;
const HOT = new Uint8Array(9);

let stores: ReturnType<typeof memoryStores>;
let topicId: string;

/** A head with merged nodes that may be cleaned, a deletion that was interrupted, and a hot object without an entry. */
beforeEach(async () => {
  stores = memoryStores();
  const broker = memoryBroker(stores);
  await stores.clock.run(async () => {
    await broker.putTopic({ name: 'orders' });
    topicId = (await broker.describeTopic('orders')).topicId;
    for (let i = 0; i < 20; i++) await appendTo(broker, 'orders', 0, ['value']);
    await broker.idle();
    await broker.mergeHead(topicId, 0, { force: true });
    await broker.putTopic({ name: 'half-deleted' });
    await stores.items.update(topicKey('half-deleted'), [{ do: 'set', name: TOPIC.deleting, value: 1 }]);
    await stores.objects.put(hotObjectKey(makeBatchId(HOT, stores.clock.nowMs()), topicId, 0), [bytes('orphan')]);
  });
  await stores.clock.advance(26 * HOUR_MS);
});

const sweep = (broker: Broker) => stores.clock.run(broker.sweep());

/** The items, of which those that are read under a key fail. */
function failing(isFailing: (key: ItemKey) => boolean): ItemStore {
  const check = (key: ItemKey): void => {
    if (isFailing(key)) throw new EventLogError('storage_unavailable', 'no answer', { outcome: 'not_applied' });
  };
  return {
    async get(key) {
      check(key);
      return stores.items.get(key);
    },
    query: (range) => stores.items.query(range),
    put: (...args) => stores.items.put(...args),
    delete: (...args) => stores.items.delete(...args),
    async update(...args) {
      check(args[0]);
      return stores.items.update(...args);
    },
  };
}

async function inlineBatches(): Promise<number> {
  let found = 0;
  for (let shard = 0; shard < 4; shard++) {
    const pk = inlineBatchPartitionKey(topicId, 0, shard);
    found += (await stores.items.query({ pk, limit: 100 })).items.length;
  }
  return found;
}

it('deletes everything that is to be deleted, and tells what', async () => {
  expect(await inlineBatches()).toBeGreaterThan(0);
  expect(await sweep(memoryBroker(stores))).toMatchObject({
    results: [{ nodesDeleted: 2 }],
    topicsDeleted: 1,
    orphansDeleted: 1,
    blocked: 0,
    error: undefined,
    complete: true,
  });
  // What is in the tail stays.
  expect(await inlineBatches()).toBe(4);
});

it('does the other parts if one fails, and tells of it', async () => {
  const broker = memoryBroker({ ...stores, items: failing(({ pk, sk }) => pk === 'job' && sk.startsWith('hot')) });
  expect(jobKey('hot-orphans').pk).toBe('job');
  const run = await sweep(broker);
  expect(run).toMatchObject({
    results: [{ nodesDeleted: 2 }],
    topicsDeleted: 1,
    blocked: 1,
    error: { code: 'storage_unavailable' },
  });
  expect(run.orphansDeleted).toBeUndefined();
});

it('is not complete if a part before the last has more to do', async () => {
  for (let i = 0; i < 101; i++) {
    const attributes = { [GARBAGE.topicId]: `gone-${i}`, [GARBAGE.heads]: 0 };
    await stores.items.put(garbageKey(stores.clock.nowMs(), `topic#gone-${i}`), attributes);
  }
  expect(await sweep(memoryBroker(stores))).toMatchObject({ topicsSwept: 100, blocked: 0, complete: false });
  expect(await sweep(memoryBroker(stores))).toMatchObject({ complete: true });
});

it('tells of deletions that fail', async () => {
  const broken = topicKey('half-deleted');
  const broker = memoryBroker({ ...stores, items: failing(({ pk, sk }) => pk === broken.pk && sk === broken.sk) });
  const run = await sweep(broker);
  expect(run).toMatchObject({ topicsDeleted: 0, blocked: 1, error: { code: 'storage_unavailable' } });
  expect(run).toMatchObject({ results: [{ nodesDeleted: 2 }], orphansDeleted: 1 });
});

it('lets a bug end it', async () => {
  const items = {
    ...failing(() => false),
    query: () => Promise.reject(new TypeError('a bug')),
  };
  await expect(sweep(memoryBroker({ ...stores, items }))).rejects.toThrow('a bug');
});
