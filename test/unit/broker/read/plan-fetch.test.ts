import { describe, expect, it } from 'vitest';
import type { FetchPlanPart } from '../../../../shared/broker/read/plan-fetch.ts';
import { readBatchHeader } from '../../../../shared/log/batch/record-batch.ts';
import { createUrlSigner } from '../../../../shared/storage/file/url-signer.ts';
import { MemoryObjectStore } from '../../../../shared/storage/memory/object-store.ts';
import { appendTo, memoryBroker, memoryStores, requestsFor } from '../../../support/memory-broker.ts';
import { MergedLog } from '../../../support/merged-log.ts';

const MIB = 1024 * 1024;

async function setUp() {
  const signer = createUrlSigner({ secret: new Uint8Array(32), baseUrl: () => 'http://localhost' });
  const stores = { ...memoryStores(), objects: new MemoryObjectStore({ signer }) };
  const writer = memoryBroker(stores);
  await writer.putTopic({ name: 't', config: { 'max.message.bytes': 2 * MIB } });
  const log = new MergedLog(stores, (await writer.describeTopic('t')).topicId);
  const append = async (count: number, bytes: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      await appendTo(writer, 't', 0, ['x'.repeat(bytes)]);
      await writer.idle();
    }
  };
  /** The offsets of the batches that a part's address has. */
  const offsetsOf = async (part: FetchPlanPart): Promise<number[]> => {
    if (part.storage === 'inline') throw new Error('nothing is inline here');
    const url = new URL(part.url);
    const [start, end] = ['start', 'end'].map((name) => Number(url.searchParams.get(name))) as [number, number];
    const key = decodeURIComponent(url.pathname.replace('/v1/objects/', ''));
    const bytes = (await stores.objects.get(key, { start, end })) as Uint8Array;
    expect(bytes.length).toBe(part.bytes);
    const offsets: number[] = [];
    for (let position = 0; position < bytes.length; ) {
      const header = readBatchHeader(bytes, position);
      offsets.push(header.baseOffset);
      position += header.bytes;
    }
    return offsets;
  };
  return { stores, writer, log, append, offsetsOf };
}

describe('a fetch plan', () => {
  it('divides large segments into chunks whose offsets follow each other', async () => {
    const { stores, log, append, offsetsOf } = await setUp();
    await append(48, 0.75 * MIB);
    await log.merge();
    const reader = memoryBroker(stores);
    for (const [offset, maxBytes, chunks] of [
      [0, 64 * MIB, 3],
      [5, 64 * MIB, 3],
      [5, 20 * MIB, 2],
      [20, 1, 1],
    ] as const) {
      const plan = await reader.planFetch({ topic: 't', partitions: [{ partition: 0, offset, maxBytes }] });
      const { parts, nextOffset } = plan.partitions[0] as (typeof plan.partitions)[number];
      expect(parts).toHaveLength(chunks);
      let next: number = offset;
      for (const part of parts) {
        expect(part).toMatchObject({ storage: 'segment', startOffset: next });
        const offsets = await offsetsOf(part);
        expect(offsets).toEqual(Array.from({ length: part.endOffset - next }, (_, i) => next + i));
        next = part.endOffset;
      }
      expect(next).toBe(nextOffset);
    }
    expect(requestsFor(reader, 'read')).toMatchObject({ getObject: 1, query: 0 });
    expect(requestsFor(reader, 'read').bytesRead).toBeLessThan(2_000);
  });

  it('needs no index of smaller segments that it names as a whole, and no more than the index of others', async () => {
    const { stores, log, append } = await setUp();
    await append(16, 20_000);
    await log.merge();
    const reader = memoryBroker(stores);
    const plan = (offset: number) => reader.planFetch({ topic: 't', partitions: [{ partition: 0, offset }] });
    expect((await plan(0)).partitions[0]?.parts).toMatchObject([{ startOffset: 0, endOffset: 16, storage: 'segment' }]);
    expect(requestsFor(reader, 'read').getObject).toBe(0);
    expect((await plan(9)).partitions[0]?.parts).toMatchObject([{ startOffset: 8, endOffset: 16, storage: 'segment' }]);
    expect(requestsFor(reader, 'read')).toMatchObject({ getObject: 1 });
    expect(requestsFor(reader, 'read').bytesRead).toBeLessThan(500);
  });

  it('looks again if what it was going to name was merged and deleted', async () => {
    const { stores, log, append } = await setUp();
    await append(33, 10);
    await log.merge({ nodes: 1 });
    const reader = memoryBroker(stores);
    const plan = async () =>
      (await reader.planFetch({ topic: 't', partitions: [{ partition: 0, offset: 10, maxBytes: 1 }] })).partitions[0];
    expect((await plan())?.parts).toMatchObject([{ startOffset: 10, storage: 'inline' }]);
    await log.merge();
    await log.clean();
    expect((await plan())?.parts).toMatchObject([{ startOffset: 8, storage: 'segment' }]);
  });

  it('names no part in a gap, and where to go on', async () => {
    const { stores, log, append } = await setUp();
    await append(8, 10);
    await log.merge({ keeps: ({ baseOffset }) => baseOffset < 3 });
    const plan = async (offset: number) =>
      (await memoryBroker(stores).planFetch({ topic: 't', partitions: [{ partition: 0, offset }] })).partitions[0];
    await log.replace(0, 0, 1, () => false);
    expect(await plan(5)).toMatchObject({ parts: [], nextOffset: 8, highWatermark: 8 });
  });
});
