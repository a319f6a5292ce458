import { expect, it } from 'vitest';
import { aroundStores } from '../../../../shared/storage/around-stores.ts';
import { bytes, memoryBroker, memoryStores, record, SeededRandom } from '../../../support/memory-broker.ts';
import { verifyAll } from '../../../support/shaped-log.ts';

const HOUR_MS = 3_600_000;
const TOPICS = {
  kept: {},
  expiring: { 'retention.ms': 3 * HOUR_MS, 'segment.ms': HOUR_MS },
  small: { 'retention.bytes': 30_000 },
  compacted: { 'cleanup.policy': 'compact', 'min.cleanable.dirty.ratio': 0, 'delete.retention.ms': HOUR_MS },
  both: { 'cleanup.policy': 'compact,delete', 'retention.ms': 5 * HOUR_MS, 'min.cleanable.dirty.ratio': 0.1 },
} as const;

/** All jobs as they are run, in any order, between any two requests of a verification; some of them die. */
it.each(Array.from({ length: 12 }, (_, seed) => seed))(
  'raises no false alarm beside the real jobs (%i)',
  async (seed) => {
    const random = new SeededRandom(5_000 + seed);
    const stores = memoryStores();
    const { clock } = stores;
    const broker = memoryBroker(stores, {}, new SeededRandom(seed));
    for (const [name, config] of Object.entries(TOPICS)) await broker.putTopic({ name, partitions: 18, config });
    const names = Object.keys(TOPICS);
    const append = async (): Promise<void> => {
      const topic = names[random.below(names.length)] as string;
      const count = 1 + random.below(24);
      for (let i = 0; i < count; i++) {
        const one = () =>
          record('v'.repeat(random.below(4) === 0 ? 9_000 : 20), {
            partition: [0, 1, 17][random.below(3)] as number,
            key: bytes(`k${random.below(6)}`),
            ...(random.below(5) === 0 ? { value: null } : {}),
          });
        await broker.appendRecords({ topic, records: random.below(3) === 0 ? [one(), one(), one()] : [one()] });
      }
      await broker.idle();
    };
    const jobs = [
      () => broker.runMerges(),
      () => broker.runCompactions(),
      () => broker.runRetention(),
      () => broker.sweep(),
      () => broker.runSweeps(),
    ];
    let ran = 0;
    const step = async (): Promise<void> => {
      const what = random.below(10);
      if (what < 3) return append();
      if (what < 5) return clock.advance([60_000, 10 * 60_000, 31 * 60_000, 2 * HOUR_MS][random.below(4)] as number);
      const result = await jobs[random.below(jobs.length)]?.();
      const { error } = (result ?? {}) as { error?: Error };
      if (error !== undefined) throw error;
      ran++;
    };
    /** What a verification has just seen is replaced, and then deleted. */
    const everything = async (): Promise<void> => {
      for (let i = 0; i < 3; i++) await append();
      for (const round of [0, 1, 2]) {
        await clock.advance(61 * 60_000);
        for (const job of round === 0 ? jobs : jobs.slice(1)) await job();
      }
    };
    for (let i = 0; i < 60; i++) await step();
    let last = Promise.resolve();
    const disturbed = aroundStores(stores, (_, run) => async (...args) => {
      last = last.then(async () => {
        if (random.below(6) === 0) await step();
        if (random.below(12) === 0) await everything();
      });
      await last;
      return run(...args);
    });
    for (const topic of names)
      for (const maxBytes of [undefined, 1]) {
        const calm = await verifyAll(broker, { deep: true, maxBytes }, topic);
        expect([topic, calm.problems]).toEqual([topic, []]);
        const verifier = memoryBroker({ ...disturbed, clock });
        const { problems } = await verifyAll(verifier, { deep: true, maxBytes }, topic);
        expect([topic, problems]).toEqual([topic, []]);
      }
    expect(ran).toBeGreaterThan(20);
  },
  60_000,
);
