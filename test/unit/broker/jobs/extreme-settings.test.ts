import fc from 'fast-check';
import { expect, it } from 'vitest';
import { readSegmentList } from '../../../../shared/broker/heads/segment-list-store.ts';
import type { DueRun } from '../../../../shared/broker/jobs/run-due.ts';
import { encodeBatch, NO_TIMESTAMP } from '../../../../shared/log/batch/record-batch.ts';
import { TIMESTAMP_MAX } from '../../../../shared/log/limits.ts';
import { TIME_MAX } from '../../../../shared/log/time.ts';
import { TOPIC_SETTINGS, type TopicConfig, type TopicSettingName } from '../../../../shared/log/topic/topic-config.ts';
import { bytes, memoryBroker, memoryStores, readAll } from '../../../support/memory-broker.ts';
import { verifyAll } from '../../../support/shaped-log.ts';

const MAX = Number.MAX_SAFE_INTEGER;
const DAY_MS = 86_400_000;

/** A time that the producer gave; `undefined`: now. */
type GivenTime = number | undefined;
const TIMES: readonly GivenTime[] = [undefined, NO_TIMESTAMP, 0, TIME_MAX - 1, TIME_MAX, TIME_MAX + 1, TIMESTAMP_MAX];

/** A topic of one partition that takes records of any time. */
async function setUp() {
  const stores = memoryStores();
  const { clock } = stores;
  const broker = memoryBroker(stores);
  const { topic } = await broker.putTopic({ name: 't', config: { 'message.timestamp.after.max.ms': MAX } });
  return {
    broker,
    set: (config: TopicConfig) => broker.putTopic({ name: 't', config }),
    /** Appends one entry for each time, of a value or a tombstone under one of four keys. */
    async append(times: readonly GivenTime[], isTombstone = false) {
      for (const [i, timestampMs = clock.nowMs()] of times.entries()) {
        const value = isTombstone ? null : bytes('v');
        const batch = encodeBatch([{ timestampMs, key: bytes(`k${i % 4}`), value, headers: [] }]);
        const [outcome] = await broker.append({ batches: [{ topic: 't', partition: 0, batch }] });
        if (outcome?.ok !== true) throw outcome?.error;
      }
      await broker.idle();
    },
    /** Runs every job that is due within a day, as another process. */
    async runJobs() {
      await clock.advance(DAY_MS);
      const other = memoryBroker(stores);
      const run = async (work: () => Promise<DueRun<unknown>>) => {
        const { blocked, error, complete } = await clock.run(work);
        expect({ blocked, error, complete }).toEqual({ blocked: 0, error: undefined, complete: true });
      };
      await run(() => other.runMerges());
      await run(() => other.runRetention());
      await run(() => other.runCompactions());
      await run(() => other.runSweeps());
    },
    list: () => readSegmentList(stores.items, { topicId: topic.topicId, headNumber: 0 }),
    /** What another process reads, once it has looked at everything. */
    async read() {
      const other = memoryBroker(stores);
      const [{ logStartOffset } = { logStartOffset: 0 }] = await other.describePartitions('t');
      expect((await verifyAll(other, { deep: true })).problems).toEqual([]);
      return readAll(other, 't', 0, { from: logStartOffset });
    },
  };
}

it.each<[string, TopicConfig]>([
  ['retention.ms', { 'retention.ms': MAX }],
  ['delete.retention.ms', { 'cleanup.policy': 'compact', 'delete.retention.ms': MAX }],
  ['min.compaction.lag.ms', { 'cleanup.policy': 'compact', 'min.compaction.lag.ms': MAX }],
  [
    'retention.ms beside compaction',
    { 'cleanup.policy': 'compact,delete', 'retention.ms': MAX, 'delete.retention.ms': MAX },
  ],
])('the largest %s does not harm a head, and can be made smaller', async (_, config) => {
  const { set, append, runJobs, list, read } = await setUp();
  await set(config);
  await append(Array(16));
  await append(Array(8), true);
  for (let i = 0; i < 3; i++) await runJobs();
  const { due, slots } = await list();
  for (const atMs of [...Object.values(due).map((one) => one.atMs), slots[0]?.tombstonesDueAtMs ?? 0])
    expect(atMs).toBeLessThanOrEqual(TIME_MAX);
  expect((await read()).length).toBeGreaterThanOrEqual(4);
  await set({ 'cleanup.policy': 'delete', 'retention.ms': 0 });
  for (let i = 0; i < 2; i++) await runJobs();
  expect(await read()).toEqual([]);
});

it('records of a far future never expire, and can be found by their time', async () => {
  const { broker, append, runJobs, read } = await setUp();
  const times = Array.from({ length: 16 }, (_, i) => TIMESTAMP_MAX - 16 + i);
  await append(times);
  for (let i = 0; i < 10; i++) await runJobs();
  expect((await read()).map(({ timestampMs }) => timestampMs)).toEqual(times);
  expect(await broker.newestTime('t', 0)).toEqual({ offset: 15, timestampMs: TIMESTAMP_MAX - 1 });
  expect(await broker.offsetForTime('t', 0, TIMESTAMP_MAX - 9)).toMatchObject({ offset: 7 });
});

const CHANGED = (Object.keys(TOPIC_SETTINGS) as TopicSettingName[]).filter((name) => name !== 'max.message.bytes');

const configArbitrary: fc.Arbitrary<TopicConfig> = fc
  .record(
    Object.fromEntries(
      CHANGED.map((name) => {
        const setting = TOPIC_SETTINGS[name];
        return [
          name,
          setting.type === 'number' ? fc.constantFrom(setting.min, setting.max) : fc.constantFrom(...setting.values),
        ];
      }),
    ),
    { requiredKeys: [] },
  )
  // A topic cannot have both.
  .filter((config) => config['min.compaction.lag.ms'] !== MAX || config['max.compaction.lag.ms'] !== 1);

it('no settings at their limits harm a head, with records of any time', async () => {
  await fc.assert(
    fc.asyncProperty(
      configArbitrary,
      fc.array(fc.constantFrom(...TIMES), { minLength: 16, maxLength: 24 }),
      fc.boolean(),
      async (config, times, hasTombstones) => {
        const { set, append, runJobs, read } = await setUp();
        await append(times);
        if (hasTombstones) await append(times, true);
        await set(config);
        for (let i = 0; i < 3; i++) await runJobs();
        const records = await read();
        const { 'cleanup.policy': policy = 'delete', 'retention.ms': ms = 0, 'retention.bytes': size = -1 } = config;
        if (policy === 'delete' && ms !== 0 && size !== 0)
          expect(records).toHaveLength(hasTombstones ? 2 * times.length : times.length);
      },
    ),
    { numRuns: 100 },
  );
});
