import { describe, expect, it } from 'vitest';
import type { BrokerContext } from '../../../../shared/broker/context.ts';
import { SegmentCache } from '../../../../shared/broker/memory/segment-cache.ts';
import { segmentsFrom } from '../../../../shared/broker/segments/find-segments.ts';
import { currentSegmentList } from '../../../../shared/broker/segments/known-lists.ts';
import { meteredStores } from '../../../../shared/broker/usage/metered-stores.ts';
import { noRequests } from '../../../../shared/broker/usage/request-counts.ts';
import { SEGMENT_PAGE, segmentPageKey } from '../../../../shared/storage/keys.ts';
import { appendTo, memoryBroker, memoryStores } from '../../../support/memory-broker.ts';
import { MergedLog } from '../../../support/merged-log.ts';

/** Six segments of eight offsets: [0, 16) in a page, [16, 32) in another, and two more. Their times rise. */
async function setUp() {
  const stores = memoryStores();
  const writer = memoryBroker(stores);
  await writer.putTopic({ name: 't' });
  const { topicId } = await writer.describeTopic('t');
  const log = new MergedLog(stores, topicId);
  const startMs = stores.clock.nowMs();
  for (let i = 0; i < 48; i++) {
    await appendTo(writer, 't', 0, [`${i}`]);
    await writer.idle();
    await stores.clock.advance(1);
    if (i % 8 === 7) await log.merge();
  }
  await log.spill(0, 2);
  await log.spill(0, 2);
  const counts = noRequests();
  const { items } = meteredStores(stores, counts);
  const context = { clock: stores.clock, segments: new SegmentCache(1e6) } as Partial<BrokerContext> as BrokerContext;
  const name = { topicId, headNumber: 0 };
  const starts = async (offset: number, timestampMs?: number): Promise<number[]> => {
    const list = await currentSegmentList(context, stores.items, name);
    const found: number[] = [];
    for await (const { startOffset } of segmentsFrom(context, items, { name, list, slot: 0 }, offset, timestampMs))
      found.push(startOffset);
    return found;
  };
  return { stores, log, topicId, startMs, counts, starts };
}

describe('the segments of a partition', () => {
  it('are found from any offset on, and pages only if they have some', async () => {
    const { starts, counts } = await setUp();
    expect(await starts(40)).toEqual([40]);
    expect(await starts(39)).toEqual([32, 40]);
    expect(counts.getItem).toBe(0);
    expect(await starts(25)).toEqual([24, 32, 40]);
    expect(counts.getItem).toBe(1);
    expect(await starts(0)).toEqual([0, 8, 16, 24, 32, 40]);
    expect(await starts(15)).toEqual([8, 16, 24, 32, 40]);
    expect(counts.getItem).toBe(2);
    expect(await starts(48)).toEqual([]);
  });

  it('are found by time, and pages only if they can have one', async () => {
    const { starts, counts, startMs } = await setUp();
    expect(await starts(0, startMs + 40)).toEqual([40]);
    expect(counts.getItem).toBe(0);
    expect(await starts(0, startMs + 31)).toEqual([24, 32, 40]);
    expect(counts.getItem).toBe(1);
    expect(await starts(0, startMs + 48)).toEqual([]);
  });

  it('are not those that retention has dropped, although a page still names them', async () => {
    const { starts, log } = await setUp();
    await log.drop(0, 26);
    expect(await starts(0)).toEqual([24, 32, 40]);
    await log.drop(0, 40);
    expect(await starts(0)).toEqual([40]);
  });

  it('are refused if a page is not the one that the list names, or is missing', async () => {
    const { starts, log, stores, topicId } = await setUp();
    const [first, second] = ((await log.list()).slots[0]?.pages ?? []).map((page) =>
      segmentPageKey(topicId, 0, { slot: 0, ...page }),
    );
    if (first === undefined || second === undefined) throw new Error('There are two pages.');
    const other = await stores.items.get(second);
    await stores.items.put(first, { [SEGMENT_PAGE.segments]: other.attributes?.[SEGMENT_PAGE.segments] as Uint8Array });
    await expect(starts(0)).rejects.toMatchObject({
      code: 'corrupt_data',
      message: expect.stringContaining('not the one that the list names'),
      details: { storedAs: `${first.pk}/${first.sk}` },
    });
    expect(await starts(16)).toEqual([16, 24, 32, 40]);
    await stores.items.delete(first);
    await expect(starts(0)).rejects.toMatchObject({ message: expect.stringContaining('is missing') });
  });
});
