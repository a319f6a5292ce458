import { describe, expect, it } from 'vitest';
import type { BrokerSettings } from '../../../../shared/broker/settings.ts';
import { readBatchHeader } from '../../../../shared/log/batch/record-batch.ts';
import { recordsOf } from '../../../../shared/log/batch/stored-batch.ts';
import { aroundStores, keyOf } from '../../../../shared/storage/around-stores.ts';
import { INLINE_BATCH } from '../../../../shared/storage/keys.ts';
import {
  codeOf,
  memoryBroker,
  memoryStores,
  record,
  requestsFor,
  text,
  valuesOf,
} from '../../../support/memory-broker.ts';

/** Many parts in one inline batch or object: a request brings them all, so a reader needs one for all of them. */

const PARTITIONS = 6;
const APPENDS = 4;
const ALL = Array.from({ length: PARTITIONS }, (_, partition) => partition);

type Location = 'inline' | 'hot';

/** Each of four appends is an inline batch, or an object, with two batches of each of six partitions. */
async function setUp(location: Location, settings: Partial<BrokerSettings> = {}) {
  const stores = memoryStores();
  const writer = memoryBroker(stores, location === 'inline' ? {} : { inlineBytesMax: 0 });
  await writer.putTopic({ name: 't', partitions: PARTITIONS });
  for (let i = 0; i < APPENDS; i++) {
    const outcomes = await Promise.all(
      ['a', 'b'].map((name) =>
        writer.appendRecords({
          topic: 't',
          records: ALL.map((partition) => record(`${partition}${name}${i} ${'x'.repeat(100)}`, { partition })),
        }),
      ),
    );
    expect(outcomes.flat().every(({ ok }) => ok)).toBe(true);
  }
  await writer.idle();
  let fetched: string[] = [];
  let changed: ((data: Uint8Array) => Uint8Array) | undefined;
  const around = aroundStores(stores, (request, run) => async (...args) => {
    const answer = await run(...args);
    if (request === 'getObject') {
      fetched.push(keyOf(args));
      return (changed?.((answer as Uint8Array).slice()) ?? answer) as typeof answer;
    }
    if (request !== 'getItem' || !keyOf(args).startsWith('batch#')) return answer;
    fetched.push(keyOf(args));
    const { attributes } = answer as { attributes: Record<string, Uint8Array> };
    const data = attributes[INLINE_BATCH.data] as Uint8Array;
    const given = { [INLINE_BATCH.data]: changed?.(data.slice()) ?? data };
    return { ...(answer as object), attributes: given } as unknown as typeof answer;
  });
  const reader = memoryBroker({ ...stores, ...around }, settings);
  return {
    reader,
    clock: stores.clock,
    /** The inline batches that were requested since the last call. */
    fetched: () => fetched.splice(0),
    change(how: ((data: Uint8Array) => Uint8Array) | undefined) {
      changed = how;
      fetched = [];
    },
  };
}

function expectedOf(partition: number): string[] {
  return Array.from({ length: APPENDS }, (_, i) => ['a', 'b'].map((name) => `${partition}${name}${i}`)).flat();
}

function short(values: readonly string[]): string[] {
  return values.map((value) => value.split(' ')[0] as string);
}

const READ = { bytesMin: 1, bytesMax: 10_000_000, waitMs: 0 };

function wanted(partitions: readonly number[]) {
  return partitions.map((partition) => ({ topic: 't', partition, offset: 0, bytesMax: 1_000_000 }));
}

