import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { deleteGroup } from '../../../../shared/broker/groups/delete-group.ts';
import { listGroups } from '../../../../shared/broker/groups/list-groups.ts';
import { commitOffsets } from '../../../../shared/broker/groups/offsets/commit-offsets.ts';
import { fetchOffsets } from '../../../../shared/broker/groups/offsets/fetch-offsets.ts';
import { sweepGroups } from '../../../../shared/broker/groups/sweep-groups.ts';
import { aroundStores } from '../../../../shared/storage/around-stores.ts';
import {
  groupKey,
  groupListingKey,
  memberPartitionKey,
  offsetsPartitionKey,
  targetItemKey,
  targetName,
  targetPartitionKey,
} from '../../../../shared/storage/group-keys.ts';
import type { Attributes } from '../../../../shared/storage/ports.ts';
import { dyingStores } from '../../../support/dying-stores.ts';
import { claim, contextOver, join, leave, slotNow, topicIdOf } from '../../../support/group-world.ts';
import { codeOf, type MemoryStores, memoryBroker, memoryStores } from '../../../support/memory-broker.ts';
import type { SimulatedClock } from '../../../support/simulated-clock.ts';

const DAY = 86_400_000;
const HOUR = 3_600_000;

interface World {
  readonly stores: MemoryStores & { clock: SimulatedClock };
  readonly topicId: string;
}

async function newWorld(): Promise<World> {
  const stores = memoryStores();
  await memoryBroker(stores).putTopic({ name: 'orders', partitions: 40 });
  return { stores, topicId: await topicIdOf(stores.items, 'orders') };
}

const at = (partition: number, offset: number, topic = 'orders') => ({ topic, partition, offset });

function commit(stores: MemoryStores, group: string, ...offsets: ReturnType<typeof at>[]) {
  return commitOffsets(contextOver(stores), { group, offsets });
}

async function committed(stores: MemoryStores, group: string): Promise<string[]> {
  const { items } = await fetchOffsets(contextOver(stores), { group, limit: 1_000 });
  return items.map(({ topic, partition, offset }) => `${topic} ${partition} ${offset}`).sort();
}

const groupItem = async (stores: MemoryStores, group: string): Promise<Attributes | undefined> =>
  (await stores.items.get(groupKey(group))).attributes;
const isListed = async (stores: MemoryStores, group: string): Promise<boolean> =>
  (await stores.items.get(groupListingKey(group))).attributes !== undefined;
const countUnder = async (stores: MemoryStores, pk: string): Promise<number> =>
  (await stores.items.query({ pk, limit: 1_000 })).items.length;

/** Everything that is left of a group but its marked item and members that are gone. */
async function leftOf(stores: MemoryStores, group: string): Promise<number> {
  const listed = (await isListed(stores, group)) ? 1 : 0;
  const pages = await countUnder(stores, offsetsPartitionKey(group));
  return listed + pages + (await countUnder(stores, targetPartitionKey(group)));
}

async function putTarget(stores: MemoryStores, group: string, timeMs: number): Promise<string> {
  const name = targetName(1, timeMs, new Uint8Array([1, 2, 3, timeMs % 256]));
  await stores.items.put(targetItemKey(group, name, 0), { t: new Uint8Array(1) });
  return name;
}

/** The stores of a process whose every request waits until the scheduler lets it go on. */
function scheduled(stores: MemoryStores, scheduler: fc.Scheduler): MemoryStores {
  const around = aroundStores(stores, (_request, send) => async (...args) => {
    await scheduler.schedule(Promise.resolve());
    const answer = await send(...args);
    await scheduler.schedule(Promise.resolve());
    return answer;
  });
  return { ...stores, ...around };
}

async function claimAtLast({ items }: MemoryStores, topicId: string): Promise<void> {
  for (;;) {
    try {
      return await claim(items, 'g', { topicId, partition: 0 }, { memberId: 'b' });
    } catch {
      // Another request changed the slot.
    }
  }
}

interface Interleaved<Result> {
  readonly made: () => Promise<World>;
  readonly work: (stores: MemoryStores) => Promise<unknown>;
  readonly other: (stores: MemoryStores, topicId: string) => Promise<Result>;
  readonly begins: readonly [from: number, to: number];
  readonly stops: readonly [from: number, to: number];
}

