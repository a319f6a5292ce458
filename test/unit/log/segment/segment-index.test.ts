import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeBatch, NO_TIMESTAMP, placeBatch, readBatchHeader } from '../../../../shared/log/batch/record-batch.ts';
import { concatBytes } from '../../../../shared/log/bytes.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import { TIMESTAMP_MAX } from '../../../../shared/log/limits.ts';
import { joinAborted } from '../../../../shared/log/segment/aborted.ts';
import { SegmentBuilder } from '../../../../shared/log/segment/segment-builder.ts';
import {
  chunkAt,
  INDEX_BLOCK_BYTES,
  joinIndexes,
  packIndex,
  positionOfOffset,
  positionOfTime,
  type SegmentIndex,
  unpackIndex,
} from '../../../../shared/log/segment/segment-index.ts';
import { addHashes, batchBlockHash, batchHash, blockHash } from '../../../../shared/log/segment/set-hash.ts';

interface Batch {
  readonly bytes: number;
  readonly timestampMs: number;
  readonly gap: number;
}

/** Builds a segment of one-record batches, with sizes and times as given. */
function build(batches: readonly Batch[], from = 100) {
  const builder = new SegmentBuilder();
  const placed: { baseOffset: number; position: number; end: number; timestampMs: number }[] = [];
  let baseOffset = from;
  for (const { bytes, timestampMs, gap } of batches) {
    baseOffset += gap;
    const batch = encodeBatch([{ timestampMs, key: null, value: new Uint8Array(bytes), headers: [] }]);
    placeBatch(batch, 0, baseOffset);
    placed.push({ baseOffset, position: builder.bytes, end: builder.bytes + batch.length, timestampMs });
    builder.add(batch, readBatchHeader(batch), baseOffset);
    baseOffset += 1;
  }
  return { built: builder.finish(), placed };
}

/** The low half of the set hash of batches in `object`. */
function lowHash(object: Uint8Array, batches: readonly { readonly position: number }[]): number {
  const hashes = batches.map(({ position }) => {
    const header = readBatchHeader(object, position);
    return batchHash(header, header.baseOffset);
  });
  return Number(hashes.reduce(addHashes, 0n) & 0xffff_ffffn);
}

const batchesArbitrary = fc.array(
  fc.record({
    bytes: fc.oneof(fc.nat(500), fc.nat(2 * INDEX_BLOCK_BYTES)),
    timestampMs: fc.nat(1_000),
    gap: fc.constantFrom(0, 0, 0, 3),
  }),
  { minLength: 1, maxLength: 30 },
);

const indexArbitrary: fc.Arbitrary<SegmentIndex> = fc
  .tuple(
    fc.array(
      fc.tuple(fc.integer({ min: 1, max: 1e6 }), fc.integer({ min: 1, max: 1e6 }), fc.nat(1e9), fc.nat(2 ** 32 - 1)),
      {
        maxLength: 20,
      },
    ),
    fc.integer({ min: -2, max: 2e12 }),
    fc.array(
      fc.record({
        producerId: fc.nat(2 ** 40),
        firstOffset: fc.nat(2 ** 40),
        offsets: fc.integer({ min: 1, max: 1e6 }),
      }),
      {
        maxLength: 5,
      },
    ),
  )
  .map(([steps, from, transactions]) => {
    let [offset, position, maxTimestampMs] = [0, 0, from];
    const entries = steps.map(([offsets, bytes, ms, hash]) => {
      const entry = { offset, position, maxTimestampMs, hash };
      offset += offsets;
      position += bytes;
      maxTimestampMs += ms;
      return entry;
    });
    const ranges = transactions.map(({ producerId, firstOffset, offsets }) => {
      return { producerId, firstOffset, lastOffset: firstOffset + offsets };
    });
    return { entries, bytes: position, aborted: joinAborted([ranges]) };
  });

function isCorrupt(packed: Uint8Array): boolean {
  try {
    unpackIndex(packed);
    return false;
  } catch (error) {
    return error instanceof EventLogError && error.code === 'corrupt_data';
  }
}

