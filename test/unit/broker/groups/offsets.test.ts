import { beforeEach, describe, expect, it } from 'vitest';
import { type CommitOutcome, commitOffsets } from '../../../../shared/broker/groups/offsets/commit-offsets.ts';
import { deleteOffsets } from '../../../../shared/broker/groups/offsets/delete-offsets.ts';
import { fetchOffsets } from '../../../../shared/broker/groups/offsets/fetch-offsets.ts';
import { resetOffsets } from '../../../../shared/broker/groups/offsets/reset-offsets.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import { groupKey, groupListingKey } from '../../../../shared/storage/keys.ts';
import type { Stores } from '../../../../shared/storage/ports.ts';
import {
  claim,
  contextOver,
  happeningBefore,
  join,
  leave,
  losingReply,
  slotNow,
  topicIdOf,
} from '../../../support/group-world.ts';
import { appendTo, codeOf, type MemoryStores, memoryBroker, memoryStores } from '../../../support/memory-broker.ts';
import type { SimulatedClock } from '../../../support/simulated-clock.ts';

const LOST = new EventLogError('storage_unavailable', 'The reply was lost.');
const isPageWrite = (request: string, key: string): boolean => request === 'updateItem' && key.startsWith('offsets#');
const codes = (outcomes: readonly CommitOutcome[]): string[] =>
  outcomes.map((each) => (each.ok ? 'ok' : each.error.code));

let stores: MemoryStores & { clock: SimulatedClock };
let topicId: string;

beforeEach(async () => {
  stores = memoryStores();
  const broker = memoryBroker(stores);
  await broker.putTopic({ name: 'orders', partitions: 40 });
  topicId = await topicIdOf(stores.items, 'orders');
});

const member = { memberId: 'a', memberEpoch: 1 };
const at = (partition: number, offset: number) => ({ topic: 'orders', partition, offset });
const offsetsOf = async (...partitions: number[]) => {
  const request = { group: 'g', partitions: partitions.map((partition) => ({ topic: 'orders', partition })) };
  return (await fetchOffsets(contextOver(stores), request)).items.map(({ offset }) => offset);
};

/** Stores that count the requests that reach them. */
function counting(of: Stores & { clock: SimulatedClock }) {
  const seen: string[] = [];
  return {
    seen,
    stores: happeningBefore(
      of,
      (request, key) => {
        if (key.startsWith('offsets#') || key.startsWith('member#') || key.startsWith('group')) seen.push(request);
        return false;
      },
      async () => {},
    ),
  };
}

