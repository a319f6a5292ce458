import { expect, it } from 'vitest';
import type { HeadJobResult } from '../../../../shared/broker/jobs/head-job.ts';
import { mergeHead } from '../../../../shared/broker/jobs/merge/merge-head.ts';
import { type HeadJob, runDue } from '../../../../shared/broker/jobs/run-due.ts';
import { ByteBudget } from '../../../../shared/broker/memory/byte-budget.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import { EMPTY_SEGMENT_LIST } from '../../../../shared/log/segment/segment-list.ts';
import { jobContext } from '../../../support/maintained-log.ts';
import { appendTo, bytes, memoryBroker, memoryStores } from '../../../support/memory-broker.ts';

/** Stores with heads that are due to be merged, one of each topic. */
async function dueHeads(topics: number) {
  const stores = memoryStores();
  const broker = memoryBroker(stores);
  await stores.clock.run(async () => {
    for (let i = 0; i < topics; i++) {
      await broker.putTopic({ name: `topic-${i}` });
      for (let commit = 0; commit < 8; commit++) await appendTo(broker, `topic-${i}`, 0, ['a value of some bytes']);
    }
    await broker.idle();
  });
  await stores.clock.advance(2 * 3_600_000);
  return stores;
}

const DONE: HeadJobResult = { list: EMPTY_SEGMENT_LIST, nextAtMs: 1e13 };

it('counts what a job could not do within a head', async () => {
  const stores = await dueHeads(3);
  const error = new EventLogError('corrupt_data', 'damaged');
  let visits = 0;
  const job: HeadJob<HeadJobResult> = async () => (visits++ === 0 ? { ...DONE, blocked: 2, error } : DONE);
  const run = await stores.clock.run(runDue(jobContext(stores), 'merge', job));
  expect([run.results.length, run.blocked, run.error]).toEqual([3, 2, error]);
});

it.each([
  [undefined, 4],
  [1, 1],
])('visits as many heads at once as it is told: %s', async (headsAtOnce, most) => {
  const stores = await dueHeads(40);
  const context = jobContext(stores);
  let active = 0;
  let seen = 0;
  const job: HeadJob<HeadJobResult> = async ({ clock }) => {
    seen = Math.max(seen, ++active);
    await clock.sleep(10);
    active--;
    return DONE;
  };
  const { results } = await stores.clock.run(runDue(context, 'merge', job, {}, headsAtOnce));
  expect([results.length, seen]).toEqual([40, most]);
});

it('holds no more data of merges in memory than the budget allows', async () => {
  const stores = await dueHeads(1);
  const asked: number[] = [];
  class Watched extends ByteBudget {
    override use<Result>(bytes: number, work: () => Promise<Result>): Promise<Result> {
      asked.push(bytes);
      return super.use(bytes, work);
    }
  }
  const context = { ...jobContext(stores), mergeBytes: new Watched(1) };
  const { results } = await stores.clock.run(runDue(context, 'merge', mergeHead));
  expect(results).toMatchObject([{ nodesMerged: 1 }]);
  expect(asked).toEqual([results[0]?.bytesMerged]);
});

it('compacts one head after the other, since each takes as much memory as a compaction may', async () => {
  const stores = memoryStores();
  const broker = memoryBroker(stores);
  await stores.clock.run(async () => {
    const ids: string[] = [];
    for (let i = 0; i < 6; i++) {
      await broker.putTopic({ name: `topic-${i}`, config: { 'cleanup.policy': 'compact' } });
      ids.push((await broker.describeTopic(`topic-${i}`)).topicId);
      for (let commit = 0; commit < 8; commit++)
        await appendTo(broker, `topic-${i}`, 0, ['value'], { key: bytes('k') });
    }
    await broker.idle();
    for (const topicId of ids) await broker.mergeHead(topicId, 0, { force: true });
  });
  await stores.clock.advance(3_600_000);
  const visited: string[] = [];
  const { items } = stores;
  const compacting = memoryBroker({
    ...stores,
    items: {
      get(key) {
        if (key.pk.startsWith('segments#') && visited.at(-1) !== key.pk) visited.push(key.pk);
        return items.get(key);
      },
      query: (range) => items.query(range),
      put: (...args) => items.put(...args),
      update: (...args) => items.update(...args),
      delete: (...args) => items.delete(...args),
    },
  });
  const { results } = await stores.clock.run(compacting.runCompactions());
  expect(results).toHaveLength(6);
  // No head is looked at again after another one was.
  expect(new Set(visited).size).toBe(visited.length);
});