describe.each<Location>(['inline', 'hot'])('the parts of data that is %s', (location) => {
  it('cost one request for all partitions that one fetch reads side by side', async () => {
    const { reader, fetched } = await setUp(location);
    const found = await reader.fetchPartitions({ ...READ, partitions: wanted(ALL) });
    for (const [partition, one] of found.entries())
      expect(one.ok && short(one.batches.flatMap((batch) => recordsOf(batch).map(({ value }) => text(value))))).toEqual(
        expectedOf(partition),
      );
    expect(fetched()).toHaveLength(APPENDS);
  });

  it('cost one request for all partitions that are read one after the other', async () => {
    const { reader, fetched } = await setUp(location);
    for (const partition of ALL) expect(short(await valuesOf(reader, 't', partition))).toEqual(expectedOf(partition));
    expect(fetched()).toHaveLength(APPENDS);
    // They are checked and placed by now.
    for (const partition of ALL) expect(short(await valuesOf(reader, 't', partition))).toEqual(expectedOf(partition));
    expect(fetched()).toEqual([]);
    // The head for each read, and nothing else.
    const { getItem, getObject } = requestsFor(reader, 'read');
    expect(getItem + getObject).toBe(APPENDS + 2 * PARTITIONS);
  });

  it('cost one request for two readers of the same partition', async () => {
    const { reader, fetched } = await setUp(location);
    const both = await Promise.all([valuesOf(reader, 't', 3), valuesOf(reader, 't', 3)]);
    expect(both.map(short)).toEqual([expectedOf(3), expectedOf(3)]);
    expect(fetched()).toHaveLength(APPENDS);
  });

  it('are requested again if nobody took them for a minute and other data needs the room', async () => {
    const { reader, fetched, clock } = await setUp(location, { cacheBytesMax: 8 * 1024 });
    await valuesOf(reader, 't', 0);
    expect(fetched().length).toBeGreaterThanOrEqual(APPENDS);
    await clock.run(clock.sleep(61_000));
    expect(short(await valuesOf(reader, 't', 1))).toEqual(expectedOf(1));
    expect(fetched().length).toBeGreaterThan(0);
  });

  it.each([100, 3 * 1_024])(
    'are not kept in a cache of %i bytes, where they would drop other data',
    async (cacheBytesMax) => {
      const { reader, fetched } = await setUp(location, { cacheBytesMax });
      for (const partition of ALL) expect(short(await valuesOf(reader, 't', partition))).toEqual(expectedOf(partition));
      expect(fetched()).toHaveLength(APPENDS * PARTITIONS);
    },
  );

  it('are requested again after they arrived damaged', async () => {
    const { reader, fetched, change } = await setUp(location);
    change((data) => data.map((byte, at) => (at % 50 === 0 ? byte ^ 0x10 : byte)));
    expect(await codeOf(valuesOf(reader, 't', 0))).toBe('corrupt_data');
    change(undefined);
    // Parts of up to four inline batches were kept as they arrived; what is refused is forgotten.
    for (let tries = 1; (await codeOf(valuesOf(reader, 't', 0))) === 'corrupt_data'; tries++)
      expect(tries).toBeLessThanOrEqual(APPENDS);
    expect(fetched()).toHaveLength(APPENDS);
    // The requests have brought the other parts too.
    for (const partition of ALL) expect(short(await valuesOf(reader, 't', partition))).toEqual(expectedOf(partition));
    expect(fetched()).toEqual([]);
  });

  it('fail all reads that wait for the same request, and a later read asks anew', async () => {
    const { reader, change } = await setUp(location);
    change(() => {
      throw new Error('lost');
    });
    const failed = await Promise.allSettled([valuesOf(reader, 't', 0), valuesOf(reader, 't', 1)]);
    expect(failed.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    change(undefined);
    expect(short(await valuesOf(reader, 't', 0))).toEqual(expectedOf(0));
  });

  it('that were read hold no memory of the others', async () => {
    const { reader } = await setUp(location);
    // The first comes with the request, the second was kept.
    for (const partition of [2, 3]) {
      const [found] = await reader.fetchPartitions({ ...READ, partitions: wanted([partition]) });
      if (!found?.ok) throw new Error('Not found.');
      for (const { bytes } of found.batches) expect(bytes.buffer.byteLength).toBeLessThanOrEqual(2 * bytes.length);
    }
  });
});

describe('a fetch plan', () => {
  it('has the parts of inline batches as they were appended, also after they were read', async () => {
    const { reader, fetched } = await setUp('inline');
    const plan = { topic: 't', partitions: ALL.map((partition) => ({ partition, offset: 0 })) };
    const before = await reader.planFetch(plan);
    expect(fetched()).toHaveLength(APPENDS);
    for (const partition of ALL) await valuesOf(reader, 't', partition);
    const after = await reader.planFetch(plan);
    for (const planned of [before, after])
      for (const { parts } of planned.partitions)
        for (const part of parts) {
          if (part.storage !== 'inline') throw new Error('Not inline.');
          expect(part.data.length).toBe(part.bytes);
          expect(readBatchHeader(part.data).baseOffset).toBe(0);
        }
    expect(after.partitions).toEqual(before.partitions);
  });
});

describe('the parts of an object that is larger than what is fetched as a whole', () => {
  it('are fetched one by one', async () => {
    const { reader, fetched } = await setUp('hot', { wholeDataBytesMax: 1_000 });
    const values = await valuesOf(reader, 't', 1);
    expect(short(values)).toEqual(expectedOf(1));
    expect(fetched()).toHaveLength(APPENDS);
    expect(requestsFor(reader, 'read').bytesRead).toBeLessThan(APPENDS * 500);
  });
});
