import { describe, expect, it } from 'vitest';
import { type AppendListener, AppendSignals } from '../../../../shared/broker/memory/append-signals.ts';

async function hasHeard(listener: AppendListener): Promise<boolean> {
  return Promise.race([listener.heard.then(() => true), Promise.resolve().then(() => false)]);
}

function setUp(...places: readonly (readonly [topicId: string, partition: number])[]) {
  const signals = new AppendSignals();
  const listener = signals.listen();
  for (const [topicId, partition] of places) listener.add(topicId, partition);
  return { signals, listener };
}

describe('append signals', () => {
  it.each([0, 1, 15, 16, 17, 31, 32, 99, 100_000])(
    'tell of appends to partition %i, and to no other',
    async (partition) => {
      const { signals, listener } = setUp(['a', partition]);
      for (let other = Math.max(0, partition - 40); other < partition + 40; other++) {
        if (other === partition) continue;
        expect(signals.isAwaited('a', other)).toBe(false);
        signals.appended('a', other);
      }
      signals.appended('b', partition);
      expect(signals.isAwaited('b', partition)).toBe(false);
      expect(await hasHeard(listener)).toBe(false);
      expect(signals.isAwaited('a', partition)).toBe(true);
      signals.appended('a', partition);
      expect(await hasHeard(listener)).toBe(true);
    },
  );

  it('are heard again after a reset, and not before the next append', async () => {
    const { signals, listener } = setUp(['a', 3], ['a', 4]);
    signals.appended('a', 3);
    expect(await hasHeard(listener)).toBe(true);
    listener.reset();
    expect(await hasHeard(listener)).toBe(false);
    signals.appended('a', 4);
    expect(await hasHeard(listener)).toBe(true);
  });

  it('reach every listener of the partition, and none that is closed', async () => {
    const { signals, listener } = setUp(['a', 3]);
    const [same, neighbour, closed] = [3, 4, 3].map((partition) => {
      const other = signals.listen();
      other.add('a', partition);
      return other;
    }) as [AppendListener, AppendListener, AppendListener];
    closed.close();
    closed.add('a', 3);
    signals.appended('a', 3);
    expect(await Promise.all([listener, same, neighbour, closed].map(hasHeard))).toEqual([true, true, false, false]);
    listener.close();
    same.close();
    expect([signals.isAwaited('a', 3), signals.isAwaited('a', 4)]).toEqual([false, true]);
    neighbour.close();
    neighbour.close();
    expect(signals.size).toBe(0);
  });

  it('keep one entry for 16 partitions in a row, however many a listener has of them', () => {
    const signals = new AppendSignals();
    const listeners = Array.from({ length: 50 }, () => signals.listen());
    for (const listener of listeners)
      for (const topicId of ['a', 'b'])
        for (let round = 0; round < 2; round++)
          for (let partition = 0; partition < 100; partition++) listener.add(topicId, partition);
    expect(signals.size).toBe((50 + 1) * 2 * Math.ceil(100 / 16));
    for (const listener of listeners) listener.close();
    expect(signals.size).toBe(0);
  });
});
