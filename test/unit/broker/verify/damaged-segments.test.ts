import { describe, expect, it } from 'vitest';
import { readBatchHeader } from '../../../../shared/log/batch/record-batch.ts';
import { concatBytes } from '../../../../shared/log/bytes.ts';
import { invariant } from '../../../../shared/log/errors.ts';
import { SegmentBuilder } from '../../../../shared/log/segment/segment-builder.ts';
import { packIndex, unpackIndex } from '../../../../shared/log/segment/segment-index.ts';
import * as keys from '../../../../shared/storage/keys.ts';
import { edited } from '../../../support/batch-edit.ts';
import { type Damage, DamagedLog, findPlanted } from '../../../support/damaged-log.ts';
import { shapedLog, verifyAll } from '../../../support/shaped-log.ts';

/** Positions in the header of a batch: what its CRC covers, and what it does not. */
const HEADER: Readonly<Record<string, number>> = {
  'base offset': 7,
  'base offset, by a lot': 0,
  length: 11,
  'leader epoch': 15,
  magic: 16,
  crc: 20,
  attributes: 22,
  'last offset delta': 26,
  'base timestamp': 34,
  'largest timestamp': 42,
  'producer id': 50,
  'record count': 60,
  payload: 64,
};

const flips: Damage[] = Object.entries(HEADER).map(([field, at]) => ({
  name: `a flipped bit in the ${field} of a segment's batch`,
  async plant(_, damaged) {
    const { key, startOffset } = await damaged.lastSegment();
    // The second batch.
    const position = readBatchHeader(await damaged.object(key)).bytes;
    await damaged.flip(key, position + at);
    return [{ kind: 'damaged_segment', partition: 0, storedAs: key, offset: startOffset }];
  },
}));

/** Positions after the batches, from the end of the object. */
const END: Readonly<Record<string, (indexBytes: number) => number>> = {
  'index version': (indexBytes) => indexBytes,
  'an offset in the index': (indexBytes) => indexBytes - 2,
  'footer magic': () => 25,
  'footer version': () => 21,
  'length of the index': () => 17,
  'length of the batches': () => 9,
  'CRC of the index': () => 5,
  'CRC of the footer': () => 1,
};

const endFlips: Damage[] = Object.entries(END).map(([field, fromEnd]) => ({
  name: `a flipped bit in the ${field} of a segment`,
  async plant(_, damaged) {
    const { key, bytes, indexBytes, startOffset } = await damaged.lastSegment();
    await damaged.flip(key, bytes + indexBytes - fromEnd(indexBytes));
    return [{ kind: 'damaged_segment', partition: 0, storedAs: key, position: bytes, offset: startOffset }];
  },
}));

const cut = (name: string, to: (bytes: number, indexBytes: number) => number): Damage => ({
  name,
  async plant(_, damaged) {
    const { key, bytes, indexBytes } = await damaged.lastSegment();
    await damaged.changeObject(key, (whole) => whole.slice(0, to(bytes, indexBytes)));
    return [{ kind: 'damaged_segment', storedAs: key, position: bytes }];
  },
});

/** Changes the records of the second batch so that they do not decode, and its CRC with them. */
function changeSecond([first, second, ...others]: Uint8Array[]): Uint8Array[] {
  invariant(first !== undefined && second !== undefined, 'the segment has two batches');
  return [first, edited(second, (view) => view.setUint8(61, view.getUint8(61) ^ 2)), ...others];
}

/**
 * Rewrites the last segment of partition 0, so that its batches agree with its index but not with what was appended.
 * `listed`: the segment list agrees with them too.
 */
async function rewrite(damaged: DamagedLog, change: (batches: Uint8Array[]) => Uint8Array[], listed: boolean) {
  const { key, bytes, startOffset, endOffset } = await damaged.lastSegment();
  const whole = await damaged.object(key);
  const batches: Uint8Array[] = [];
  for (let at = 0; at < bytes; ) {
    const batch = readBatchHeader(whole, at);
    batches.push(whole.slice(at, at + batch.bytes));
    at += batch.bytes;
  }
  const builder = new SegmentBuilder();
  for (const batch of change(batches)) {
    const header = readBatchHeader(batch);
    builder.add(batch, header, header.baseOffset);
  }
  const { chunks, facts } = builder.finish({ startOffset, endOffset });
  await damaged.changeObject(key, () => concatBytes(chunks));
  if (listed) await damaged.changeLastSegment(() => facts);
  return { key, startOffset };
}

