import { describe, expect, it } from 'vitest';
import type { FetchPartitionsRequest } from '../../../../shared/broker/read/fetch-partitions.ts';
import { recordsOf } from '../../../../shared/log/batch/stored-batch.ts';
import { appendTo, memoryBroker, memoryStores, text } from '../../../support/memory-broker.ts';

const LOOK_MS = 1_000;

/** A reader that looks every second for what another process does. */
async function setUp() {
  const stores = memoryStores();
  const writer = memoryBroker(stores);
  const reader = memoryBroker(stores, { pollIntervalMs: LOOK_MS, topicCacheMs: 100 });
  await writer.putTopic({ name: 't' });
  await appendTo(writer, 't', 0, ['a']);
  const fetch = async (limits: Partial<FetchPartitionsRequest>, bytesMax = 1_000_000) => {
    const partitions = [{ topic: 't', partition: 0, offset: 0, bytesMax }];
    const request = { partitions, bytesMin: 1_000_000, bytesMax: 1_000_000, waitMs: 5_000, ...limits };
    const [found] = await reader.fetchPartitions(request);
    if (!found?.ok) return found?.error.code;
    return found.batches.flatMap((batch) => recordsOf(batch).map(({ value }) => text(value))).join('');
  };
  return { clock: stores.clock, writer, fetch };
}

describe('a fetch that waits for more', () => {
  it('has the records of all its looks', async () => {
    const { clock, writer, fetch } = await setUp();
    const fetching = fetch({});
    await clock.run(clock.sleep(1.5 * LOOK_MS));
    await appendTo(writer, 't', 0, ['b']);
    await clock.run(clock.sleep(LOOK_MS));
    await appendTo(writer, 't', 0, ['c']);
    expect(await clock.run(fetching)).toBe('abc');
  });

  it('reads no more of a partition that has given what was wanted of it', async () => {
    const { clock, writer, fetch } = await setUp();
    await appendTo(writer, 't', 0, ['b']);
    expect(await clock.run(fetch({}, 1))).toBe('a');
  });

  it('keeps what it has if the records behind it are dropped', async () => {
    const { clock, writer, fetch } = await setUp();
    const fetching = fetch({});
    await clock.run(clock.sleep(0.5 * LOOK_MS));
    await appendTo(writer, 't', 0, ['b', 'c']);
    await writer.deleteRecords({ topic: 't', partition: 0, before: 3 });
    expect(await clock.run(fetching)).toBe('a');
  });

  it('fails if the topic is deleted meanwhile and another made under its name', async () => {
    const { clock, writer, fetch } = await setUp();
    const fetching = fetch({});
    await clock.run(clock.sleep(0.5 * LOOK_MS));
    await clock.run(writer.deleteTopic('t'));
    await writer.putTopic({ name: 't' });
    await appendTo(writer, 't', 0, ['other', 'other']);
    expect(await clock.run(fetching)).toBe('unknown_topic');
  });
});
