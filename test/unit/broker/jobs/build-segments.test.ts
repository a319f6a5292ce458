import { describe, expect, it } from 'vitest';
import { checkBuilt, checkComplete, type NewSegment } from '../../../../shared/broker/jobs/merge/build-segments.ts';
import { Pace } from '../../../../shared/broker/jobs/pace.ts';
import { DEFAULT_SETTINGS } from '../../../../shared/broker/settings.ts';
import { encodeBatch, placeBatch, readBatchHeader } from '../../../../shared/log/batch/record-batch.ts';
import type { Head } from '../../../../shared/log/head/head.ts';
import { SegmentBuilder } from '../../../../shared/log/segment/segment-builder.ts';
import { appendTo, memoryBroker, memoryStores, record, valuesOf } from '../../../support/memory-broker.ts';
import { turn } from '../../../support/simulated-clock.ts';

async function setUp() {
  const stores = memoryStores();
  const broker = memoryBroker(stores);
  const { topic } = await broker.putTopic({ name: 't', partitions: 2 });
  return { stores, broker, topicId: topic.topicId };
}

describe('a merge of much data', () => {
  it('rests in proportion to its work if the settings say so, and not once it is to stop', async () => {
    const { stores, broker, topicId } = await setUp();
    for (let i = 0; i < 8; i++) await appendTo(broker, 't', 0, ['x'.repeat(100_000)]);
    await broker.idle();
    const stop = new AbortController();
    let rests = 0;
    const slept: number[] = [];
    const clock = {
      nowMs: () => stores.clock.nowMs(),
      sleep: async (ms: number, signal?: AbortSignal) => {
        if (!signal?.aborted) slept.push(ms);
        if (++rests === 6) stop.abort();
      },
    };
    const paced = memoryBroker({ ...stores, clock }, { jobStepBytes: 200_000, jobRestMs: 10 });
    const options = { force: true, signal: stop.signal };
    expect(await paced.mergeHead(topicId, 0, options)).toMatchObject({ nodesMerged: 1 });
    // Eight batches are read, and then read again: two of them are a step, and a little more.
    expect(slept).toEqual(Array(6).fill(10));
    expect(rests).toBe(8);
  });

  it('reads few entries at once if they are large', async () => {
    const { stores, broker, topicId } = await setUp();
    for (const size of [300_000, 10]) for (let i = 0; i < 8; i++) await appendTo(broker, 't', 0, ['x'.repeat(size)]);
    await broker.idle();
    let most = 0;
    let now = 0;
    const get: typeof stores.objects.get = async (key, range) => {
      most = Math.max(most, ++now);
      await turn();
      now--;
      return stores.objects.get(key, range);
    };
    const objects = { ...stores.objects, get, put: stores.objects.put.bind(stores.objects) } as typeof stores.objects;
    const reading = memoryBroker({ ...stores, objects });
    expect(await stores.clock.run(reading.mergeHead(topicId, 0, { force: true }))).toMatchObject({ nodesMerged: 2 });
    expect(most).toBe(3);
  });

  it('takes the parts of an entry that are kept, wherever they are in its data', async () => {
    const { stores, broker, topicId } = await setUp();
    for (let i = 0; i < 8; i++)
      await broker.appendRecords({
        topic: 't',
        records: [record('a', { partition: 0 }), record('b', { partition: 1 })],
      });
    await broker.idle();
    await broker.deleteRecords({ topic: 't', partition: 0, before: 8 });
    const merged = await stores.clock.run(broker.mergeHead(topicId, 0, { force: true }));
    expect(merged).toMatchObject({ nodesMerged: 1, segmentsWritten: 1 });
    expect(await valuesOf(memoryBroker(stores), 't', 1)).toEqual(Array(8).fill('b'));
  });
});

