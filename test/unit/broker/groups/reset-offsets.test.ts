import { beforeEach, describe, expect, it } from 'vitest';
import { commitOffsets } from '../../../../shared/broker/groups/offsets/commit-offsets.ts';
import { fetchOffsets } from '../../../../shared/broker/groups/offsets/fetch-offsets.ts';
import { resetOffsets } from '../../../../shared/broker/groups/offsets/reset-offsets.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import {
  claim,
  contextOver,
  happeningBefore,
  join,
  leave,
  losingReply,
  topicIdOf,
} from '../../../support/group-world.ts';
import { appendTo, codeOf, type MemoryStores, memoryBroker, memoryStores } from '../../../support/memory-broker.ts';
import type { SimulatedClock } from '../../../support/simulated-clock.ts';

const LOST = new EventLogError('storage_unavailable', 'The reply was lost.');
const isPageWrite = (request: string, key: string): boolean => request === 'updateItem' && key.startsWith('offsets#');

let stores: MemoryStores & { clock: SimulatedClock };
let topicId: string;

beforeEach(async () => {
  stores = memoryStores();
  await memoryBroker(stores).putTopic({ name: 'orders', partitions: 40 });
  topicId = await topicIdOf(stores.items, 'orders');
});

const at = (partition: number, offset: number) => ({ topic: 'orders', partition, offset });
const offsetsOf = async (...partitions: number[]) => {
  const request = { group: 'g', partitions: partitions.map((partition) => ({ topic: 'orders', partition })) };
  return (await fetchOffsets(contextOver(stores), request)).items.map(({ offset }) => offset);
};

describe('a reset', () => {
  beforeEach(async () => {
    const broker = memoryBroker(stores);
    for (let i = 0; i < 10; i++) {
      await appendTo(broker, 'orders', 0, [`${i}`]);
      await stores.clock.advance(1_000);
    }
    await broker.deleteRecords({ topic: 'orders', partition: 0, before: 3 });
    await commitOffsets(contextOver(stores), { group: 'g', offsets: [at(0, 5)] });
  });
  const reset = async (to: Parameters<typeof resetOffsets>[1]['reset'], more: object = {}, of: MemoryStores = stores) =>
    resetOffsets(contextOver(of), {
      group: 'g',
      topics: [{ topic: 'orders', partitions: [0, 1] }],
      reset: to,
      ...more,
    });
  const news = async (to: Parameters<typeof resetOffsets>[1]['reset'], more: object = {}) =>
    (await reset(to, more)).map(({ oldOffset, newOffset, clampedTo }) => [oldOffset, newOffset, clampedTo]);

  it('sets offsets to either end, a time, an offset, or some records on, and says where it was clamped', async () => {
    expect(await news({ to: 'earliest' })).toEqual([
      [5, 3, undefined],
      [null, 0, undefined],
    ]);
    expect(await news({ to: 'latest' })).toEqual([
      [3, 10, undefined],
      [0, 0, undefined],
    ]);
    expect(await news({ offset: 7 })).toEqual([
      [10, 7, undefined],
      [0, 0, 'high_watermark'],
    ]);
    expect(await news({ offset: 1 })).toEqual([
      [7, 3, 'log_start_offset'],
      [0, 0, 'high_watermark'],
    ]);
    expect(await news({ shiftBy: 4 })).toEqual([
      [3, 7, undefined],
      [0, 0, 'high_watermark'],
    ]);
    expect(await news({ shiftBy: -5 })).toEqual([
      [7, 3, 'log_start_offset'],
      [0, 0, 'log_start_offset'],
    ]);
    expect(await news({ timestampMs: 1_700_000_000_000 + 8_000 })).toEqual([
      [3, 8, undefined],
      [0, 0, undefined],
    ]);
    expect(await news({ timestampMs: 2_000_000_000_000 })).toEqual([
      [8, 10, undefined],
      [0, 0, undefined],
    ]);
    expect(await offsetsOf(0, 1)).toEqual([10, 0]);
  });

  it('changes nothing in a dry run, nor where there is nothing to shift', async () => {
    expect(await news({ to: 'earliest' }, { dryRun: true })).toEqual([
      [5, 3, undefined],
      [null, 0, undefined],
    ]);
    expect(await news({ shiftBy: 1 })).toEqual([
      [5, 6, undefined],
      [null, null, undefined],
    ]);
    expect(await offsetsOf(0, 1)).toEqual([6, null]);
  });

  it('takes all partitions of a topic', async () => {
    expect(await reset({ to: 'latest' }, { topics: [{ topic: 'orders' }] })).toHaveLength(40);
  });

  it('needs a group without live members', async () => {
    await join(stores, 'g', 'a');
    expect(await codeOf(reset({ to: 'latest' }))).toBe('group_not_empty');
    expect(await codeOf(reset({ to: 'latest' }, { dryRun: true }))).toBe('group_not_empty');
    expect(await codeOf(reset({ to: 'latest' }, { group: 'h' }))).toBe('unknown_group');
    expect(await offsetsOf(0)).toEqual([5]);
  });

  it('is refused by a claim in between', async () => {
    const racing = happeningBefore(stores, isPageWrite, async () => {
      await join(stores, 'g', 'a');
      await claim(stores.items, 'g', { topicId, partition: 0 }, { memberId: 'a' });
    });
    expect(await codeOf(reset({ to: 'latest' }, {}, racing))).toBe('group_not_empty');
    expect(await offsetsOf(0)).toEqual([5]);
  });

  it('is refused by a member that joins and claims between its read of the pages and its look at the members', async () => {
    const racing = happeningBefore(
      stores,
      (request, key) => request === 'query' && key === 'member#g',
      async () => {
        await join(stores, 'g', 'a');
        await claim(stores.items, 'g', { topicId, partition: 0 }, { memberId: 'a' });
        await leave(stores, 'g', 'a');
        await commitOffsets(contextOver(stores), { group: 'g', offsets: [at(0, 8)] });
      },
    );
    // Nobody is a member any more: the shift goes on from the offset of now.
    expect((await reset({ shiftBy: 1 }, {}, racing))[0]).toMatchObject({ oldOffset: 8, newOffset: 9 });
  });

  it('shifts once, although the reply was lost', async () => {
    const losing = losingReply(stores, isPageWrite, LOST);
    expect((await stores.clock.run(reset({ shiftBy: 2 }, {}, losing)))[0]).toMatchObject({
      oldOffset: 5,
      newOffset: 7,
    });
    expect(await offsetsOf(0)).toEqual([7]);
  });

  it('rejects what it cannot do', async () => {
    for (const wrong of [{ to: 'middle' as 'latest' }, { offset: -1 }, { timestampMs: 0.5 }, { shiftBy: Number.NaN }])
      expect(await codeOf(reset(wrong))).toBe('invalid_request');
    expect(await codeOf(reset({ to: 'latest' }, { topics: [{ topic: 'orders', partitions: [40] }] }))).toBe(
      'unknown_partition',
    );
    expect(await codeOf(reset({ to: 'latest' }, { topics: [{ topic: 'orders', partitions: [1, 1] }] }))).toBe(
      'invalid_request',
    );
    expect(await codeOf(reset({ to: 'latest' }, { topics: [{ topic: 'none' }] }))).toBe('unknown_topic');
  });
});