describe('a segment', () => {
  it('is its batches, then index and footer, and its facts', () => {
    fc.assert(
      fc.property(batchesArbitrary, (batches) => {
        const { built, placed } = build(batches);
        const { facts, index } = built;
        const object = concatBytes(built.chunks);
        const last = placed.at(-1) as (typeof placed)[number];
        expect(object.length).toBe(facts.bytes + facts.indexBytes);
        expect(unpackIndex(object.subarray(facts.bytes))).toEqual(index);
        expect(facts).toMatchObject({
          startOffset: placed[0]?.baseOffset,
          endOffset: last.baseOffset + 1,
          bytes: last.end,
          maxTimestampMs: Math.max(...batches.map(({ timestampMs }) => timestampMs)),
        });
        const hashes = placed.map(({ position }) => {
          const header = readBatchHeader(object, position);
          return batchHash(header, header.baseOffset);
        });
        expect(hashes.reverse().reduce(addHashes, 0n)).toBe(facts.setHash);
      }),
      { numRuns: 30 },
    );
  });

  it('has an entry at 0 and one whenever 64 KiB follow the last', () => {
    const { built, placed } = build(
      [60_000, 10_000, 10, 200_000, 10].map((bytes, i) => ({
        bytes,
        timestampMs: [5, 9, 3, 4, 20][i] as number,
        gap: 0,
      })),
    );
    const object = concatBytes(built.chunks);
    const hashOf = (from: number, to: number): number => lowHash(object, placed.slice(from, to));
    expect(built.index.entries).toEqual([
      { offset: 100, position: 0, maxTimestampMs: 9, hash: hashOf(0, 2) },
      { offset: 102, position: placed[2]?.position, maxTimestampMs: 9, hash: hashOf(2, 4) },
      { offset: 104, position: placed[4]?.position, maxTimestampMs: 20, hash: hashOf(4, 5) },
    ]);
  });

  it('can cover more offsets than its batches, or no batch', () => {
    const builder = new SegmentBuilder();
    const { facts, index, chunks } = builder.finish({ startOffset: 7, endOffset: 9 });
    expect(facts).toMatchObject({ startOffset: 7, endOffset: 9, bytes: 0, maxTimestampMs: -2, setHash: 0n });
    expect(unpackIndex(concatBytes(chunks))).toEqual(index);
    expect(positionOfOffset(index, 8)).toBe(0);
    expect(chunkAt(index, 0, 1)).toBeUndefined();
    expect(() => new SegmentBuilder().finish()).toThrow('covers an offset');
  });

  it('takes batches only whole and in order', () => {
    const batch = encodeBatch([{ timestampMs: 1, key: null, value: null, headers: [] }]);
    const header = readBatchHeader(batch);
    const builder = new SegmentBuilder();
    expect(() => builder.add(batch.subarray(1), header, 5)).toThrow(EventLogError);
    builder.add(batch, header, 5);
    expect(() => builder.add(batch, header, 5)).toThrow(EventLogError);
    expect(() => builder.finish({ startOffset: 6, endOffset: 9 })).toThrow('covers its batches');
    expect(() => builder.finish({ startOffset: 5, endOffset: 5 })).toThrow('covers an offset');
  });
});

