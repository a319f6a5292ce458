import { describe, expect, it } from 'vitest';
import type { FollowStep } from '../../../../shared/broker/read/follow.ts';
import type { ReadResult } from '../../../../shared/broker/read/read.ts';
import type { BrokerSettings } from '../../../../shared/broker/settings.ts';
import { recordsOf } from '../../../../shared/log/batch/stored-batch.ts';
import { aroundStores, keyOf } from '../../../../shared/storage/around-stores.ts';
import { appendTo, memoryBroker, memoryStores, record, requestsFor, text } from '../../../support/memory-broker.ts';
import { turn } from '../../../support/simulated-clock.ts';

const LOOK_MS = 1_000;

/** A broker that looks every second while it waits, and whose appends never read a head: every such read is a look. */
async function setUp(partitions: number, settings: Partial<BrokerSettings> = {}) {
  const stores = memoryStores();
  const behindLooks = new Map<number, () => Promise<void>>();
  let looks = 0;
  const around = aroundStores(stores, (request, run) => async (...args) => {
    const found = await run(...args);
    if (request === 'getItem' && keyOf(args).startsWith('head#')) await behindLooks.get(++looks)?.();
    return found;
  });
  const broker = memoryBroker(
    { ...stores, ...around },
    {
      pollIntervalMs: LOOK_MS,
      headCacheMs: 3_600_000,
      ...settings,
    },
  );
  await broker.putTopic({ name: 't', partitions });
  for (let partition = 0; partition < partitions; partition += 16) await appendTo(broker, 't', partition, ['before']);
  looks = 0;
  return {
    clock: stores.clock,
    broker,
    /** Runs after a look has read the head, before it hears what it read. */
    behindLook(number: number, run: () => Promise<unknown>): void {
      behindLooks.set(number, async () => void (await run()));
    },
  };
}

async function valuesIn({ offset, batches }: ReadResult): Promise<string[]> {
  const values: string[] = [];
  for await (const batch of batches)
    for (const each of recordsOf(batch)) if (each.offset >= offset) values.push(text(each.value));
  return values;
}

async function recordsIn(step: FollowStep): Promise<string[]> {
  return step.type === 'records' ? valuesIn(step.result) : [];
}

describe('a wait for records begins to listen before it looks', () => {
  it.each([1, 2, 3])('long poll › hears an append behind its look number %i', async (look) => {
    const { clock, broker, behindLook } = await setUp(1);
    const startMs = clock.nowMs();
    behindLook(look, () => appendTo(broker, 't', 0, ['news']));
    const waiting = broker.read({ topic: 't', partition: 0, from: { offset: 1 }, waitMs: 20_000 });
    expect(await valuesIn(await clock.run(waiting))).toEqual(['news']);
    expect(clock.nowMs() - startMs).toBe((look - 1) * LOOK_MS);
  });

  // The first look is the one that finds where partitions begin, before anything is waited for.
  it.each([1, 2, 3, 4])('follower › hears an append behind its look number %i', async (look) => {
    const { clock, broker, behindLook } = await setUp(1);
    const startMs = clock.nowMs();
    const stop = new AbortController();
    behindLook(look, () => appendTo(broker, 't', 0, ['news']));
    const follower = await broker.follow({
      topics: [{ topic: 't', partitions: 'all', from: { tail: 0 } }],
      turnBytes: 1_000,
      lookMs: LOOK_MS,
      signal: stop.signal,
    });
    expect(await recordsIn(await clock.run(follower.next(startMs + 20_000)))).toEqual(['news']);
    expect(clock.nowMs() - startMs).toBe(Math.max(0, look - 2) * LOOK_MS);
    stop.abort();
  });

  it('follower › hears an append behind a look at another topic that it follows', async () => {
    const { clock, broker, behindLook } = await setUp(1);
    await broker.putTopic({ name: 'u' });
    const startMs = clock.nowMs();
    const stop = new AbortController();
    const from = { tail: 0 };
    // Two looks of two heads each: the last head is looked at after the first one has been.
    behindLook(4, () => appendTo(broker, 't', 0, ['news']));
    const follower = await broker.follow({
      topics: [
        { topic: 't', partitions: 'all', from },
        { topic: 'u', partitions: [0], from },
      ],
      turnBytes: 1_000,
      lookMs: LOOK_MS,
      signal: stop.signal,
    });
    const step = await clock.run(follower.next(startMs + 20_000));
    expect([step.type, await recordsIn(step)]).toEqual(['records', ['news']]);
    expect(clock.nowMs()).toBe(startMs);
    stop.abort();
  });
});