describe('a commit of a member', () => {
  beforeEach(async () => {
    await join(stores, 'g', 'a');
    for (const partition of [0, 1, 20]) await claim(stores.items, 'g', { topicId, partition }, { memberId: 'a' });
  });

  it('is kept for what the member owns, and fenced for the rest', async () => {
    await claim(stores.items, 'g', { topicId, partition: 2 }, { memberId: 'b' });
    const outcomes = await commitOffsets(contextOver(stores), {
      group: 'g',
      member,
      offsets: [
        at(2, 5),
        { ...at(0, 7), metadata: 'x', leaderEpoch: 3 },
        at(20, 8),
        at(3, 9),
        at(99, 1),
        { ...at(0, 1), topic: 'none' },
      ],
    });
    expect(codes(outcomes)).toEqual([
      'fenced_member_epoch',
      'ok',
      'ok',
      'fenced_member_epoch',
      'unknown_partition',
      'unknown_topic',
    ]);
    const { items } = await fetchOffsets(contextOver(stores), {
      group: 'g',
      partitions: [
        { topic: 'orders', partition: 0 },
        { topic: 'orders', partition: 2 },
        { topic: 'none', partition: 0 },
      ],
    });
    expect(items[0]).toMatchObject({
      topic: 'orders',
      partition: 0,
      offset: 7,
      metadata: 'x',
      leaderEpoch: 3,
      committedAtMs: stores.clock.nowMs(),
    });
    expect(items[1]).toMatchObject({ offset: null });
    expect(items[2]?.error?.code).toBe('unknown_topic');
    expect((await slotNow(stores.items, 'g', topicId, 0)).owner).toMatchObject({ memberId: 'a' });
  });

  it('costs one write for each page, once the page is in memory', async () => {
    const { seen, stores: counted } = counting(stores);
    const context = contextOver(counted);
    await commitOffsets(context, { group: 'g', member, offsets: [at(0, 1), at(1, 1), at(20, 1)] });
    expect(seen.sort()).toEqual(['getItem', 'getItem', 'updateItem', 'updateItem']);
    seen.length = 0;
    await commitOffsets(context, { group: 'g', member, offsets: [at(0, 2), at(1, 2), at(20, 2)] });
    expect(seen).toEqual(['updateItem', 'updateItem']);
    expect(await offsetsOf(0, 1, 20)).toEqual([2, 2, 2]);
  });

  it('is refused once another member has claimed the partition, also from memory', async () => {
    const context = contextOver(stores);
    await commitOffsets(context, { group: 'g', member, offsets: [at(0, 1), at(1, 1)] });
    await claim(stores.items, 'g', { topicId, partition: 0 }, { memberId: 'b', fence: 2 });
    expect(codes(await commitOffsets(context, { group: 'g', member, offsets: [at(0, 2), at(1, 2)] }))).toEqual([
      'fenced_member_epoch',
      'ok',
    ]);
    expect(await offsetsOf(0, 1)).toEqual([1, 2]);
  });

  it('is accepted after its claim, although the page in memory is older', async () => {
    const context = contextOver(stores);
    await commitOffsets(context, { group: 'g', member, offsets: [at(0, 1)] });
    await claim(stores.items, 'g', { topicId, partition: 5 }, { memberId: 'a' });
    expect(codes(await commitOffsets(context, { group: 'g', member, offsets: [at(5, 4)] }))).toEqual(['ok']);
    // Other slots of the page changed too: one that goes on, one that is taken over.
    await claim(stores.items, 'g', { topicId, partition: 6 }, { memberId: 'a' });
    expect(
      codes(await commitOffsets(context, { group: 'g', member, offsets: [at(5, 5), at(6, 1), at(7, 1)] })),
    ).toEqual(['ok', 'ok', 'fenced_member_epoch']);
  });

  it('loses against a claim between its read and its write', async () => {
    const racing = happeningBefore(stores, isPageWrite, () =>
      claim(stores.items, 'g', { topicId, partition: 0 }, { memberId: 'b', fence: 2 }),
    );
    expect(
      codes(await commitOffsets(contextOver(racing), { group: 'g', member, offsets: [at(0, 9), at(1, 9)] })),
    ).toEqual(['fenced_member_epoch', 'ok']);
    expect(await offsetsOf(0, 1)).toEqual([null, 9]);
  });

  it('is fenced under an epoch of a former life, or under the id of a former user of an instance id', async () => {
    await claim(stores.items, 'g', { topicId, partition: 0 }, { memberId: 'a', memberEpoch: 4 });
    const commit = async (by: object) =>
      codes(
        await commitOffsets(contextOver(stores), { group: 'g', member: { ...member, ...by }, offsets: [at(0, 1)] }),
      );
    expect(await commit({ memberEpoch: 3 })).toEqual(['fenced_member_epoch']);
    expect(await commit({ memberEpoch: 4 })).toEqual(['ok']);
    expect(await commit({ memberEpoch: 9 })).toEqual(['ok']);
    expect(await commit({ memberEpoch: undefined })).toEqual(['ok']);
    await claim(stores.items, 'g', { topicId, partition: 0 }, { memberId: 'new', memberKey: 'i:box' });
    expect(await commit({ instanceId: 'box' })).toEqual(['fenced_member_epoch']);
    expect(await commit({ memberId: 'new', instanceId: 'box' })).toEqual(['ok']);
    expect(await commit({ memberId: 'new' })).toEqual(['fenced_member_epoch']);
  });

  it('succeeds although its reply was lost, and is not written twice', async () => {
    const losing = losingReply(stores, isPageWrite, LOST);
    expect(
      codes(await stores.clock.run(commitOffsets(contextOver(losing), { group: 'g', member, offsets: [at(0, 3)] }))),
    ).toEqual(['ok']);
    expect(await offsetsOf(0)).toEqual([3]);
    expect(codes(await commitOffsets(contextOver(stores), { group: 'g', member, offsets: [at(0, 3)] }))).toEqual([
      'ok',
    ]);
  });

  it('does not go back behind a commit that came while it was under way', async () => {
    const racing = happeningBefore(stores, isPageWrite, () =>
      commitOffsets(contextOver(stores), { group: 'g', member, offsets: [at(0, 20)] }),
    );
    expect(codes(await commitOffsets(contextOver(racing), { group: 'g', member, offsets: [at(0, 10)] }))).toEqual([
      'ok',
    ]);
    expect(await offsetsOf(0)).toEqual([20]);
    // The member may go back by itself.
    expect(codes(await commitOffsets(contextOver(stores), { group: 'g', member, offsets: [at(0, 10)] }))).toEqual([
      'ok',
    ]);
    expect(await offsetsOf(0)).toEqual([10]);
  });

  it('goes back through a process that remembers an older page', async () => {
    const old = contextOver(stores);
    await commitOffsets(old, { group: 'g', member, offsets: [at(0, 5)] });
    await commitOffsets(contextOver(stores), { group: 'g', member, offsets: [at(0, 50)] });
    expect(codes(await commitOffsets(old, { group: 'g', member, offsets: [at(0, 20)] }))).toEqual(['ok']);
    expect(await offsetsOf(0)).toEqual([20]);
  });

  it('is checked before anything is written', async () => {
    const commit = (offset: object) =>
      codeOf(
        commitOffsets(contextOver(stores), { group: 'g', member, offsets: [at(0, 1), { ...at(1, 1), ...offset }] }),
      );
    for (const wrong of [
      { offset: -1 },
      { offset: 2 ** 53 },
      { offset: 1.5 },
      { metadata: 'é'.repeat(2_049) },
      { partition: 0 },
      { partition: -1 },
      { topic: '..' },
      { leaderEpoch: -2 },
    ])
      expect(await commit(wrong)).toBe('invalid_request');
    expect(await offsetsOf(0, 1)).toEqual([null, null]);
    expect(codes((await commit({ metadata: 'é'.repeat(2_048), offset: 2 ** 53 - 1 })) as CommitOutcome[])).toEqual([
      'ok',
      'ok',
    ]);
    const many = Array.from({ length: 10_001 }, (_, partition) => at(partition, 0));
    expect(await codeOf(commitOffsets(contextOver(stores), { group: 'g', member, offsets: many }))).toBe(
      'invalid_request',
    );
  });
});

