import { describe, expect, it } from 'vitest';
import type { FetchedPartition, FetchPartitionsRequest } from '../../../../shared/broker/read/fetch-partitions.ts';
import { readBatchHeader } from '../../../../shared/log/batch/record-batch.ts';
import { emptyBatch, recordsOf, type StoredBatch } from '../../../../shared/log/batch/stored-batch.ts';
import { appendTo, memoryBroker, memoryStores, text } from '../../../support/memory-broker.ts';
import { MergedLog } from '../../../support/merged-log.ts';

/**
 * A partition with the offsets 0 to 7, of which some have no record any more. The head goes on with another partition, so
 * that all of them are in a segment.
 */
async function withGaps(keeps: (offset: number) => boolean) {
  const stores = memoryStores();
  const broker = memoryBroker(stores, { pollIntervalMs: undefined });
  await broker.putTopic({ name: 't', partitions: 2 });
  for (let i = 0; i < 8; i++) await appendTo(broker, 't', 0, [`${i}`]);
  for (let i = 0; i < 8; i++) await appendTo(broker, 't', 1, [`${i}`]);
  await broker.idle();
  const log = new MergedLog(stores, (await broker.describeTopic('t')).topicId);
  await log.merge({ keeps: ({ baseOffset }, slot) => slot !== 0 || keeps(baseOffset) });
  const fetch = async (offset: number, limits: Partial<FetchPartitionsRequest> = {}) => {
    const partitions = [{ topic: 't', partition: 0, offset, bytesMax: 1_000_000 }];
    const request = { partitions, bytesMin: 1, bytesMax: 1_000_000, waitMs: 0, ...limits };
    const [fetched] = await stores.clock.run(broker.fetchPartitions(request));
    return shownOf(fetched as FetchedPartition);
  };
  return { broker, clock: stores.clock, fetch };
}

/** `base-end: values` of each batch. */
function shownOf(fetched: FetchedPartition): string[] {
  if (!fetched.ok) throw fetched.error;
  expect(fetched.highWatermark).toBe(8);
  return fetched.batches.map(shown);
}

function shown(batch: StoredBatch): string {
  const { baseOffset, lastOffsetDelta } = readBatchHeader(batch.bytes);
  expect([baseOffset, baseOffset + lastOffsetDelta + 1]).toEqual([batch.baseOffset, batch.endOffset]);
  return `${batch.baseOffset}-${batch.endOffset}: ${recordsOf(batch).map(({ value }) => text(value))}`;
}

describe('fetching offsets that have no record any more', () => {
  it('passes over them to the next batch', async () => {
    const { fetch } = await withGaps((offset) => offset >= 6);
    expect(await fetch(0)).toEqual(['6-7: 6', '7-8: 7']);
  });

  it('passes over them to what was appended since, in one fetch, although one read finds nothing', async () => {
    const { broker, clock } = await withGaps((offset) => offset < 4);
    await appendTo(broker, 't', 0, ['8']);
    const partitions = [{ topic: 't', partition: 0, offset: 4, bytesMax: 1 }];
    const [fetched] = await clock.run(broker.fetchPartitions({ partitions, bytesMin: 1, bytesMax: 1, waitMs: 0 }));
    expect(fetched?.ok && fetched.batches.map(shown)).toEqual(['8-9: 8']);
  });

  it('gives an empty batch where they reach to the end, so that the consumer gets there', async () => {
    const { fetch } = await withGaps((offset) => offset < 4);
    expect(await fetch(2)).toEqual(['2-3: 2', '3-4: 3']);
    expect(await fetch(4)).toEqual(['4-8: ']);
    expect(await fetch(7)).toEqual(['7-8: ']);
    expect(await fetch(8)).toEqual([]);
  });

  it('waits with the empty batch as without one, for clients that do not move on for it', async () => {
    const { clock, fetch } = await withGaps(() => false);
    const startMs = clock.nowMs();
    expect(await fetch(0, { waitMs: 20_000 })).toEqual(['0-8: ']);
    expect(clock.nowMs()).toBe(startMs + 20_000);
  });

  it('adds what comes while it waits', async () => {
    const { broker, clock } = await withGaps(() => false);
    const partitions = [{ topic: 't', partition: 0, offset: 3, bytesMax: 1_000_000 }];
    const waiting = broker.fetchPartitions({ partitions, bytesMin: 1, bytesMax: 1_000_000, waitMs: 20_000 });
    await appendTo(broker, 't', 0, ['8']);
    const [fetched] = await clock.run(waiting);
    expect(fetched?.ok && fetched.batches.map(shown)).toEqual(['3-8: ', '8-9: 8']);
  });
});

describe('an empty batch', () => {
  it('says that no producer and no time belong to it', () => {
    expect(emptyBatch(3, 5).header).toMatchObject({
      ...{ baseOffset: 3, bytes: 61, lastOffsetDelta: 1, recordCount: 0, partitionLeaderEpoch: 0 },
      ...{ compression: 'none', timestampType: 'create_time', transactional: false, control: false },
      ...{ maxTimestamp: -1, producerId: -1, producerEpoch: -1, baseSequence: -1 },
    });
  });

  it('takes up no more offsets than its field can count', () => {
    expect(emptyBatch(10, 2 ** 40)).toMatchObject({ baseOffset: 10, endOffset: 10 + 2 ** 31 });
    expect(emptyBatch(2 ** 40, 2 ** 40 + 2)).toMatchObject({ baseOffset: 2 ** 40, endOffset: 2 ** 40 + 2 });
  });
});
