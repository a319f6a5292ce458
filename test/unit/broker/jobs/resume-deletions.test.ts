import { expect, it } from 'vitest';
import { EventLogError } from '../../../../shared/log/errors.ts';
import { headKey, JOB, jobKey, TOPIC, topicKey } from '../../../../shared/storage/keys.ts';
import type { ItemStore } from '../../../../shared/storage/ports.ts';
import { bytes, codeOf, type MemoryStores, memoryBroker, memoryStores } from '../../../support/memory-broker.ts';

const RECORD = { key: null, value: bytes('v'), headers: [] };

/** Topics of which some were marked by a deletion that then stopped. */
async function interrupted(names: readonly string[], deleting: readonly string[]) {
  const stores = memoryStores();
  const broker = memoryBroker(stores);
  for (const name of names) {
    await broker.putTopic({ name, partitions: 20 });
    await broker.appendRecords({ topic: name, records: [RECORD] });
  }
  for (const name of deleting) await mark(stores, name);
  return stores;
}

async function mark({ items }: MemoryStores, name: string): Promise<void> {
  await items.update(topicKey(name), [{ do: 'set', name: TOPIC.deleting, value: 1 }]);
}

/** Does something before the name of a topic is set free, which is a deletion's last request. */
function onDelete(items: ItemStore, run: (name: string) => void): ItemStore {
  return {
    get: (key) => items.get(key),
    put: (key, attributes, conditions) => items.put(key, attributes, conditions),
    async update(key, updates, conditions) {
      if (updates.some((update) => update.name === TOPIC.deletedAtMs)) run(key.sk);
      return items.update(key, updates, conditions);
    },
    query: (range) => items.query(range),
    delete: (key, conditions) => items.delete(key, conditions),
  };
}

it('finishes what was interrupted and touches nothing else', async () => {
  const stores = await interrupted(['a', 'b', 'c'], ['a', 'c']);
  const { attributes } = await stores.items.get(topicKey('a'));
  const broker = memoryBroker(stores);
  expect(await broker.resumeDeletions()).toMatchObject({
    topicsSeen: 3,
    topicsDeleted: 2,
    topicsFailed: 0,
    complete: true,
  });
  expect((await broker.listTopics()).items.map(({ name }) => name)).toEqual(['b']);
  expect(await codeOf(broker.describeTopic('a'))).toBe('unknown_topic');
  for (const head of [0, 1])
    expect((await stores.items.get(headKey(String(attributes?.[TOPIC.topicId]), head))).attributes).toMatchObject({
      x: 1,
    });
  expect(await broker.resumeDeletions()).toMatchObject({ topicsSeen: 1, topicsDeleted: 0, complete: true });
});

it('goes on where it was stopped', async () => {
  const stores = await interrupted(['a', 'b', 'c', 'd'], ['b', 'd']);
  const stop = new AbortController();
  const first = memoryBroker({ ...stores, items: onDelete(stores.items, () => stop.abort()) });
  expect(await first.resumeDeletions({ signal: stop.signal })).toMatchObject({
    topicsSeen: 2,
    topicsDeleted: 1,
    complete: false,
  });
  // Made after the run had passed it, so that only a later round gets to it.
  await first.putTopic({ name: 'aa', partitions: 1 });
  await mark(stores, 'aa');
  const broker = memoryBroker(stores);
  expect(await broker.resumeDeletions()).toMatchObject({ topicsSeen: 2, topicsDeleted: 1, complete: true });
  expect(await broker.resumeDeletions()).toMatchObject({ topicsSeen: 3, topicsDeleted: 1, complete: true });
  expect((await broker.listTopics()).items.map(({ name }) => name)).toEqual(['a', 'c']);
});

it('goes on after each of several stops', async () => {
  const stores = await interrupted(['a', 'b', 'c'], ['a', 'b', 'c']);
  for (const topicsDeleted of [1, 1, 1]) {
    const stop = new AbortController();
    const broker = memoryBroker({ ...stores, items: onDelete(stores.items, () => stop.abort()) });
    expect(await broker.resumeDeletions({ signal: stop.signal })).toMatchObject({ topicsSeen: 1, topicsDeleted });
  }
  // The items of deleted topics do not count as seen, so only the stored position tells where the last run ended.
  const { attributes } = await stores.items.get(jobKey('resume-deletions'));
  expect(attributes?.[JOB.position]).toBe('c\0');
});

it('does nothing once the time is up', async () => {
  const stores = await interrupted(['a'], ['a']);
  const broker = memoryBroker(stores);
  expect(await broker.resumeDeletions({ signal: AbortSignal.abort() })).toMatchObject({
    topicsSeen: 0,
    complete: false,
  });
  expect((await stores.items.get(topicKey('a'))).attributes).toBeDefined();
});

it('is not kept from the others by a deletion that fails', async () => {
  const stores = await interrupted(['a', 'b', 'c'], ['a', 'c']);
  const items = onDelete(stores.items, (name) => {
    if (name === 'a') throw new EventLogError('storage_unavailable', 'no answer');
  });
  const result = await memoryBroker({ ...stores, items }).resumeDeletions();
  expect(result).toMatchObject({ topicsSeen: 3, topicsDeleted: 1, topicsFailed: 1, complete: true });
  expect(result.error?.message).toBe('no answer');
  expect(await memoryBroker(stores).resumeDeletions()).toMatchObject({ topicsDeleted: 1 });
});

it('may run many times at once', async () => {
  const stores = await interrupted(['a', 'b'], ['a', 'b']);
  const results = await Promise.all([1, 2, 3].map(() => memoryBroker(stores).resumeDeletions()));
  for (const { complete, topicsFailed } of results) expect([complete, topicsFailed]).toEqual([true, 0]);
  expect((await memoryBroker(stores).listTopics()).items).toEqual([]);
});

it('forgets a deleted topic after an hour, and no topic that was made under its name since', async () => {
  const stores = memoryStores();
  const broker = memoryBroker(stores);
  for (const name of ['a', 'b']) {
    await broker.putTopic({ name });
    await broker.deleteTopic(name);
  }
  await stores.clock.advance(3_600_000);
  await broker.resumeDeletions();
  expect((await stores.items.get(topicKey('a'))).attributes).toBeDefined();
  await broker.putTopic({ name: 'b' });
  await stores.clock.advance(1);
  expect(await broker.resumeDeletions()).toEqual({
    topicsSeen: 1,
    topicsDeleted: 0,
    topicsFailed: 0,
    error: undefined,
    complete: true,
  });
  expect((await stores.items.get(topicKey('a'))).attributes).toBeUndefined();
  expect((await broker.listTopics()).items.map(({ name }) => name)).toEqual(['b']);
});

it('keeps a topic that is made again just before the item of the deleted one is removed', async () => {
  const stores = memoryStores();
  const broker = memoryBroker(stores);
  await broker.putTopic({ name: 'a' });
  await broker.deleteTopic('a');
  await stores.clock.advance(3_600_001);
  const items: ItemStore = {
    ...onDelete(stores.items, () => {}),
    async delete(key, conditions) {
      if (key.sk === 'a') await broker.putTopic({ name: 'a' });
      return stores.items.delete(key, conditions);
    },
  };
  await memoryBroker({ ...stores, items }).resumeDeletions();
  expect((await memoryBroker(stores).listTopics()).items.map(({ name }) => name)).toEqual(['a']);
});