/** The other begins before one request of the work, stops before one of its own, and goes on before a later one of the work. */
async function* interleavings<Result>({ made, work, other, begins, stops }: Interleaved<Result>) {
  for (let stop = stops[0]; stop < stops[1]; stop++) {
    for (let begin = begins[0]; begin < begins[1]; begin++) {
      for (let end = begin + 1; end <= begins[1]; end++) {
        const { stores, topicId } = await made();
        const stopped = Promise.withResolvers<void>();
        const goOn = Promise.withResolvers<void>();
        let own = 0;
        const stopping = aroundStores(stores, (_request, send) => async (...args) => {
          if (own++ === stop) {
            stopped.resolve();
            await goOn.promise;
          }
          return send(...args);
        });
        let running: Promise<Result> | undefined;
        let sent = 0;
        const interrupted = aroundStores(stores, (_request, send) => async (...args) => {
          sent++;
          if (sent === begin) {
            running = other({ ...stores, ...stopping }, topicId);
            await Promise.race([running, stopped.promise]);
          }
          if (sent === end) {
            goOn.resolve();
            await running;
          }
          return send(...args);
        });
        await work({ ...stores, ...interrupted });
        goOn.resolve();
        const result = await (running ?? other(stores, topicId));
        yield { stores, topicId, result, how: `stop ${stop}, begin ${begin}, end ${end}` };
      }
    }
  }
}

let world: World;
let stores: World['stores'];
beforeEach(async () => {
  world = await newWorld();
  stores = world.stores;
});

describe('deleting a group', () => {
  it('needs a group without live members, and leaves only its epoch for an hour', async () => {
    await commit(stores, 'g', at(0, 1), at(20, 2));
    await commit(stores, 'other', at(0, 1));
    await putTarget(stores, 'g', 0);
    await join(stores, 'g', 'a');
    expect(await codeOf(deleteGroup(contextOver(stores), 'g'))).toBe('group_not_empty');
    expect(await committed(stores, 'g')).toEqual(['orders 0 1', 'orders 20 2']);
    await leave(stores, 'g', 'a');
    const epoch = Number((await groupItem(stores, 'g'))?.E);
    await deleteGroup(contextOver(stores), 'g');
    expect(await leftOf(stores, 'g')).toBe(0);
    expect(await groupItem(stores, 'g')).toMatchObject({
      E: epoch + 1,
      d: 1,
      e: (stores.clock.nowMs() + HOUR) / 1_000,
    });
    expect(await codeOf(deleteGroup(contextOver(stores), 'g'))).toBe('unknown_group');
    expect(await codeOf(deleteGroup(contextOver(stores), 'never'))).toBe('unknown_group');
    expect(await committed(stores, 'other')).toEqual(['orders 0 1']);
  });

  it('lets the group be made again, under an epoch that goes on', async () => {
    await commit(stores, 'g', at(0, 1));
    await deleteGroup(contextOver(stores), 'g');
    await commit(stores, 'g', at(1, 7));
    expect(await committed(stores, 'g')).toEqual(['orders 1 7']);
    expect(await isListed(stores, 'g')).toBe(true);
    const item = await groupItem(stores, 'g');
    expect(item).toMatchObject({ E: 3 });
    expect(item?.d).toBeUndefined();
    expect(item?.e).toBeUndefined();
  });

  it.each(['is_sent', 'is_not_sent'] as const)(
    'is finished by the sweep, wherever it died (the last request %s)',
    async (last) => {
      for (let requests = 0; ; requests++) {
        const { stores } = await newWorld();
        await commit(stores, 'g', at(0, 1), at(20, 2));
        await putTarget(stores, 'g', 0);
        const dying = dyingStores(stores, requests, last);
        const done = await Promise.race([deleteGroup(contextOver(dying.stores), 'g').then(() => 'done'), dying.died]);
        if (done === 'done') return expect(requests).toBeGreaterThan(8);
        if ((await groupItem(stores, 'g'))?.d === undefined) {
          expect(await committed(stores, 'g')).toEqual(['orders 0 1', 'orders 20 2']);
          expect(await isListed(stores, 'g')).toBe(true);
        } else {
          expect((await leftOf(stores, 'g')) === 0 || (await isListed(stores, 'g'))).toBe(true);
          await sweepGroups(contextOver(stores));
          expect(await leftOf(stores, 'g')).toBe(0);
        }
      }
    },
  );

  it('spares a member that joins and claims meanwhile', async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), async (scheduler) => {
        const { stores, topicId } = await newWorld();
        await commit(stores, 'g', at(0, 1), at(20, 2));
        const joining = scheduled(stores, scheduler);
        const work = [
          codeOf(deleteGroup(contextOver(scheduled(stores, scheduler)), 'g')),
          (async () => {
            await join(joining, 'g', 'b');
            await claimAtLast(joining, topicId);
          })(),
        ];
        await scheduler.waitFor(Promise.all(work));
        await sweepGroups(contextOver(stores));
        expect(await isListed(stores, 'g')).toBe(true);
        expect((await groupItem(stores, 'g'))?.d).toBeUndefined();
        expect((await groupItem(stores, 'g'))?.e).toBeUndefined();
        expect((await slotNow(stores.items, 'g', topicId, 0)).owner?.memberId).toBe('b');
      }),
      { numRuns: 150 },
    );
  });

  it('spares a member that joins, claims, stops and goes on anywhere in it', async () => {
    const made = async (): Promise<World> => {
      const made = await newWorld();
      await commit(made.stores, 'g', at(0, 1), at(20, 2));
      return made;
    };
    const work = (stores: MemoryStores) => codeOf(deleteGroup(contextOver(stores), 'g'));
    const other = async (stores: MemoryStores, topicId: string) => {
      await join(stores, 'g', 'b');
      await claimAtLast(stores, topicId);
    };
    for await (const { stores, topicId, how } of interleavings({ made, work, other, begins: [1, 12], stops: [0, 8] })) {
      const item = await groupItem(stores, 'g');
      expect([how, item?.d, item?.e, await isListed(stores, 'g')]).toEqual([how, undefined, undefined, true]);
      expect([how, (await slotNow(stores.items, 'g', topicId, 0)).owner?.memberId]).toEqual([how, 'b']);
    }
  });

  it('that was interrupted and goes on leaves no group unlisted that a commit makes again meanwhile', async () => {
    const made = async (): Promise<World> => {
      const made = await newWorld();
      await commit(made.stores, 'g', at(0, 1));
      const dying = dyingStores(made.stores, 4);
      await Promise.race([deleteGroup(contextOver(dying.stores), 'g'), dying.died]);
      expect((await groupItem(made.stores, 'g'))?.d).toBe(1);
      return made;
    };
    const work = (stores: MemoryStores) => sweepGroups(contextOver(stores));
    const other = (stores: MemoryStores) => commit(stores, 'g', at(0, 8));
    for await (const { stores, how, result } of interleavings({ made, work, other, begins: [2, 12], stops: [6, 10] })) {
      expect([how, result]).toEqual([how, [{ ok: true }]]);
      const isDeleted = (await groupItem(stores, 'g'))?.d !== undefined;
      // If it is deleted, it may still be listed: then the next run finishes it.
      if (!isDeleted) expect([how, await isListed(stores, 'g')]).toEqual([how, true]);
      else {
        await sweepGroups(contextOver(stores));
        expect([how, await leftOf(stores, 'g')]).toEqual([how, 0]);
      }
    }
  });
});

