import { describe, expect, it } from 'vitest';
import { Chunk, DataCache } from '../../../../shared/broker/memory/data-cache.ts';
import { encodeBatch, readBatchHeader } from '../../../../shared/log/batch/record-batch.ts';

const KIB = 1024;

describe('the blocks in a data cache', () => {
  it('are kept until they are dropped', () => {
    const cache = new DataCache(100 * KIB);
    cache.putBlock('a', new Uint8Array(KIB), 5);
    expect([cache.hasBlock('a'), cache.getBlock('a')?.length, cache.getBatches('a')]).toEqual([true, KIB, undefined]);
    cache.dropBlock('a');
    expect([cache.hasBlock('a'), cache.getBlock('a')]).toEqual([false, undefined]);
    const bytes = encodeBatch([{ timestampMs: 1, key: null, value: null, headers: [] }]);
    const batches = [{ bytes, header: readBatchHeader(bytes), baseOffset: 0, endOffset: 1 }];
    cache.putBatches('b', batches);
    cache.dropBlock('b');
    expect([cache.getBatches('b'), cache.getBlock('b')]).toEqual([batches, undefined]);
  });

  it('leave as much room as half of the cache has beside them', async () => {
    const cache = new DataCache(100 * KIB);
    expect(cache.aheadBytesMax(0)).toBe(50 * KIB);
    cache.putBlock('a', new Uint8Array(10 * KIB), 0);
    cache.putBlock('a', new Uint8Array(10 * KIB), 0);
    const left = cache.aheadBytesMax(0);
    expect(left).toBeLessThanOrEqual(40 * KIB);
    expect(left).toBeGreaterThan(39 * KIB);
    await cache.fetchAhead(15 * KIB, async () => {
      expect(cache.aheadBytesMax(0)).toBe(left - 15 * KIB);
    });
    await expect(cache.fetchAhead(15 * KIB, () => Promise.reject(new Error('failed')))).rejects.toThrow('failed');
    expect(cache.aheadBytesMax(0)).toBe(left);
    cache.putBlock('b', new Uint8Array(45 * KIB), 0);
    expect(cache.aheadBytesMax(0)).toBe(0);
    // The least recently used one makes way for others, and leaves its room.
    cache.putBlock('c', new Uint8Array(60 * KIB), 0);
    expect([cache.hasBlock('a'), cache.hasBlock('b'), cache.hasBlock('c')]).toEqual([false, false, true]);
    cache.dropBlock('c');
    expect(cache.aheadBytesMax(0)).toBe(50 * KIB);
  });

  it('that are views on one chunk take its room until all of them are dropped', () => {
    const cache = new DataCache(100 * KIB);
    const chunk = new Chunk(30 * KIB);
    const bytes = new Uint8Array(30 * KIB);
    for (const [i, key] of ['a', 'b', 'c'].entries())
      cache.putBlock(key, bytes.subarray(i * 10 * KIB, (i + 1) * 10 * KIB), 0, chunk);
    expect(cache.aheadBytesMax(0)).toBe(20 * KIB);
    cache.dropBlock('a');
    cache.dropBlock('c');
    cache.dropBlock('c');
    expect(cache.aheadBytesMax(0)).toBe(20 * KIB);
    cache.dropBlock('b');
    expect(cache.aheadBytesMax(0)).toBe(50 * KIB);
    cache.putBlock('b', bytes.subarray(0, KIB), 0, chunk);
    expect(cache.aheadBytesMax(0)).toBe(20 * KIB);
  });

  it('that are too large for it are not kept, and take no room', () => {
    const cache = new DataCache(100 * KIB);
    cache.putBlock('a', new Uint8Array(80 * KIB), 0);
    expect([cache.hasBlock('a'), cache.getBlock('a'), cache.aheadBytesMax(0)]).toEqual([false, undefined, 50 * KIB]);
  });

  it('leave their room after a minute if nobody took them', () => {
    const cache = new DataCache(100 * KIB);
    cache.putBlock('a', new Uint8Array(10 * KIB), 1_000);
    cache.putBlock('b', new Uint8Array(10 * KIB), 30_000);
    cache.aheadBytesMax(60_999);
    expect([cache.hasBlock('a'), cache.hasBlock('b')]).toEqual([true, true]);
    cache.aheadBytesMax(61_000);
    expect([cache.hasBlock('a'), cache.hasBlock('b')]).toEqual([false, true]);
    // A clock that was set back drops nothing.
    cache.aheadBytesMax(0);
    expect(cache.hasBlock('b')).toBe(true);
  });
});