describe('a commit without a member', () => {
  const commit = (of: MemoryStores, ...offsets: ReturnType<typeof at>[]) =>
    commitOffsets(contextOver(of), { group: 'g', offsets });

  it('lists and makes the group before its first offset', async () => {
    const order: string[] = [];
    const watched = happeningBefore(
      stores,
      (request, key) => {
        if (request === 'putItem' || request === 'updateItem') order.push(key);
        return false;
      },
      async () => {},
    );
    expect(codes(await commit(watched, at(0, 5)))).toEqual(['ok']);
    expect(order[0]).toBe('group#g');
    expect(order[1]).toBe('groups');
    expect(order.at(-1)).toBe('offsets#g');
    expect(await offsetsOf(0)).toEqual([5]);
    expect((await stores.items.get(groupKey('g'))).attributes?.E).toBe(1);
    await commit(stores, at(0, 6));
    expect((await stores.items.get(groupKey('g'))).attributes?.E).toBe(1);
  });

  it('is refused while a member lives, and possible once its session has ended', async () => {
    await join(stores, 'g', 'a');
    expect(await codeOf(commit(stores, at(0, 5)))).toBe('group_not_empty');
    await stores.clock.advance(47_000);
    expect(await codeOf(commit(stores, at(0, 5)))).toBe('group_not_empty');
    await stores.clock.advance(1);
    expect(codes((await commit(stores, at(0, 5))) as CommitOutcome[])).toEqual(['ok']);
  });

  it('is not undone by a late commit of the member that has left', async () => {
    await join(stores, 'g', 'a');
    await claim(stores.items, 'g', { topicId, partition: 0 }, { memberId: 'a' });
    const late = contextOver(stores);
    await commitOffsets(late, { group: 'g', member, offsets: [at(0, 90)] });
    await leave(stores, 'g', 'a');
    await commit(stores, at(0, 5));
    expect(codes(await commitOffsets(late, { group: 'g', member, offsets: [at(0, 91)] }))).toEqual([
      'fenced_member_epoch',
    ]);
    expect(await offsetsOf(0)).toEqual([5]);
  });

  it('is refused by a member that joins and claims between its look at the members and its write', async () => {
    const racing = happeningBefore(stores, isPageWrite, async () => {
      await join(stores, 'g', 'b');
      await claim(stores.items, 'g', { topicId, partition: 0 }, { memberId: 'b' });
    });
    expect(codes(await commit(racing, at(0, 5), at(20, 6)))).toEqual(['group_not_empty', 'ok']);
    expect((await slotNow(stores.items, 'g', topicId, 0)).owner?.memberId).toBe('b');
  });
});