describe('a segment that was built', () => {
  const batches = [0, 1, 2].map((offset) => {
    const bytes = encodeBatch([{ timestampMs: offset, key: null, value: new Uint8Array(9), headers: [] }]);
    placeBatch(bytes, 0, offset);
    return bytes;
  });
  const build = (parts: readonly Uint8Array[]) => {
    const builder = new SegmentBuilder();
    for (const part of parts) {
      const header = readBatchHeader(part);
      builder.add(part, header, header.baseOffset);
    }
    return { slot: 0, built: builder.finish(), writtenAtMs: 0 };
  };
  const whole = build(batches);
  const hash = whole.built.facts.setHash;
  const withChunks = (chunks: readonly Uint8Array[]) => ({
    ...whole,
    built: { ...whole.built, chunks: [...chunks, new Uint8Array(0)] },
  });

  const slept: number[] = [];
  const clock = { nowMs: () => 0, sleep: async (ms: number) => void slept.push(ms) };
  const pace = new Pace({ clock, settings: { ...DEFAULT_SETTINGS, jobStepBytes: 2_000_000, jobRestMs: 3 } });

  it('is what was read', async () => {
    await expect(checkBuilt(whole, hash, pace)).resolves.toBeUndefined();
  });

  it('lets other work run while much of it is checked', async () => {
    const large = Array.from({ length: 5 }, () =>
      encodeBatch([{ key: null, value: new Uint8Array(1_000_000), headers: [], timestampMs: 1 }]),
    );
    large.forEach((batch, offset) => {
      placeBatch(batch, 0, offset);
    });
    const segment = build(large);
    await checkBuilt(segment, segment.built.facts.setHash, pace);
    expect(slept).toEqual([3, 3]);
  });

  it('counts more than the bytes of each batch as work', async () => {
    const small = Array.from({ length: 500 }, (_, offset) => {
      const batch = encodeBatch([{ key: null, value: null, headers: [], timestampMs: 1 }]);
      placeBatch(batch, 0, offset);
      return batch;
    });
    const segment = build(small);
    slept.length = 0;
    await checkBuilt(segment, segment.built.facts.setHash, pace);
    expect(slept).toEqual([3]);
  });

  it.each([
    ['lacks a batch at its end', build(batches.slice(0, 2))],
    ['lacks a batch in the middle', build([batches[0], batches[2]] as Uint8Array[])],
    ['has a batch twice', withChunks([...batches, batches[2] as Uint8Array])],
    ['has batches in another order', withChunks(batches.toReversed())],
    ['has other bytes than its facts say', withChunks(batches.slice(0, 2))],
  ])('is refused if it %s', async (_, segment) => {
    await expect(checkBuilt(segment, hash, pace)).rejects.toThrow('does not hold what was read');
  });
});

describe('the segments of a merge', () => {
  const built = (slot: number, startOffset: number, endOffset: number) =>
    ({ slot, built: { facts: { startOffset, endOffset } }, writtenAtMs: 0 }) as NewSegment;
  const totals = (...ends: number[]) => ends.map((nextOffset) => ({ nextOffset, maxTimestampMs: 1, bytes: 1 }));
  const headFrom = (...starts: number[]) =>
    ({ partitions: starts.map((logStartOffset) => ({ logStartOffset, nextOffset: 50 })) }) as unknown as Head;
  const before = totals(10, 0);
  const after = totals(20, 5);

  it.each<[string, NewSegment[], Head]>([
    ['all', [built(0, 10, 15), built(0, 15, 20), built(1, 0, 5)], headFrom(0, 0)],
    ['all but what is below the log start', [built(0, 14, 20)], headFrom(14, 5)],
    ['a batch that reaches below the log start', [built(0, 12, 20)], headFrom(14, 5)],
  ])('may have %s', (_, segments, head) => {
    expect(() => checkComplete(segments, head, before, after)).not.toThrow();
  });

  it.each<[string, NewSegment[], Head]>([
    ['the last records', [built(0, 10, 19), built(1, 0, 5)], headFrom(0, 0)],
    ['the first records', [built(0, 11, 20), built(1, 0, 5)], headFrom(0, 0)],
    ['records in the middle', [built(0, 10, 14), built(0, 15, 20), built(1, 0, 5)], headFrom(0, 0)],
    ['a partition', [built(0, 10, 20)], headFrom(0, 4)],
    ['records behind the log start', [built(0, 15, 20)], headFrom(14, 5)],
  ])('may not lack %s', (_, segments, head) => {
    expect(() => checkComplete(segments, head, before, after)).toThrow('lacks records');
  });
});
