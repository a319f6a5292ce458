import { describe, expect, it } from 'vitest';
import { readSegmentList, updateSegmentList } from '../../../../shared/broker/heads/segment-list-store.ts';
import { DEFAULT_SETTINGS } from '../../../../shared/broker/settings.ts';
import { scheduleBy } from '../../../../shared/log/segment/list-changes.ts';
import type { SegmentList } from '../../../../shared/log/segment/segment-list.ts';
import { aroundStores, keyOf } from '../../../../shared/storage/around-stores.ts';
import { segmentListKey } from '../../../../shared/storage/keys.ts';
import type { ItemStore } from '../../../../shared/storage/ports.ts';
import { type FaultPlan, faultyStores } from '../../../support/faulty-stores.ts';
import { memoryStores, SeededRandom } from '../../../support/memory-broker.ts';

const HEAD = { topicId: 'topic', headNumber: 3 };
const ONE_MORE = (list: SegmentList) => ({
  list: { ...list, dropBelow: list.dropBelow + 1 },
  result: list.dropBelow,
});

/** `faults` are those of the puts, in their order. */
function setUp(faults: readonly (FaultPlan | undefined)[] = []) {
  const stores = memoryStores();
  let puts = 0;
  const { items } = faultyStores(stores, ({ method }) => (method === 'put' ? faults[puts++] : undefined));
  const context = { clock: stores.clock, random: new SeededRandom(7), settings: DEFAULT_SETTINGS };
  const update = (through: ItemStore = items, known?: SegmentList) =>
    stores.clock.run(updateSegmentList(context, through, HEAD, ONE_MORE, known));
  return { stores, update, puts: () => puts };
}

describe('the store of segment lists', () => {
  it('reads a list that nobody has written as the empty list', async () => {
    const { stores } = setUp();
    expect(await readSegmentList(stores.items, HEAD)).toMatchObject({ version: 0, mergedEntry: 0, slots: [] });
  });

  it('writes the first list, and counts versions', async () => {
    const { update } = setUp();
    expect((await update()).list.version).toBe(1);
    expect(await update()).toMatchObject({ list: { version: 2, dropBelow: 2 }, result: 1 });
  });

  it('decides again from the newer list if another process was faster', async () => {
    const { stores, update, puts } = setUp();
    const before = (await update()).list;
    await update(stores.items);
    expect(await update(undefined, before)).toMatchObject({ list: { version: 3, dropBelow: 3 }, result: 2 });
    expect(puts()).toBe(3);
  });

  it('recognizes its own update if the reply was lost', async () => {
    const { stores, update } = setUp([{ fault: 'lost_reply' }]);
    expect(await update()).toMatchObject({ list: { version: 1, dropBelow: 1 }, result: 0 });
    expect((await readSegmentList(stores.items, HEAD)).version).toBe(1);
  });

  it('decides again if the process stands still before the update is sent, since graces count from the decision', async () => {
    const { stores } = setUp();
    const { clock } = stores;
    const context = { clock, random: new SeededRandom(7), settings: DEFAULT_SETTINGS };
    const decidedMs: number[] = [];
    let stoodStill = false;
    // Between the due item and the list.
    const { items } = aroundStores(stores, (request, run) => async (...args) => {
      const answer = await run(...args);
      if (request === 'putItem' && keyOf(args).startsWith('due#') && !stoodStill) {
        stoodStill = true;
        await clock.advance(3_600_000);
      }
      return answer;
    });
    const { list } = await updateSegmentList(context, items, HEAD, (now) => {
      decidedMs.push(clock.nowMs());
      return { list: scheduleBy({ ...now, cleanAtMs: clock.nowMs() }, 'sweep', clock.nowMs()), result: undefined };
    });
    expect(decidedMs).toHaveLength(2);
    expect(list).toMatchObject({ version: 1, cleanAtMs: clock.nowMs() });
  });

  it('does not take the update of another process for its own', async () => {
    const { stores, update } = setUp([{ fault: 'late', lateMs: 60_000 }]);
    const running = update();
    await update(stores.items);
    expect(await running).toMatchObject({ list: { version: 2 }, result: 1 });
    // The late request meets another version, and changes nothing.
    await stores.clock.advance(120_000);
    expect(await readSegmentList(stores.items, HEAD)).toMatchObject({ version: 2, dropBelow: 2 });
  });

  it('writes nothing if nothing is to be changed', async () => {
    const { stores, puts } = setUp();
    const context = { clock: stores.clock, random: new SeededRandom(7), settings: DEFAULT_SETTINGS };
    const { result } = await updateSegmentList(context, stores.items, HEAD, () => ({ list: undefined, result: 'no' }));
    expect([result, puts()]).toEqual(['no', 0]);
  });

  it('rejects a list that has no content', async () => {
    const { stores } = setUp();
    await stores.items.put(segmentListKey(HEAD.topicId, HEAD.headNumber), { v: 1 });
    await expect(readSegmentList(stores.items, HEAD)).rejects.toMatchObject({ code: 'corrupt_data' });
  });
});
