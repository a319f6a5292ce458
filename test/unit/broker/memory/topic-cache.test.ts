import { describe, expect, it } from 'vitest';
import { TopicCache, topicToAttributes } from '../../../../shared/broker/memory/topic-cache.ts';
import { UsageMeter } from '../../../../shared/broker/usage/usage-meter.ts';
import type { Topic } from '../../../../shared/log/topic/topic.ts';
import { aroundStores } from '../../../../shared/storage/around-stores.ts';
import { TOPIC, topicKey } from '../../../../shared/storage/keys.ts';
import { codeOf, memoryStores } from '../../../support/memory-broker.ts';

function topicOf(topicId: string): Topic {
  return { name: 't', topicId, partitions: 1, partitionsPerHead: 16, config: {}, createdAtMs: 0 };
}

/** A cache whose reads are answered only when they are let go, each with what it found when it was sent. */
async function heldCache() {
  const stores = memoryStores();
  const held: (() => void)[] = [];
  const around = aroundStores(stores, (request, run) => async (...args) => {
    const found = await run(...args);
    if (request === 'getItem') await new Promise<void>((release) => held.push(release));
    return found;
  });
  const cache = new TopicCache(new UsageMeter(around), stores.clock, 60_000);
  const put = (topicId: string) => stores.items.put(topicKey('t'), topicToAttributes(topicOf(topicId)));
  const sent = async (count: number): Promise<void> => {
    for (let i = 0; i < 50 && held.length < count; i++) await Promise.resolve();
  };
  await put('first');
  return { cache, put, remove: () => stores.items.delete(topicKey('t')), held, sent };
}

/** A cache whose listings are answered only when they are let go, each with the topics that were there when it was sent. */
async function heldListings() {
  const stores = memoryStores();
  const held: PromiseWithResolvers<void>[] = [];
  const around = aroundStores(stores, (request, run) => async (...args) => {
    const found = await run(...args);
    if (request !== 'query') return found;
    const hold = Promise.withResolvers<void>();
    held.push(hold);
    await hold.promise;
    return found;
  });
  const cache = new TopicCache(new UsageMeter(around), stores.clock, 60_000);
  const make = (topicId: string, name = topicId) =>
    stores.items.put(topicKey(name), topicToAttributes({ ...topicOf(topicId), name }));
  /** Lets go the listing with this number, once it is sent. */
  const letGo = async (number: number): Promise<void> => {
    for (let i = 0; i < 50 && held.length < number; i++) await Promise.resolve();
    held[number - 1]?.resolve();
  };
  return { stores, cache, make, held, letGo };
}

