import { describe, expect, it } from 'vitest';
import type { Broker } from '../../../../shared/broker/broker.ts';
import { dayOf } from '../../../../shared/broker/memory/young-producers.ts';
import { PRODUCER_ID_COUNTER } from '../../../../shared/storage/keys.ts';
import type { Attributes } from '../../../../shared/storage/ports.ts';
import { faultyStores } from '../../../support/faulty-stores.ts';
import { codeOf, type MemoryStores, memoryBroker, memoryStores, SeededRandom } from '../../../support/memory-broker.ts';

const DAY_MS = 86_400_000;
const TODAY = dayOf(memoryStores().clock.nowMs());

async function counter(stores: MemoryStores): Promise<Attributes | undefined> {
  return (await stores.items.get(PRODUCER_ID_COUNTER)).attributes;
}

/** A process over the same stores whose clock differs. */
function withClock(stores: MemoryStores, aheadMs: number): Broker {
  const { clock } = stores;
  return memoryBroker({
    ...stores,
    clock: { nowMs: () => clock.nowMs() + aheadMs, sleep: (ms, signal) => clock.sleep(ms, signal) },
  });
}

async function allocate(broker: Broker, count: number): Promise<number[]> {
  const ids: number[] = [];
  for (let i = 0; i < count; i++) ids.push(await broker.allocateProducerId());
  return ids;
}

describe('producer ids', () => {
  it('count from 0, and the counter keeps the first ones of its day and of the day before', async () => {
    const stores = memoryStores();
    const broker = memoryBroker(stores);
    expect(await counter(stores)).toBeUndefined();
    expect(await allocate(broker, 3)).toEqual([0, 1, 2]);
    expect(await counter(stores)).toEqual({ n: 3, d: TODAY, y: 0, x: 0 });
    await stores.clock.advance(DAY_MS);
    expect(await allocate(broker, 2)).toEqual([3, 4]);
    expect(await counter(stores)).toEqual({ n: 5, d: TODAY + 1, y: 3, x: 0 });
    await stores.clock.advance(DAY_MS);
    expect(await allocate(broker, 1)).toEqual([5]);
    expect(await counter(stores)).toEqual({ n: 6, d: TODAY + 2, y: 5, x: 3 });
    // A day without ids: nothing is of the day before.
    await stores.clock.advance(2 * DAY_MS);
    expect(await allocate(broker, 2)).toEqual([6, 7]);
    expect(await counter(stores)).toEqual({ n: 8, d: TODAY + 4, y: 6, x: 6 });
  });

  it('go on with a counter that was used before it kept days', async () => {
    const stores = memoryStores();
    await stores.items.put(PRODUCER_ID_COUNTER, { n: 17 });
    expect(await allocate(memoryBroker(stores), 2)).toEqual([17, 18]);
    expect(await counter(stores)).toEqual({ n: 19, d: TODAY, y: 17, x: 17 });
  });

  it('turn the day once where two clocks stand on either side of midnight', async () => {
    const stores = memoryStores();
    const [ahead, behind] = [withClock(stores, DAY_MS), memoryBroker(stores)];
    expect(await allocate(behind, 2)).toEqual([0, 1]);
    expect(await allocate(ahead, 2)).toEqual([2, 3]);
    expect(await allocate(behind, 2)).toEqual([4, 5]);
    expect(await allocate(ahead, 1)).toEqual([6]);
    expect(await counter(stores)).toEqual({ n: 7, d: TODAY + 1, y: 2, x: 0 });
  });

  it('set the day back where a wrong clock put it years ahead, and count none of the ids before as young', async () => {
    const stores = memoryStores();
    const [wrong, right] = [withClock(stores, 5_000 * DAY_MS), memoryBroker(stores)];
    expect(await allocate(right, 2)).toEqual([0, 1]);
    expect(await allocate(wrong, 2)).toEqual([2, 3]);
    expect(await counter(stores)).toEqual({ n: 4, d: TODAY + 5_000, y: 2, x: 2 });
    expect(await allocate(right, 2)).toEqual([4, 5]);
    expect(await counter(stores)).toEqual({ n: 6, d: TODAY, y: 4, x: 4 });
    await stores.clock.advance(DAY_MS);
    expect(await allocate(right, 1)).toEqual([6]);
    expect(await counter(stores)).toEqual({ n: 7, d: TODAY + 1, y: 6, x: 4 });
  });

  it('are given to one each, whatever is delayed, lost or repeated while the day turns', async () => {
    for (let seed = 0; seed < 60; seed++) {
      const stores = memoryStores();
      const random = new SeededRandom(seed);
      const faults = ['lost_reply', 'repeated', 'late', undefined, undefined, undefined] as const;
      const slow = faultyStores(stores, () => {
        const fault = faults[random.below(faults.length)];
        return fault === undefined
          ? { delayMs: random.below(50) }
          : { fault, lateMs: random.below(200), delayMs: random.below(50) };
      });
      const brokers = [0, 5, DAY_MS, 5_000 * DAY_MS].map((aheadMs) => withClock(slow, aheadMs));
      const given: number[] = [];
      const client = async (broker: Broker): Promise<void> => {
        for (let i = 0; i < 12; i++) {
          const id = await codeOf(broker.allocateProducerId());
          if (typeof id === 'number') given.push(id);
          await slow.clock.sleep(random.below(DAY_MS / 2));
        }
      };
      await stores.clock.run(Promise.all([...brokers, ...brokers].map(client)));
      expect(new Set(given).size, `seed ${seed}`).toBe(given.length);
      expect(given.length).toBeGreaterThan(20);
      const { n, y, x } = (await counter(stores)) as Record<string, number>;
      expect(Math.max(...given)).toBeLessThan(n as number);
      expect([x as number, y as number, n as number]).toEqual(
        [x as number, y as number, n as number].sort((a, b) => a - b),
      );
    }
  });
});
