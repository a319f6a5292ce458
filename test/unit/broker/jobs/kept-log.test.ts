import { expect, it } from 'vitest';
import type { Broker } from '../../../../shared/broker/broker.ts';
import { killedAfter, storedNames, watchItems } from '../../../support/maintained-log.ts';
import { appendTo, memoryBroker, memoryStores, SeededRandom, valuesOf } from '../../../support/memory-broker.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** All jobs of a process. */
async function runJobs(broker: Broker): Promise<void> {
  for (const run of [await broker.runMerges(), await broker.runRetention(), await broker.runSweeps()])
    expect(run).toMatchObject({ blocked: 0, complete: true });
  expect(await broker.sweepHotOrphans()).toMatchObject({ orphansDeleted: 0, unreadable: 0 });
  expect(await broker.sweepDeletedTopics()).toMatchObject({ topicsFailed: 0 });
  await broker.resumeDeletions();
}

it.each([9, 10])(
  'a log of three days with a day of retention has always the last day, and in the end nothing (seed %i)',
  async (seed) => {
    const bare = memoryStores();
    const written = new Set<string>();
    const stores = { ...bare, items: watchItems(bare.items, written) };
    const { clock } = bare;
    const [writer, jobs, others] = [1, 2, 3].map((each) =>
      memoryBroker(stores, {}, new SeededRandom(1_000 * seed + each)),
    ) as [Broker, Broker, Broker];
    await writer.putTopic({ name: 't', partitions: 2, config: { 'retention.ms': DAY, 'segment.ms': 2 * HOUR } });
    const appended: { readonly value: string; readonly atMs: number }[] = [];
    const random = new SeededRandom(seed);
    let largest = 0;
    for (let step = 0; step < 3 * 48; step++) {
      for (let i = random.below(12); i > 0; i--) {
        const value = `${appended.length}${'x'.repeat(random.next() < 0.1 ? 20_000 : 10)}`;
        await appendTo(writer, 't', 0, [value]);
        appended.push({ value, atMs: clock.nowMs() });
      }
      await writer.idle();
      // A process that dies somewhere in its jobs.
      const dying = memoryBroker(
        killedAfter(stores, random.below(120)),
        {},
        new SeededRandom(1_000 * seed + 100 + step),
      );
      await clock.run(runJobs(dying)).catch(() => {});
      await Promise.all([clock.run(runJobs(jobs)), random.next() < 0.3 ? clock.run(runJobs(others)) : undefined]);
      const { logStartOffset } = (await jobs.describePartitions('t'))[0] as { logStartOffset: number };
      // Nothing that is not a day old is gone. What is older is in a segment with something younger.
      expect(appended[logStartOffset - 1]?.atMs ?? 0).toBeLessThan(clock.nowMs() - DAY);
      expect(appended[logStartOffset]?.atMs ?? clock.nowMs()).toBeGreaterThanOrEqual(clock.nowMs() - DAY - 4 * HOUR);
      if (step % 12 === 11) {
        const values = await valuesOf(memoryBroker(stores), 't', 0, { from: logStartOffset });
        expect(values).toEqual(appended.slice(logStartOffset).map(({ value }) => value));
        largest = Math.max(largest, (await storedNames(stores, [...written])).length);
      }
      await clock.advance(30 * MINUTE);
    }
    expect(appended.length).toBeGreaterThan(500);
    expect(largest).toBeLessThan(400);
    for (let hours = 0; hours < 60; hours++) {
      await clock.run(runJobs(jobs));
      await clock.advance(HOUR);
    }
    const left = await storedNames(stores, [...written]);
    // The tail keeps its few entries, without their data.
    expect(left.filter((one) => /^(batch|hot|segments\/|reference)/.test(one))).toEqual([]);
    expect(left.filter((one) => one.startsWith('node')).length).toBeLessThan(2);
    await jobs.deleteTopic('t');
    for (let hours = 0; hours < 30; hours++) {
      await clock.run(runJobs(jobs));
      await clock.advance(HOUR);
    }
    expect((await storedNames(stores, [...written])).filter((one) => !/^job/.test(one))).toEqual([
      expect.stringMatching(/^head#/),
    ]);
  },
);
