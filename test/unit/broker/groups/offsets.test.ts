import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join as path } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { readMember, replaceMember } from '../../../../shared/broker/groups/items.ts';
import { type CommitOutcome, commitOffsets } from '../../../../shared/broker/groups/offsets/commit-offsets.ts';
import { deleteOffsets } from '../../../../shared/broker/groups/offsets/delete-offsets.ts';
import { fetchOffsets } from '../../../../shared/broker/groups/offsets/fetch-offsets.ts';
import { groupLag } from '../../../../shared/broker/groups/offsets/lag.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import type { Member } from '../../../../shared/log/group/member.ts';
import { openDataFolder } from '../../../../shared/storage/file/data-folder.ts';
import { groupKey, groupListingKey, memberItemKey } from '../../../../shared/storage/group-keys.ts';
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
import { codeOf, type MemoryStores, memoryBroker, memoryStores } from '../../../support/memory-broker.ts';
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
const at = (partition: number, offset: number | null) => ({ topic: 'orders', partition, offset });
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
    expect(await commit({ memberEpoch: undefined })).toEqual(['ok']);
    await claim(stores.items, 'g', { topicId, partition: 0 }, { memberId: 'new', memberKey: 'i:box' });
    expect(await commit({ instanceId: 'box' })).toEqual(['fenced_member_epoch']);
    expect(await commit({ memberId: 'new', instanceId: 'box' })).toEqual(['ok']);
    expect(await commit({ memberId: 'new' })).toEqual(['fenced_member_epoch']);
  });

  it('is accepted under an epoch that the member has come to since its claim, and fenced under a later one', async () => {
    const seen = (await readMember(stores.items, 'g', 'm:a')) as Member;
    await replaceMember(stores.items, 'g', seen, { ...seen, epoch: 4 });
    const counted = counting(stores);
    const context = contextOver(counted.stores);
    const commit = async (memberEpoch: number) =>
      commitOffsets(context, { group: 'g', member: { ...member, memberEpoch }, offsets: [at(0, memberEpoch)] });
    for (const memberEpoch of [5, 2_147_483_647]) {
      const [outcome] = await commit(memberEpoch);
      expect(outcome).toMatchObject({ ok: false, error: { code: 'fenced_member_epoch', details: { memberEpoch } } });
      expect(outcome?.ok === false && outcome.error.message).toContain(`epoch ${memberEpoch}.`);
    }
    expect(await offsetsOf(0)).toEqual([null]);
    // What the process has found out costs nothing again.
    counted.seen.length = 0;
    for (const memberEpoch of [1, 3, 4]) expect(codes(await commit(memberEpoch))).toEqual(['ok']);
    expect(counted.seen).toEqual(['updateItem', 'updateItem', 'updateItem']);
    expect(codes(await commitOffsets(contextOver(stores), { group: 'g', member, offsets: [at(0, 9)] }))).toEqual([
      'ok',
    ]);
    await stores.items.delete(memberItemKey('g', 'm:a'), []);
    const gone = { ...member, memberEpoch: 2 };
    expect(codes(await commitOffsets(contextOver(stores), { group: 'g', member: gone, offsets: [at(0, 9)] }))).toEqual([
      'fenced_member_epoch',
    ]);
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

  it('of no offset leaves nothing committed, and the slot to its owner', async () => {
    await claim(stores.items, 'g', { topicId, partition: 0 }, { memberId: 'a', fence: 4 });
    await commitOffsets(contextOver(stores), { group: 'g', member, offsets: [at(0, 7), at(1, 7)] });
    expect(codes(await commitOffsets(contextOver(stores), { group: 'g', member, offsets: [at(0, null)] }))).toEqual([
      'ok',
    ]);
    expect(await offsetsOf(0, 1)).toEqual([null, 7]);
    expect(await slotNow(stores.items, 'g', topicId, 0)).toMatchObject({
      ...{ owner: { memberId: 'a' }, fence: 4, committed: undefined },
    });
    expect((await fetchOffsets(contextOver(stores), { group: 'g' })).items).toMatchObject([{ partition: 1 }]);
    const lag = await groupLag(contextOver(stores), { group: 'g' });
    expect(lag.partitions[0]).toMatchObject({ committedOffset: null, lagRecords: null, memberId: 'a' });
    await claim(stores.items, 'g', { topicId, partition: 0 }, { memberId: 'b', fence: 5 });
    expect(codes(await commitOffsets(contextOver(stores), { group: 'g', member, offsets: [at(0, null)] }))).toEqual([
      'fenced_member_epoch',
    ]);
  });

  it('of no offset does not undo one that came while it was under way', async () => {
    const racing = happeningBefore(stores, isPageWrite, () =>
      commitOffsets(contextOver(stores), { group: 'g', member, offsets: [at(0, 20)] }),
    );
    await commitOffsets(contextOver(racing), { group: 'g', member, offsets: [at(0, null)] });
    expect(await offsetsOf(0)).toEqual([20]);
    // A copy of a poll must not take the offset back either.
    await commitOffsets(contextOver(stores), { group: 'g', member, onlyForward: true, offsets: [at(0, null)] });
    expect(await offsetsOf(0)).toEqual([20]);
  });

  it('of offset 0 is written, also while a commit of none is under way', async () => {
    await commitOffsets(contextOver(stores), { group: 'g', member, offsets: [at(0, 20)] });
    const racing = happeningBefore(stores, isPageWrite, () =>
      commitOffsets(contextOver(stores), { group: 'g', member, offsets: [at(0, null)] }),
    );
    await commitOffsets(contextOver(racing), { group: 'g', member, offsets: [at(0, 0)] });
    expect(await offsetsOf(0)).toEqual([0]);
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

it('knows partitions that were added since the topic was remembered', async () => {
  const { seen, stores: counted } = counting(stores);
  const context = contextOver(counted, { topicCacheMs: 60_000 });
  await join(stores, 'g', 'a');
  await context.topics.get('orders');
  await memoryBroker(stores).putTopic({ name: 'orders', partitions: 50 });
  for (const partition of [44, 45]) await claim(stores.items, 'g', { topicId, partition }, { memberId: 'a' });
  const outcomes = await commitOffsets(context, { group: 'g', member, offsets: [at(44, 1), at(45, 1), at(50, 1)] });
  expect(codes(outcomes)).toEqual(['ok', 'ok', 'unknown_partition']);
  expect(seen).toEqual(['getItem', 'updateItem']);
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

  it('is refused by a member that joins and claims before its look at the page', async () => {
    const isPageRead = (request: string, key: string): boolean => request === 'getItem' && key === 'offsets#g';
    const racing = happeningBefore(stores, isPageRead, async () => {
      await join(stores, 'g', 'b');
      await claim(stores.items, 'g', { topicId, partition: 0 }, { memberId: 'b' });
    });
    expect(await codeOf(commit(racing, at(0, 5)))).toBe('group_not_empty');
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

it('lists nothing that was committed for a deleted topic, also once another has its name', async () => {
  const context = contextOver(stores);
  const broker = memoryBroker(stores);
  const all = async () => (await fetchOffsets(context, { group: 'g' })).items.map(({ offset }) => offset);
  await commitOffsets(context, { group: 'g', offsets: [at(0, 7)] });
  expect(await all()).toEqual([7]);
  await broker.deleteTopic('orders');
  await stores.clock.advance(context.settings.topicCacheMs);
  expect(await all()).toEqual([]);
  await broker.putTopic({ name: 'orders', partitions: 40 });
  await stores.clock.advance(context.settings.topicCacheMs);
  expect(await all()).toEqual([]);
  await commitOffsets(context, { group: 'g', offsets: [at(1, 3)] });
  expect(await all()).toEqual([3]);
});

it('keeps the listing of a group', async () => {
  await commitOffsets(contextOver(stores), { group: 'g/ü', offsets: [at(0, 1)] });
  expect((await stores.items.get(groupListingKey('g/ü'))).attributes).toBeDefined();
});

it('works over files, through a restart', async () => {
  const folder = await mkdtemp(path(tmpdir(), 'tailrace-groups-'));
  try {
    const first = await openDataFolder(folder);
    const files = { ...first, clock: stores.clock };
    await memoryBroker(files).putTopic({ name: 'orders', partitions: 40 });
    const id = await topicIdOf(files.items, 'orders');
    await join(files, 'g', 'a');
    await claim(files.items, 'g', { topicId: id, partition: 3 }, { memberId: 'a' });
    const context = contextOver(files);
    const metadata = 'ü'.repeat(2_048);
    expect(codes(await commitOffsets(context, { group: 'g', member, offsets: [{ ...at(3, 7), metadata }] }))).toEqual([
      'ok',
    ]);
    expect(codes(await commitOffsets(context, { group: 'g', member, offsets: [at(3, 8), at(4, 1)] }))).toEqual([
      'ok',
      'fenced_member_epoch',
    ]);
    await leave(files, 'g', 'a');
    expect(codes(await commitOffsets(context, { group: 'g', offsets: [at(4, 1)] }))).toEqual(['ok']);
    await first.close();
    const second = await openDataFolder(folder);
    const again = { ...second, clock: stores.clock };
    const broker = memoryBroker(again);
    const { items } = await broker.fetchOffsets({ group: 'g' });
    expect(items.map(({ partition, offset }) => [partition, offset])).toEqual([
      [3, 8],
      [4, 1],
    ]);
    const [reset] = await broker.resetOffsets({
      group: 'g',
      topics: [{ topic: 'orders', partitions: [3] }],
      reset: { to: 'latest' },
    });
    expect(reset).toMatchObject({ oldOffset: 8, newOffset: 0 });
    expect(await broker.groupLag({ group: 'g' })).toMatchObject({ totalLagRecords: 0, partitionsWithoutOffset: 0 });
    expect(codes(await broker.deleteOffsets({ group: 'g', partitions: [{ topic: 'orders', partition: 3 }] }))).toEqual([
      'ok',
    ]);
    expect(await broker.describeGroup('g')).toMatchObject({ state: 'empty' });
    expect((await broker.listGroups()).items).toEqual([{ group: 'g' }]);
    expect(await broker.sweepGroups()).toMatchObject({ complete: true, blocked: 0 });
    await broker.deleteGroup('g');
    expect((await broker.listGroups()).items).toEqual([]);
    expect(await codeOf(broker.commitOffsets({ group: '', offsets: [] }))).toBe('invalid_request');
    await second.close();
  } finally {
    await rm(folder, { recursive: true });
  }
});
