import { describe, expect, it } from 'vitest';
import { keepPart, readPart } from '../../../../shared/broker/data/read-part.ts';
import { makeContext } from '../../../../shared/broker/make-context.ts';
import type { BrokerSettings } from '../../../../shared/broker/settings.ts';
import { encodeBatch } from '../../../../shared/log/batch/record-batch.ts';
import { recordsOf } from '../../../../shared/log/batch/stored-batch.ts';
import { concatBytes } from '../../../../shared/log/bytes.ts';
import { makeBatchId } from '../../../../shared/log/head/batch-id.ts';
import type { Entry } from '../../../../shared/log/head/entry.ts';
import { INLINE_BATCH, inlineBatchKey } from '../../../../shared/storage/keys.ts';
import { bytes, memoryStores, SeededRandom, text } from '../../../support/memory-broker.ts';

const VALUE_BYTES = 1_000;
const NAME = { topicId: 'id', headNumber: 0 };

async function setUp(settings: Partial<BrokerSettings> = {}) {
  const { objects, items, clock } = memoryStores();
  const random = new SeededRandom(1);
  const context = makeContext({ objects, items, clock, random, settings });
  const batches = ['a', 'b', 'c', 'd'].map((value) =>
    encodeBatch([{ key: null, value: bytes(value.repeat(VALUE_BYTES)), headers: [], timestampMs: 0 }]),
  );
  const batchId = makeBatchId(random.bytes(16), clock.nowMs());
  const key = inlineBatchKey(NAME.topicId, NAME.headNumber, batchId);
  await items.put(key, { [INLINE_BATCH.data]: concatBytes(batches) });
  const length = (batches[0] as Uint8Array).length;
  const entryOf = (slots: readonly number[]): Entry => ({
    ...{ batchId, location: 'inline', onceKeys: 0, share: undefined },
    parts: slots.map((slot) => ({ slot, records: 1, position: slot * length, bytes: length, maxTimestampMs: 0 })),
  });
  const placedIn = (entry: Entry, index: number) => {
    const part = entry.parts[index] as Entry['parts'][number];
    return { entryNumber: 0, entry, part, baseOffset: 7 };
  };
  const read = (entry: Entry, index: number) =>
    readPart(context, context.usage.of('t', 'read'), NAME, placedIn(entry, index));
  const requests = (): number => context.usage.rows().reduce((sum, { counts }) => sum + counts.getItem, 0);
  return { context, batches, entryOf, placedIn, read, requests };
}

describe('entries that share the data of one group', () => {
  it('are read at the same time, each with its own parts', async () => {
    const { entryOf, read } = await setUp();
    const [first, second] = [entryOf([0, 2]), entryOf([1, 3])];
    const readValue = async (entry: Entry, index: number): Promise<string> => {
      const [batch] = await read(entry, index);
      if (batch === undefined) throw new Error('There is no batch.');
      expect(batch.baseOffset).toBe(7);
      return recordsOf(batch)
        .map(({ value }) => text(value).slice(0, 1))
        .join();
    };
    expect(await Promise.all([readValue(first, 0), readValue(second, 0), readValue(first, 1)])).toEqual([
      'a',
      'b',
      'c',
    ]);
    expect(await Promise.all([readValue(second, 1), readValue(first, 1)])).toEqual(['d', 'c']);
  });
});

describe('a part', () => {
  it('holds no memory of the others, whether it was fetched or kept', async () => {
    const { batches, entryOf, read, requests } = await setUp();
    const entry = entryOf([0, 1, 2, 3]);
    for (const index of [2, 1, 3]) {
      const [batch] = await read(entry, index);
      expect(batch?.bytes.buffer.byteLength).toBe(batches[index]?.length);
    }
    expect(requests()).toBe(1);
  });

  it('is not kept where there is no room to read ahead, so that it drops no other data', async () => {
    // Half of it is for what is read ahead, and three quarters for that and all other data.
    const { entryOf, read, requests } = await setUp({ cacheBytesMax: 6 * VALUE_BYTES });
    const entry = entryOf([0, 1, 2, 3]);
    await read(entry, 0);
    await read(entry, 3);
    expect(requests()).toBe(2);
  });

  it('stays in memory when another part of its entry is fetched', async () => {
    const { context, batches, entryOf, placedIn, read } = await setUp();
    const entry = entryOf([0, 1, 2, 3]);
    keepPart(context, (batches[0] as Uint8Array).slice(), NAME, placedIn(entry, 0));
    const kept = await read(entry, 0);
    await read(entry, 1);
    expect(await read(entry, 0)).toBe(kept);
  });
});
