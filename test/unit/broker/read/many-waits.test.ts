import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { aroundStores, keyOf } from '../../../../shared/storage/around-stores.ts';
import { appendTo, memoryBroker, memoryStores } from '../../../support/memory-broker.ts';
import { turn } from '../../../support/simulated-clock.ts';

/** Fetches that wait at the ends of many partitions: they must take little memory, since there may be a million. */

const PARTITIONS = 100;
const HEADS = Math.ceil(PARTITIONS / 16);
const ALL = Array.from({ length: PARTITIONS }, (_, partition) => partition);

async function setUp() {
  const stores = memoryStores();
  let inWork = 0;
  let most = 0;
  let reads = 0;
  const around = aroundStores(stores, (request, run) => async (...args) => {
    if (request !== 'getItem' || !keyOf(args).startsWith('head#')) return run(...args);
    reads++;
    most = Math.max(most, ++inWork);
    await stores.clock.sleep(10);
    inWork--;
    return run(...args);
  });
  const writer = memoryBroker(stores);
  await writer.putTopic({ name: 't', partitions: PARTITIONS });
  for (const partition of ALL) await appendTo(writer, 't', partition, ['before']);
  await writer.idle();
  const broker = memoryBroker({ ...stores, ...around }, { pollIntervalMs: undefined, headCacheMs: 3_600_000 });
  const stop = new AbortController();
  const poll = () =>
    broker.fetchPartitions({
      partitions: ALL.map((partition) => ({ topic: 't', partition, offset: 1, bytesMax: 1_000_000 })),
      ...{ bytesMin: 1, bytesMax: 1_000_000, waitMs: 60_000, signal: stop.signal },
    });
  return {
    clock: stores.clock,
    broker,
    poll,
    stop: () => stop.abort(),
    figures: () => ({ inWork, most, reads }),
  };
}

describe('many fetches that wait', () => {
  it('look in turns, so that those under way have a bounded number of heads in memory, and all hear an append', async () => {
    const { clock, broker, poll, figures } = await setUp();
    const polls = Array.from({ length: 500 }, poll);
    await clock.run(clock.sleep(5_000));
    expect(figures()).toMatchObject({ inWork: 0, reads: 500 * HEADS });
    // 16 MiB by 250 KiB for a look at 100 partitions.
    expect(figures().most).toBeLessThanOrEqual(66 * HEADS);
    expect(figures().most).toBeGreaterThan(32 * HEADS);
    await clock.run(appendTo(broker, 't', 42, ['news']));
    const found = await clock.run(Promise.all(polls));
    for (const partitions of found)
      expect(partitions.flatMap((one, partition) => (one.ok && one.batches.length > 0 ? [partition] : []))).toEqual([
        42,
      ]);
    expect(found[0]?.[7]).toMatchObject({ ok: true, logStartOffset: 0, highWatermark: 1 });
  });

  it('take less than 400 bytes for each partition, without views and heads', async () => {
    const { clock, poll, stop } = await setUp();
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const used = async (): Promise<number> => {
      for (let i = 0; i < 3; i++) {
        await turn();
        collect();
      }
      return process.memoryUsage().heapUsed;
    };
    await clock.run(clock.sleep(1));
    const before = await used();
    const polls = Array.from({ length: 500 }, poll);
    await clock.run(clock.sleep(5_000));
    expect(((await used()) - before) / (500 * PARTITIONS)).toBeLessThan(400);
    stop();
    expect(await clock.run(Promise.all(polls))).toHaveLength(500);
  });
});