describe('the topic cache', () => {
  it('shares one read among all who ask at once, and keeps what it found', async () => {
    const { cache, held, sent } = await heldCache();
    const asked = [cache.get('t'), cache.get('t')];
    await sent(1);
    held[0]?.();
    expect((await Promise.all(asked)).map(({ topicId }) => topicId)).toEqual(['first', 'first']);
    expect((await cache.get('t')).topicId).toBe('first');
    expect(held).toHaveLength(1);
  });

  it.each(['changed', 'deleted'])(
    'does not keep a topic that is %s and forgotten while it is being read',
    async (what) => {
      const { cache, put, remove, held, sent } = await heldCache();
      const early = cache.get('t');
      await sent(1);
      await (what === 'changed' ? put('second') : remove());
      cache.forget('t');
      // One who asks now must not be given the read that began before.
      const late = codeOf(cache.get('t').then(({ topicId }) => topicId));
      await sent(2);
      expect(held).toHaveLength(2);
      held[1]?.();
      const now = what === 'changed' ? 'second' : 'unknown_topic';
      expect(await late).toBe(now);
      held[0]?.();
      expect((await early).topicId).toBe('first');
      const after = codeOf(cache.get('t').then(({ topicId }) => topicId));
      for (let i = 0; i < 50 && held.length < 3; i++) await Promise.resolve();
      held[2]?.();
      expect(await after).toBe(now);
    },
  );

  it('shares a read that began after something was forgotten, also once the one before it has ended', async () => {
    const { cache, held, sent } = await heldCache();
    const early = cache.get('t');
    await sent(1);
    cache.forget('t');
    const asked = [cache.get('t')];
    await sent(2);
    held[0]?.();
    await early;
    asked.push(cache.get('t'));
    await sent(3);
    expect(held).toHaveLength(2);
    held[1]?.();
    await Promise.all(asked);
  });

  it('does not keep what a read found that began before a newer one', async () => {
    const { cache, put, held, sent } = await heldCache();
    const early = cache.refresh('t');
    await sent(1);
    await put('second');
    const late = cache.refresh('t');
    await sent(2);
    held[1]?.();
    await late;
    held[0]?.();
    expect((await early).topicId).toBe('first');
    expect((await cache.get('t')).topicId).toBe('second');
  });

  it('finds topics by ids that it has not seen, with no more than four queries a second whatever is asked for', async () => {
    const stores = memoryStores();
    const usage = new UsageMeter(stores);
    const cache = new TopicCache(usage, stores.clock, 60_000);
    const make = (name: string) => stores.items.put(topicKey(name), topicToAttributes({ ...topicOf(name), name }));
    for (let i = 0; i < 600; i++) await make(`t${i}`);
    const queries = () => usage.total().query;
    expect((await cache.byId('t599'))?.name).toBe('t599');
    expect(queries()).toBe(2);
    await make('late');
    const found: boolean[] = [];
    for (let i = 0; i < 20; i++) {
      await stores.clock.advance(50);
      await cache.byId(`unknown ${i}`);
      found.push((await cache.byId('late')) !== undefined);
    }
    expect(found.indexOf(true)).toBe(9);
    // Twice in a second, for 600 topics.
    expect(queries()).toBe(6);
  });

  it('answers all who have seen a new id by one listing that has ended', async () => {
    const { cache, make, held, letGo } = await heldListings();
    const early = cache.byId('none');
    await letGo(1);
    await early;
    await make('new');
    const { listings } = cache;
    const asked = [cache.byId('new', listings), cache.byId('new', listings), cache.byId('new')];
    const named = cache.nameOf('new', listings);
    await letGo(2);
    expect((await Promise.all(asked)).map((topic) => topic?.name)).toEqual(['new', 'new', 'new']);
    expect(await named).toBe('new');
    expect(held).toHaveLength(2);
  });

  it('answers nobody who has seen a new id by a listing that began before', async () => {
    const { cache, make, held, letGo } = await heldListings();
    const early = cache.byId('none');
    await make('new');
    const asked = [cache.byId('new', cache.listings), cache.byId('new', cache.listings)];
    const named = cache.nameOf('new', cache.listings);
    await letGo(1);
    expect(await early).toBeUndefined();
    await letGo(2);
    expect((await Promise.all(asked)).map((topic) => topic?.name)).toEqual(['new', 'new']);
    expect(await named).toBe('new');
    expect(held).toHaveLength(2);
  });

  it('lists again after a listing that failed, which all who waited for it are told of', async () => {
    const { cache, make, held, letGo } = await heldListings();
    await make('new');
    const { listings } = cache;
    const asked = [1, 2].map(() => cache.byId('new', listings).catch((error: Error) => error.message));
    for (let i = 0; i < 50 && held.length < 1; i++) await Promise.resolve();
    held[0]?.reject(new Error('lost'));
    expect(await Promise.all(asked)).toEqual(['lost', 'lost']);
    const again = cache.byId('new', listings);
    await letGo(2);
    expect((await again)?.name).toBe('new');
  });

  it('lists once for an id whose topic is gone, however often it is asked for', async () => {
    const stores = memoryStores();
    const usage = new UsageMeter(stores);
    const cache = new TopicCache(usage, stores.clock, 60_000);
    await stores.items.put(topicKey('t'), { ...topicToAttributes(topicOf('marked')), [TOPIC.deleting]: 1 });
    for (let i = 0; i < 5; i++) {
      for (const topicId of ['gone', 'marked'])
        expect(await cache.byId(topicId, cache.listings), topicId).toBeUndefined();
      expect(await cache.nameOf('gone', cache.listings)).toBeUndefined();
      await stores.clock.advance(1_000);
    }
    expect(usage.total().query).toBe(1);
  });

  it('finds a topic that was made again while its predecessor is remembered, or being read', async () => {
    const { cache, put, held, sent } = await heldCache();
    const early = cache.get('t');
    await sent(1);
    await put('second');
    const during = cache.byId('second', cache.listings);
    await sent(1);
    held[0]?.();
    await early;
    await sent(2);
    held[1]?.();
    expect((await during)?.topicId).toBe('second');
    await put('third');
    const after = cache.byId('third', cache.listings);
    await sent(3);
    held[2]?.();
    expect((await after)?.topicId).toBe('third');
  });

  it('is certain of ids that clients give with no more than four queries a second', async () => {
    const stores = memoryStores();
    const usage = new UsageMeter(stores);
    const cache = new TopicCache(usage, stores.clock, 60_000);
    const startedAtMs = stores.clock.nowMs();
    for (let i = 0; i < 20; i++) {
      const made = { ...topicOf(`new ${i}`), name: `t${i}` };
      await stores.items.put(topicKey(made.name), topicToAttributes(made));
      const { listings } = cache;
      const asked = [`made up ${i}`, `made up again ${i}`, `new ${i}`].map((id) => cache.byGivenId(id, listings));
      const found = await stores.clock.run(Promise.all(asked));
      expect(found.map((topic) => topic?.name)).toEqual([undefined, undefined, made.name]);
    }
    expect(usage.total().query).toBe(20);
    expect(stores.clock.nowMs() - startedAtMs).toBeGreaterThanOrEqual(19 * 250);
  });
});
