import { describe, expect, it } from 'vitest';
import { TopicCache, topicToAttributes } from '../../../../shared/broker/memory/topic-cache.ts';
import { UsageMeter } from '../../../../shared/broker/usage/usage-meter.ts';
import type { Topic } from '../../../../shared/log/topic/topic.ts';
import { aroundStores } from '../../../../shared/storage/around-stores.ts';
import { topicKey } from '../../../../shared/storage/keys.ts';
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
});
