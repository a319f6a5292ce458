import { expect, it } from 'vitest';
import { compactHead } from '../../../../shared/broker/jobs/compact/compact-head.ts';
import { LOOK_AGAIN_MS_MIN } from '../../../../shared/log/segment/compact/cleanable.ts';
import type { TopicConfig } from '../../../../shared/log/topic/topic-config.ts';
import { TOPICS, topicKey } from '../../../../shared/storage/keys.ts';
import { beforeRequests } from '../../../support/maintained-log.ts';
import { memoryStores } from '../../../support/memory-broker.ts';
import { contextOf, MergedPartition, rec, storeTopic, topicOf } from './merged-partition.ts';

const HOUR_MS = 3_600_000;
const ALL = ['0 a=1', '1 b=1', '2 a=2', '3 a=3'];
const COMPACTED = ['1 b=1', '3 a=3'];

async function setUp() {
  const stores = memoryStores();
  const { clock } = stores;
  const topic = topicOf();
  const partition = new MergedPartition(stores, topic);
  for (const specs of [['a=1', 'b=1'], ['a=2'], ['a=3']]) {
    await partition.add(specs.map((spec) => [rec(spec, clock.nowMs())]));
  }
  const run = (through: typeof stores) => clock.run(compactHead(contextOf(through), topic, 0));
  /** A run before whose first write of an object something happens. */
  const runAcross = async (happens: () => Promise<unknown>) => {
    let hasHappened = false;
    const stopped = beforeRequests(stores, async (request) => {
      if (request !== 'putObject' || hasHappened) return;
      hasHappened = true;
      await happens();
    });
    return run(stopped);
  };
  const set = (config: TopicConfig) => storeTopic(stores, topicOf(config));
  return { stores, clock, partition, run, runAcross, set };
}

it.each<[string, TopicConfig]>([
  ['the topic is not compacted any more', { 'cleanup.policy': 'delete' }],
  ['records must stay for longer', { 'min.compaction.lag.ms': 9 * HOUR_MS }],
  ['tombstones must stay for longer', { 'delete.retention.ms': 99 * HOUR_MS }],
])('a compaction that stood still drops nothing if meanwhile %s, and gives up what it wrote', async (_, config) => {
  const { clock, partition, runAcross, set } = await setUp();
  const report = await runAcross(async () => {
    await set(config);
    await clock.sleep(2 * HOUR_MS);
  });
  expect(await partition.shown()).toEqual(ALL);
  expect(report).toMatchObject({ complete: false, passes: 0, blocked: 0, nextAtMs: clock.nowMs() + LOOK_AGAIN_MS_MIN });
  const { announcements, garbage } = await partition.list();
  expect(announcements).toEqual([]);
  const { objects } = await partition.stored();
  const named = [...(await partition.segments()), ...garbage].map((one) => partition.keyOf(one));
  expect([...objects].sort()).toEqual(named.sort());
});

it('goes on if only other settings were changed meanwhile', async () => {
  const { clock, partition, runAcross, set } = await setUp();
  const report = await runAcross(async () => {
    await set({ 'cleanup.policy': 'compact,delete', 'retention.ms': HOUR_MS });
    await clock.sleep(60_000);
  });
  expect(await partition.shown()).toEqual(COMPACTED);
  expect(report).toMatchObject({ complete: true, passes: 1 });
});

it('drops nothing of a topic that was deleted meanwhile, nor if it was made again', async () => {
  for (const topic of [undefined, { ...topicOf(), topicId: 'another' }]) {
    const { stores, partition, runAcross } = await setUp();
    await runAcross(async () => {
      await stores.items.delete(topicKey('table'));
      if (topic !== undefined) await storeTopic(stores, topic);
    });
    expect(await partition.shown()).toEqual(ALL);
  }
});

it('reads the topic once more if it stands still between that and its commit', async () => {
  const { stores, clock, partition, run, set } = await setUp();
  let reads = 0;
  const late = beforeRequests(stores, async (request, [key]) => {
    const isTopic = request === 'getItem' && (key as { pk: string }).pk === TOPICS;
    if (isTopic) reads++;
    else if (reads === 1) {
      await set({ 'cleanup.policy': 'delete' });
      await clock.sleep(2 * HOUR_MS);
    }
  });
  await run(late);
  expect(reads).toBe(2);
  expect(await partition.shown()).toEqual(ALL);
});