describe('the sweep of groups', () => {
  it('expires offsets seven days after the last member and the last commit, then the group', async () => {
    await join(stores, 'g', 'a');
    await claim(stores.items, 'g', { topicId: world.topicId, partition: 0 }, { memberId: 'a' });
    const member = { memberId: 'a' };
    await commitOffsets(contextOver(stores), { group: 'g', member, offsets: [at(0, 1)] });
    await stores.clock.advance(1_000);
    expect(await sweepGroups(contextOver(stores))).toMatchObject({ offsetsExpired: 0, complete: true, blocked: 0 });
    await leave(stores, 'g', 'a');
    await stores.clock.advance(10 * DAY);
    // Here the sweep first finds that there is no member.
    await sweepGroups(contextOver(stores));
    await stores.clock.advance(7 * DAY);
    await sweepGroups(contextOver(stores));
    expect(await committed(stores, 'g')).toEqual(['orders 0 1']);
    await commit(stores, 'g', at(1, 5));
    await stores.clock.advance(1);
    expect(await sweepGroups(contextOver(stores))).toMatchObject({ offsetsExpired: 1, pagesDeleted: 0 });
    expect(await committed(stores, 'g')).toEqual(['orders 1 5']);
    await stores.clock.advance(7 * DAY);
    expect(await sweepGroups(contextOver(stores))).toMatchObject({
      offsetsExpired: 1,
      pagesDeleted: 1,
      groupsDeleted: 1,
    });
    expect(await leftOf(stores, 'g')).toBe(0);
    expect((await listGroups(contextOver(stores))).items).toEqual([]);
  });

  it('counts anew from the next time without members', async () => {
    await commit(stores, 'g', at(0, 1));
    await sweepGroups(contextOver(stores));
    await stores.clock.advance(6.9 * DAY);
    await join(stores, 'g', 'a');
    await leave(stores, 'g', 'a');
    await stores.clock.advance(2 * DAY);
    await sweepGroups(contextOver(stores));
    await stores.clock.advance(6.9 * DAY);
    await sweepGroups(contextOver(stores));
    expect(await committed(stores, 'g')).toEqual(['orders 0 1']);
  });

  it('keeps what a group with a live member has committed, and ends members whose session is over', async () => {
    await commit(stores, 'g', at(0, 1));
    await sweepGroups(contextOver(stores));
    await stores.clock.advance(8 * DAY);
    await stores.items.update(groupKey('g'), [{ do: 'set', name: 'z', value: stores.clock.nowMs() - 8 * DAY }]);
    await join(stores, 'g', 'a');
    await stores.items.update(groupKey('g'), [{ do: 'set', name: 'z', value: stores.clock.nowMs() - 8 * DAY }]);
    await sweepGroups(contextOver(stores));
    expect(await committed(stores, 'g')).toEqual(['orders 0 1']);
    expect((await groupItem(stores, 'g'))?.z).toBeUndefined();
    await stores.clock.advance(HOUR);
    await sweepGroups(contextOver(stores));
    expect((await stores.items.query({ pk: memberPartitionKey('g'), limit: 9 })).items[0]?.attributes.y).toBe(1);
  });

  it('deletes offsets of deleted topics, at once and only those', async () => {
    const broker = memoryBroker(stores);
    await broker.putTopic({ name: 'bills', partitions: 3 });
    await commit(stores, 'g', at(0, 1), at(0, 9, 'bills'));
    const billsId = await topicIdOf(stores.items, 'bills');
    await broker.deleteTopic('bills');
    // Made after the process that sweeps has listed the topics.
    const context = contextOver(stores);
    await sweepGroups(context);
    await memoryBroker(stores).putTopic({ name: 'new', partitions: 3 });
    await commit(stores, 'g', at(2, 4, 'new'));
    await sweepGroups(context);
    expect(await committed(stores, 'g')).toEqual(['new 2 4', 'orders 0 1']);
    expect((await slotNow(stores.items, 'g', billsId, 0)).tag).toBe(0);
  });

  it('deletes targets that are not in force, after an hour', async () => {
    await commit(stores, 'g', at(0, 1));
    const nowMs = stores.clock.nowMs();
    const inForce = await putTarget(stores, 'g', nowMs);
    await putTarget(stores, 'g', nowMs + 1);
    await putTarget(stores, 'g', nowMs + 2);
    await stores.items.update(groupKey('g'), [{ do: 'set', name: 'a', value: inForce }]);
    await stores.clock.advance(HOUR + 2);
    expect(await sweepGroups(contextOver(stores))).toMatchObject({ targetsDeleted: 1 });
    expect(await countUnder(stores, targetPartitionKey('g'))).toBe(2);
  });

  it('costs four requests for a quiet group', async () => {
    await commit(stores, 'g', at(0, 1));
    await join(stores, 'g', 'a', { sessionTimeoutMs: DAY });
    const seen: string[] = [];
    const around = aroundStores(stores, (request, send) => (...args) => {
      seen.push(request);
      return send(...args);
    });
    await sweepGroups(contextOver({ ...stores, ...around }));
    // The position of the job, the listing of groups, and the topics' names and one of them, once a run.
    expect(seen.sort()).toEqual(['getItem', 'getItem', 'getItem', 'query', 'query', 'query', 'query', 'query']);
  });

  it('goes on where it was stopped', async () => {
    for (const group of ['a', 'b', 'c']) await commit(stores, group, at(0, 1));
    const stop = new AbortController();
    const around = aroundStores(stores, (request, send) => (...args) => {
      if (request === 'updateItem') stop.abort();
      return send(...args);
    });
    const stopped = await sweepGroups(contextOver({ ...stores, ...around }), { signal: stop.signal });
    expect(stopped.complete).toBe(false);
    expect((await groupItem(stores, 'a'))?.z).toBeDefined();
    expect((await groupItem(stores, 'b'))?.z).toBeUndefined();
    expect(await sweepGroups(contextOver(stores))).toMatchObject({ complete: true });
    expect((await groupItem(stores, 'c'))?.z).toBeDefined();
  });

  it.each(['is_sent', 'is_not_sent'] as const)(
    'is finished by the next, wherever it died (the last request %s)',
    async (last) => {
      for (let requests = 0; ; requests++) {
        const { stores } = await newWorld();
        const broker = memoryBroker(stores);
        await broker.putTopic({ name: 'bills', partitions: 3 });
        await commit(stores, 'unused', at(0, 1), at(20, 1));
        await commit(stores, 'used', at(0, 1), at(1, 1, 'bills'));
        await putTarget(stores, 'unused', 0);
        await broker.deleteTopic('bills');
        await sweepGroups(contextOver(stores));
        await stores.clock.advance(7 * DAY + 1);
        await commit(stores, 'used', at(1, 2));
        const dying = dyingStores(stores, requests, last);
        const done = await Promise.race([sweepGroups(contextOver(dying.stores)).then(() => 'done'), dying.died]);
        await sweepGroups(contextOver(stores));
        expect(await leftOf(stores, 'unused')).toBe(0);
        expect(await committed(stores, 'used')).toEqual(['orders 1 2']);
        expect(await isListed(stores, 'used')).toBe(true);
        if (done === 'done') return expect(requests).toBeGreaterThan(15);
      }
    },
  );

  it('never loses a commit that comes meanwhile', async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), fc.constantFrom(0, 1), async (scheduler, partition) => {
        const { stores } = await newWorld();
        await commit(stores, 'g', at(0, 1));
        await sweepGroups(contextOver(stores));
        await stores.clock.advance(7 * DAY + 1);
        const work = [
          sweepGroups(contextOver(scheduled(stores, scheduler))),
          commit(scheduled(stores, scheduler), 'g', at(partition, 8)),
        ];
        const [, outcomes] = await scheduler.waitFor(Promise.all(work));
        expect(outcomes).toEqual([{ ok: true }]);
        for (let sweeps = 0; sweeps < 3; sweeps++) await sweepGroups(contextOver(stores));
        expect(await committed(stores, 'g')).toContain(`orders ${partition} 8`);
        expect(await isListed(stores, 'g')).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  it('never loses a commit that stops and goes on anywhere in a sweep', async () => {
    const made = async (): Promise<World> => {
      const made = await newWorld();
      await commit(made.stores, 'g', at(0, 1));
      await sweepGroups(contextOver(made.stores));
      await made.stores.clock.advance(7 * DAY + 1);
      return made;
    };
    const sweep = (stores: MemoryStores) => sweepGroups(contextOver(stores));
    const other = (stores: MemoryStores) => commit(stores, 'g', at(0, 8));
    for await (const { stores, how, result } of interleavings({
      made,
      work: sweep,
      other,
      begins: [3, 13],
      stops: [0, 9],
    })) {
      expect([how, result]).toEqual([how, [{ ok: true }]]);
      for (let sweeps = 0; sweeps < 2; sweeps++) await sweepGroups(contextOver(stores));
      expect([how, await committed(stores, 'g')]).toEqual([how, ['orders 0 8']]);
      expect([how, await isListed(stores, 'g')]).toEqual([how, true]);
    }
  });

  it('never loses a commit, although a sweep died and another goes on', async () => {
    for (let requests = 1; ; requests++) {
      const { stores } = await newWorld();
      await commit(stores, 'g', at(0, 1));
      await sweepGroups(contextOver(stores));
      await stores.clock.advance(7 * DAY + 1);
      let sent = 0;
      const around = aroundStores(stores, (_request, send) => async (...args) => {
        sent++;
        if (sent === requests) await commit(stores, 'g', at(1, 8));
        return send(...args);
      });
      const dying = dyingStores({ ...stores, ...around }, requests);
      await Promise.race([sweepGroups(contextOver(dying.stores)), dying.died]);
      for (let sweeps = 0; sweeps < 3; sweeps++) await sweepGroups(contextOver(stores));
      if (sent < requests) return expect(requests).toBeGreaterThan(8);
      expect(await committed(stores, 'g')).toContain('orders 1 8');
      expect(await isListed(stores, 'g')).toBe(true);
    }
  });
});

it('lists groups in pages, those that may be seen', async () => {
  for (const group of ['a', 'b1', 'b2', 'c']) await commit(stores, group, at(0, 1));
  const list = (request: Parameters<typeof listGroups>[1]) => listGroups(contextOver(stores), request);
  expect((await list({})).items.map(({ group }) => group)).toEqual(['a', 'b1', 'b2', 'c']);
  const visible = (group: string): boolean => group.startsWith('b');
  const first = await list({ limit: 1, visible });
  expect(first.items).toEqual([{ group: 'b1' }]);
  const second = await list({ limit: 1, visible, pageToken: first.nextPageToken });
  expect(second).toEqual({ items: [{ group: 'b2' }] });
});
