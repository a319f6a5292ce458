import { describe, expect, it } from 'vitest';
import { SegmentCache } from '../../../../shared/broker/memory/segment-cache.ts';
import { EMPTY_SEGMENT_LIST, type SegmentList } from '../../../../shared/log/segment/segment-list.ts';

function list(version: number, mergedEntry = 0): SegmentList {
  return { ...EMPTY_SEGMENT_LIST, version, mergedEntry };
}

describe('a remembered segment list', () => {
  it('is given for a minute after it was asked for, whatever the clock does', () => {
    const cache = new SegmentCache(1e6);
    expect(cache.getList('h', 0)).toBeUndefined();
    expect(cache.putList('h', list(3), 1_000)).toEqual(list(3));
    expect(cache.getList('h', 60_999)).toEqual(list(3));
    expect(cache.getList('h', 61_000)).toBeUndefined();
    expect(cache.getList('h', 999)).toBeUndefined();
    expect(cache.getList('other', 1_000)).toBeUndefined();
  });

  it('never becomes an older one, although replies overtake each other', () => {
    const cache = new SegmentCache(1e6);
    cache.putList('h', list(3), 50_000);
    // Sent before, and answered after it.
    expect(cache.putList('h', list(2), 40_000)).toEqual(list(3));
    expect(cache.getList('h', 109_999)).toEqual(list(3));
    expect(cache.getList('h', 110_000)).toBeUndefined();
    cache.putList('h', list(4, 8), 60_000);
    expect(cache.getList('h', 119_999)).toEqual(list(4, 8));
    // The same version read again is fresh again.
    cache.putList('h', list(4, 8), 100_000);
    expect(cache.getList('h', 159_999)).toEqual(list(4, 8));
  });

  it('makes way for others if there are too many', () => {
    const cache = new SegmentCache(400_000);
    for (let i = 0; i < 100; i++) cache.putList(`h${i}`, list(i), 0);
    expect(cache.getList('h0', 0)).toBeUndefined();
    expect(cache.getList('h99', 0)).toEqual(list(99));
  });
});