describe('an index', () => {
  it('comes back as it was, and any flipped bit is found', () => {
    fc.assert(
      fc.property(indexArbitrary, (index) => {
        const packed = packIndex(index);
        expect(unpackIndex(packed)).toEqual(index);
        for (let bit = 0; bit < packed.length * 8; bit++) {
          const damaged = packed.slice();
          damaged[bit >> 3] = (damaged[bit >> 3] as number) ^ (1 << (bit & 7));
          if (!isCorrupt(damaged)) throw new Error(`bit ${bit} may be flipped`);
        }
      }),
      { numRuns: 40 },
    );
  });

  it('is refused cut short or with a byte more', () => {
    const packed = packIndex({
      entries: [{ offset: 1, position: 0, maxTimestampMs: 3, hash: 4 }],
      bytes: 70,
      aborted: [],
    });
    for (let length = 0; length < packed.length; length++) {
      expect(isCorrupt(packed.subarray(0, length))).toBe(true);
      expect(isCorrupt(packed.subarray(packed.length - length))).toBe(true);
    }
    expect(isCorrupt(concatBytes([packed, Uint8Array.of(0)]))).toBe(true);
    expect(isCorrupt(concatBytes([Uint8Array.of(0), packed]))).toBe(true);
  });

  it.each([
    ['a first block that is not at 0', [{ offset: 1, position: 1, maxTimestampMs: 3, hash: 4 }], 9],
    ['no block, but bytes', [], 9],
    ['a block without bytes', [{ offset: 1, position: 0, maxTimestampMs: 3, hash: 4 }], 0],
    ['an offset twice', [0, 1].map((position) => ({ offset: 1, position, maxTimestampMs: 3, hash: 4 })), 9],
    [
      'an offset too large',
      [
        { offset: 1, position: 0, maxTimestampMs: 0, hash: 4 },
        { offset: 2 ** 53, position: 1, maxTimestampMs: 0, hash: 4 },
      ],
      9,
    ],
  ])('with %s is refused although its sums match', (_, entries, bytes) => {
    expect(isCorrupt(packIndex({ entries, bytes, aborted: [] }))).toBe(true);
  });

  it('leads to offsets and times', () => {
    fc.assert(
      fc.property(batchesArbitrary, fc.nat(1_001), (batches, timestampMs) => {
        const { built, placed } = build(batches);
        const { index } = built;
        for (const { baseOffset, position } of placed) {
          const at = positionOfOffset(index, baseOffset);
          const next = index.entries.find((entry) => entry.position > at)?.position ?? index.bytes;
          expect(at <= position && position < next).toBe(true);
        }
        expect(positionOfOffset(index, 0)).toBe(0);
        const first = placed.find((batch) => batch.timestampMs >= timestampMs);
        const at = positionOfTime(index, timestampMs);
        if (first === undefined) expect(at).toBeUndefined();
        else {
          const next = index.entries.find((entry) => entry.position > (at as number))?.position ?? index.bytes;
          expect((at as number) <= first.position && first.position < next).toBe(true);
        }
      }),
      { numRuns: 50 },
    );
  });

  it('has room for all times, after batches without one', () => {
    const times = [NO_TIMESTAMP, TIMESTAMP_MAX];
    const { built, placed } = build(times.map((timestampMs) => ({ bytes: INDEX_BLOCK_BYTES, timestampMs, gap: 0 })));
    const index = unpackIndex(packIndex(built.index));
    expect(index.entries.map(({ maxTimestampMs }) => maxTimestampMs)).toEqual(times);
    expect(positionOfTime(index, TIMESTAMP_MAX)).toBe(placed[1]?.position);
  });

  it('divides the batches into at most ceil(bytes / bytesMin) chunks', () => {
    fc.assert(
      fc.property(batchesArbitrary, fc.integer({ min: 1, max: 500_000 }), (batches, bytesMin) => {
        const { index, facts } = build(batches).built;
        let position = 0;
        let chunks = 0;
        for (let chunk = chunkAt(index, 0, bytesMin); chunk !== undefined; chunk = chunkAt(index, position, bytesMin)) {
          expect(chunk.start).toBe(position);
          expect(chunk.end - chunk.start >= bytesMin || chunk.end === facts.bytes).toBe(true);
          expect(chunkAt(index, chunk.end - 1, 1)?.end).toBe(chunk.end);
          position = chunk.end;
          chunks += 1;
        }
        expect(position).toBe(facts.bytes);
        expect(chunks).toBeLessThanOrEqual(Math.ceil(facts.bytes / bytesMin));
      }),
      { numRuns: 50 },
    );
  });

  it('of joined segments is the one that their batches have', () => {
    fc.assert(
      fc.property(batchesArbitrary, batchesArbitrary, batchesArbitrary, fc.nat(1_001), (a, b, c, timestampMs) => {
        const parts = [build(a, 0), build(b, 10_000), build(c, 20_000)];
        const joined = joinIndexes(parts.map(({ built }) => built.index));
        expect(unpackIndex(packIndex(joined))).toEqual(joined);
        expect(joined.bytes).toBe(parts.reduce((sum, { built }) => sum + built.facts.bytes, 0));
        let from = 0;
        const placed = parts.flatMap(({ placed: some, built }) => {
          const shifted = some.map((batch) => ({ ...batch, position: batch.position + from }));
          from += built.facts.bytes;
          return shifted;
        });
        for (const { baseOffset, position } of placed) {
          const at = positionOfOffset(joined, baseOffset);
          const next = joined.entries.find((entry) => entry.position > at)?.position ?? joined.bytes;
          expect(at <= position && position < next).toBe(true);
        }
        const object = concatBytes(
          parts.flatMap(({ built }) => concatBytes(built.chunks).subarray(0, built.facts.bytes)),
        );
        for (const [i, { offset, position, hash }] of joined.entries.entries()) {
          const end = joined.entries[i + 1]?.position ?? joined.bytes;
          const block = placed.filter((batch) => batch.position >= position && batch.position < end);
          expect(block[0]).toMatchObject({ baseOffset: offset, position });
          expect(hash).toBe(lowHash(object, block));
        }
        const first = placed.find((batch) => batch.timestampMs >= timestampMs);
        const at = positionOfTime(joined, timestampMs);
        if (first === undefined) expect(at).toBeUndefined();
        else {
          const next = joined.entries.find((entry) => entry.position > (at as number))?.position ?? joined.bytes;
          expect((at as number) <= first.position && first.position < next).toBe(true);
        }
      }),
      { numRuns: 30 },
    );
  });
});