describe('a partition that is added while it is followed', () => {
  it('is listened to before the look that finds it', async () => {
    const { clock, broker, behindLook } = await setUp(1);
    const startMs = clock.nowMs();
    const stop = new AbortController();
    const follower = await broker.follow({
      topics: [{ topic: 't', partitions: 'all', from: { tail: 0 } }],
      turnBytes: 1_000,
      lookMs: LOOK_MS,
      signal: stop.signal,
    });
    await broker.putTopic({ name: 't', partitions: 2 });
    behindLook(2, () => appendTo(broker, 't', 1, ['news']));
    expect(await recordsIn(await clock.run(follower.next(startMs + 20_000)))).toEqual(['news']);
    expect(clock.nowMs()).toBe(startMs);
    stop.abort();
  });
});

describe('what a group commit keeps for reads that wait', () => {
  /** Values whose length tells them apart, so that bytes from another place can't look right. */
  const textOf = (partition: number, i: number): string =>
    `${partition}/${i}/`.padEnd(40 + partition * 7 + i, `${partition % 10}`);

  it.each([
    ['three inline batches', 1_000_000, { putItem: 3, putObject: 0 }],
    // The last head has half as many partitions as the others.
    ['an inline batch and an object of two heads', 12_000, { putItem: 2, putObject: 1 }],
    ['one object of three heads', 100, { putItem: 0, putObject: 1 }],
  ])('is exactly their records, of every partition and head, in %s', async (_where, inlineBytesMax, requests) => {
    const { clock, broker } = await setUp(40, { inlineBytesMax });
    const partitions = Array.from({ length: 40 }, (_, partition) => partition);
    const waiting = partitions
      // Some have no reader: what is kept for the others lies behind what is not kept.
      .filter((partition) => partition % 3 !== 0)
      .map(async (partition): Promise<[number, string[]]> => {
        const from = { offset: partition % 16 === 0 ? 1 : 0 };
        const result = await broker.read({ topic: 't', partition, from, waitMs: 20_000 });
        return [partition, await valuesIn(result)];
      });
    await turn();
    const looked = requestsFor(broker, 'read');
    const before = { getItem: looked.getItem, getObject: looked.getObject };
    const { putItem, putObject } = requestsFor(broker, 'append');
    // Several appends at once, each over all partitions, in orders of their own: one group commit of three heads.
    await Promise.all(
      [0, 1, 2].map((i) =>
        broker.appendRecords({
          topic: 't',
          records: (i === 1 ? partitions.toReversed() : partitions).map((partition) =>
            record(textOf(partition, i), { partition }),
          ),
        }),
      ),
    );
    const read = new Map(await clock.run(Promise.all(waiting)));
    for (const [partition, values] of read) {
      expect(values, `partition ${partition}`).toEqual([0, 1, 2].map((i) => textOf(partition, i)));
    }
    const after = requestsFor(broker, 'read');
    // Each reader looked once more, and took its records from memory.
    expect(after.getItem - before.getItem).toBe(waiting.length);
    expect(after.getObject - before.getObject).toBe(0);
    const appended = requestsFor(broker, 'append');
    expect({ putItem: appended.putItem - putItem, putObject: appended.putObject - putObject }).toEqual(requests);
  });
});