const damages: Damage[] = [
  ...flips,
  ...endFlips,
  cut('a segment without its last byte', (bytes, indexBytes) => bytes + indexBytes - 1),
  cut('a segment without its index', (bytes) => bytes),
  cut('a segment without its last batch', (bytes) => bytes - 10),
  cut('an empty segment', () => 0),
  {
    name: 'a segment with a byte too many',
    async plant(_, damaged) {
      const { key } = await damaged.lastSegment();
      await damaged.changeObject(key, (whole) => concatBytes([whole, Uint8Array.of(0)]));
      return [
        { kind: 'damaged_segment', storedAs: key, message: expect.stringContaining('longer') as unknown as string },
      ];
    },
  },
  {
    name: 'a missing segment',
    async plant(_, damaged) {
      const { key, startOffset } = await damaged.lastSegment();
      await damaged.changeObject(key, () => undefined);
      return [{ kind: 'missing_segment', partition: 0, storedAs: key, offset: startOffset }];
    },
  },
  {
    name: 'two swapped segments',
    async plant({ topicId }, damaged) {
      const segments = ((await damaged.list()).slots[0]?.segments ?? []).slice(-2);
      const names = segments.map(({ startOffset, version }) => keys.segmentObjectKey(topicId, 0, startOffset, version));
      const [one = '', two = ''] = names;
      const [first, second] = [await damaged.object(one), await damaged.object(two)];
      await damaged.changeObject(one, () => second);
      await damaged.changeObject(two, () => first);
      return [
        { kind: 'damaged_segment', storedAs: one },
        { kind: 'damaged_segment', storedAs: two },
      ];
    },
  },
  {
    name: 'a segment in which a batch is doubled in place of the next',
    async plant(_, damaged) {
      const { key, bytes, startOffset } = await damaged.lastSegment();
      await damaged.changeObject(key, (whole) => {
        // The second and the third batch are alike in size.
        const first = readBatchHeader(whole);
        const second = readBatchHeader(whole, first.bytes);
        const third = first.bytes + second.bytes;
        if (third + second.bytes <= bytes) whole.copyWithin(third, first.bytes, third);
        return whole;
      });
      return [{ kind: 'damaged_segment', storedAs: key, offset: startOffset }];
    },
  },
  {
    name: 'a segment without one batch, as if it had never been there',
    async plant(_, damaged) {
      const { startOffset } = await rewrite(damaged, (batches) => batches.filter((_, i) => i !== 2), true);
      return [{ kind: 'gap', partition: 0, offset: startOffset + 2 }];
    },
  },
  {
    name: 'a segment whose last batch is lost, as if it had never been there',
    async plant(_, damaged) {
      const { startOffset } = await rewrite(damaged, (batches) => batches.slice(0, -1), true);
      return [{ kind: 'gap', partition: 0, offset: startOffset + 7 }];
    },
  },
  {
    name: 'a segment with another batch of the same length, whose own index agrees with it',
    async plant(_, damaged) {
      const { key } = await rewrite(damaged, changeSecond, false);
      return [{ kind: 'damaged_segment', storedAs: key }];
    },
  },
  {
    name: 'a segment whose index has a wrong timestamp',
    async plant(_, damaged) {
      const { key, bytes } = await damaged.lastSegment();
      const whole = await damaged.object(key);
      const { entries, aborted } = unpackIndex(whole.subarray(bytes));
      const changed = entries.map((entry) => ({ ...entry, maxTimestampMs: entry.maxTimestampMs + 1 }));
      const packed = packIndex({ bytes, entries: changed, aborted });
      await damaged.changeObject(key, () => concatBytes([whole.subarray(0, bytes), packed]));
      await damaged.changeLastSegment(() => ({ indexBytes: packed.length }));
      return changed.map(({ position }) => ({ kind: 'wrong_timestamp', storedAs: key, position }));
    },
  },
  {
    name: 'a wrong set hash in the list',
    async plant(_, damaged) {
      const { key, startOffset } = await damaged.lastSegment();
      await damaged.changeLastSegment(({ setHash }) => ({ setHash: setHash ^ (1n << 40n) }));
      return [{ kind: 'wrong_set_hash', storedAs: key, offset: startOffset }];
    },
  },
  {
    name: 'a wrong set hash in the list, in the half that the index knows',
    async plant(_, damaged) {
      const { key } = await damaged.lastSegment();
      await damaged.changeLastSegment(({ setHash }) => ({ setHash: setHash ^ 1n }));
      return [{ kind: 'damaged_segment', storedAs: key }];
    },
  },
  {
    name: 'a wrong largest timestamp in the list',
    async plant(_, damaged) {
      const { key } = await damaged.lastSegment();
      await damaged.changeLastSegment(({ maxTimestampMs }) => ({ maxTimestampMs: maxTimestampMs - 1 }));
      return [{ kind: 'wrong_timestamp', storedAs: key }];
    },
  },
];

describe('a verification finds', () => {
  it.each(damages)('$name', async ({ plant }) => {
    const { expected, problems } = await findPlanted(plant);
    expect(problems).toMatchObject(expected);
  });

  it('records that do not decode, if it looks that deep', async () => {
    const log = await shapedLog();
    const { key, startOffset } = await rewrite(new DamagedLog(log), changeSecond, true);
    expect((await verifyAll(log.broker)).problems).toEqual([]);
    for (const maxBytes of [undefined, 1])
      expect((await verifyAll(log.broker, { deep: true, maxBytes })).problems).toMatchObject([
        { kind: 'damaged_segment', partition: 0, storedAs: key, offset: startOffset + 1 },
      ]);
  });

  it('nothing below the log start', async () => {
    const log = await shapedLog();
    const damaged = new DamagedLog(log);
    const segment = (await damaged.list()).slots[1]?.segments[0];
    const key = keys.segmentObjectKey(log.topicId, 1, segment?.startOffset ?? 0, segment?.version ?? 0);
    await damaged.changeObject(key, () => undefined);
    expect((await verifyAll(log.broker)).problems).toMatchObject([
      { kind: 'missing_segment', partition: 1, offset: 128 },
    ]);
    await damaged.changeItem(keys.headKey(log.topicId, 0), (attributes) => ({
      ...attributes,
      [keys.HEAD.start(1)]: segment?.endOffset ?? 0,
    }));
    expect((await verifyAll(log.broker)).problems).toEqual([]);
  });
});