describe('a batch hash', () => {
  const header = { lastOffsetDelta: 3, bytes: 100, crc: 0xdeadbeef };
  it('never changes, because it is persisted', () => {
    expect(batchHash({ lastOffsetDelta: 0, bytes: 61, crc: 0 }, 0).toString(16)).toMatchInlineSnapshot(
      `"a11ca1cec6b06893"`,
    );
    expect(batchHash(header, 2 ** 53 - 10).toString(16)).toMatchInlineSnapshot(`"f171a379a670ae2c"`);
  });

  it('changes about half of its bits with each bit of the input', () => {
    const changed = [
      ...Array.from({ length: 52 }, (_, bit) => [header, 2 ** bit] as const),
      ...Array.from({ length: 31 }, (_, bit) => [{ ...header, lastOffsetDelta: 3 ^ (1 << bit) }, 0] as const),
      ...Array.from({ length: 31 }, (_, bit) => [{ ...header, bytes: 100 ^ (1 << bit) }, 0] as const),
      ...Array.from({ length: 32 }, (_, bit) => [{ ...header, crc: (0xdeadbeef ^ (1 << bit)) >>> 0 }, 0] as const),
    ].map(([other, offset]) => batchHash(other, offset));
    const was = batchHash(header, 0);
    const counts = changed.map((hash) => [...(hash ^ was).toString(2)].filter((bit) => bit === '1').length);
    expect(Math.min(...counts)).toBeGreaterThan(10);
    expect(counts.reduce((sum, one) => sum + one) / counts.length).toBeGreaterThan(29);
    expect(counts.reduce((sum, one) => sum + one) / counts.length).toBeLessThan(35);
    expect(new Set(changed).size).toBe(changed.length);
  });

  it('has a low half that is computed without BigInt', () => {
    for (const offset of [0, 1, 2 ** 33 + 5, 2 ** 53 - 10]) {
      for (const crc of [0, 1, 0xdeadbeef]) {
        const other = { ...header, crc };
        expect(batchBlockHash(other, offset)).toBe(blockHash(batchHash(other, offset)));
      }
    }
  });

  it('adds up modulo 2^64', () => {
    expect(addHashes(2n ** 64n - 1n, 3n)).toBe(2n);
  });
});