describe('deleting offsets', () => {
  it('forgets them, and refuses late copies of commits and claims of before', async () => {
    await commitOffsets(contextOver(stores), { group: 'g', offsets: [at(0, 5), at(1, 6)] });
    const before = await slotNow(stores.items, 'g', topicId, 0);
    const outcomes = await deleteOffsets(contextOver(stores), {
      group: 'g',
      partitions: [
        { topic: 'orders', partition: 0 },
        { topic: 'orders', partition: 9 },
        { topic: 'none', partition: 0 },
      ],
    });
    expect(codes(outcomes)).toEqual(['ok', 'ok', 'unknown_topic']);
    expect(await offsetsOf(0, 1)).toEqual([null, 6]);
    expect((await slotNow(stores.items, 'g', topicId, 0)).tag).not.toBe(before.tag);
    expect((await slotNow(stores.items, 'g', topicId, 0)).tag).not.toBe(0);
    expect(await codeOf(deleteOffsets(contextOver(stores), { group: 'h', partitions: [] }))).toBe('unknown_group');
    await join(stores, 'g', 'a');
    expect(
      await codeOf(deleteOffsets(contextOver(stores), { group: 'g', partitions: [{ topic: 'orders', partition: 1 }] })),
    ).toBe('group_not_empty');
  });
});

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

it('lists all offsets in pages', async () => {
  const broker = memoryBroker(stores);
  await broker.putTopic({ name: 'bills', partitions: 3 });
  await commitOffsets(contextOver(stores), {
    group: 'g',
    offsets: [at(0, 1), at(17, 2), at(39, 3), { ...at(2, 4), topic: 'bills' }],
  });
  const found: string[] = [];
  for (let pageToken: string | undefined, first = true; first || pageToken !== undefined; first = false) {
    const page = await fetchOffsets(contextOver(stores), { group: 'g', limit: 1, pageToken });
    found.push(...page.items.map(({ topic, partition, offset }) => `${topic} ${partition} ${offset}`));
    pageToken = page.nextPageToken;
  }
  expect(found.sort()).toEqual(['bills 2 4', 'orders 0 1', 'orders 17 2', 'orders 39 3']);
  expect((await fetchOffsets(contextOver(stores), { group: 'other' })).items).toEqual([]);
});

it('keeps the listing of a group', async () => {
  await commitOffsets(contextOver(stores), { group: 'g/ü', offsets: [at(0, 1)] });
  expect((await stores.items.get(groupListingKey('g/ü'))).attributes).toBeDefined();
});
