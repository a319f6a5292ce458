import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { COMPRESSIONS } from '../../../../shared/log/batch/codecs.ts';
import type { LogRecord, StoredRecord } from '../../../../shared/log/batch/record.ts';
import { decodeRecords, encodeBatch, placeBatch, readBatchHeader } from '../../../../shared/log/batch/record-batch.ts';
import { compactBatch } from '../../../../shared/log/segment/compact/compact-batch.ts';
import { OFFSET_MAP_SLOT_BYTES, OffsetMap } from '../../../../shared/log/segment/compact/offset-map.ts';
import { headerArbitrary } from '../../../support/arbitraries.ts';

const T = 1_700_000_000_000;

/** A partition as the compaction job sees it: batches, and how far they are compacted. */
class Partition {
  batches: Uint8Array[] = [];
  endOffset = 0;
  compactedOffset = 0;

  append(batch: Uint8Array): void {
    placeBatch(batch, 0, this.endOffset);
    this.endOffset += readBatchHeader(batch).lastOffsetDelta + 1;
    this.batches.push(batch);
  }

  records(): StoredRecord[] {
    return this.batches.flatMap((batch) => decodeRecords(batch, 0, readBatchHeader(batch)).map(plain));
  }

  /** As many passes as it takes with a map of this size. */
  compact(map: OffsetMap, nowMs: number, deleteRetentionMs: number): void {
    do {
      map.clear();
      const belowOffset = this.fill(map);
      this.batches = this.batches
        .map((batch) => compactBatch(batch, { map, belowOffset, nowMs, deleteRetentionMs }).bytes)
        .filter((bytes) => bytes !== undefined);
      this.compactedOffset = belowOffset;
    } while (this.compactedOffset < this.endOffset);
  }

  private fill(map: OffsetMap): number {
    for (const { key, offset } of this.records()) {
      if (offset >= this.compactedOffset && key !== null && !map.put(key, offset)) return offset;
    }
    return this.endOffset;
  }
}

/** zlib answers with buffers, which equal no plain array of bytes. */
function plain(record: StoredRecord): StoredRecord {
  const copy = (bytes: Uint8Array | null): Uint8Array | null => (bytes === null ? null : new Uint8Array(bytes));
  const headers = record.headers.map(({ key, value }) => ({ key, value: copy(value) }));
  return { ...record, key: copy(record.key), value: copy(record.value), headers };
}

const keyed = fc.integer({ min: 0, max: 9 }).map((name) => Uint8Array.of(name));
const recordArbitrary: fc.Arbitrary<LogRecord> = fc.record({
  timestampMs: fc.oneof(fc.integer({ min: T, max: T + 10_000 }), fc.constant(-1), fc.maxSafeNat()),
  key: fc.option(keyed, { freq: 8 }),
  value: fc.option(fc.uint8Array({ maxLength: 5 }), { freq: 2 }),
  headers: fc.array(headerArbitrary, { maxLength: 2 }),
});
const batchArbitrary = fc.record({
  records: fc.array(recordArbitrary, { minLength: 1, maxLength: 8 }),
  compression: fc.constantFrom(...COMPRESSIONS),
  logAppendTimeMs: fc.option(fc.constant(T + 3), { nil: undefined, freq: 5 }),
});
const roundArbitrary = fc.record({
  batches: fc.array(batchArbitrary, { maxLength: 5 }),
  waitMs: fc.integer({ min: 0, max: 100 }),
});

describe('compaction', () => {
  it('keeps the latest record of each key, in any number of passes and rounds', () => {
    fc.assert(
      fc.property(
        fc.array(roundArbitrary, { minLength: 1, maxLength: 5 }),
        fc.integer({ min: 2, max: 12 }),
        fc.integer({ min: 1, max: 150 }),
        (rounds, slots, deleteRetentionMs) => {
          const partition = new Partition();
          const map = new OffsetMap(slots * OFFSET_MAP_SLOT_BYTES);
          const appended: StoredRecord[] = [];
          /** When each record was first compacted: a tombstone that is still the latest then has its horizon. */
          const compactedAtMs: number[] = [];
          let nowMs = T;
          for (const { batches, waitMs } of rounds) {
            for (const { records, ...options } of batches) {
              for (const record of records) {
                const timestampMs = options.logAppendTimeMs ?? record.timestampMs;
                appended.push({ ...record, timestampMs, offset: appended.length });
              }
              partition.append(encodeBatch(records, options));
            }
            nowMs += waitMs;
            for (let i = compactedAtMs.length; i < appended.length; i++) compactedAtMs.push(nowMs);

            partition.compact(map, nowMs, deleteRetentionMs);

            // The model: the last record of each key, except tombstones whose time is over.
            const latest = new Map<string, StoredRecord>();
            for (const record of appended) if (record.key !== null) latest.set(record.key.join(), record);
            const expected = [...latest.values()]
              .filter(
                ({ value, offset }) => value !== null || nowMs < Number(compactedAtMs[offset]) + deleteRetentionMs,
              )
              .sort((a, b) => a.offset - b.offset);
            expect(partition.records()).toEqual(expected);

            const before = partition.batches;
            partition.compact(map, nowMs, deleteRetentionMs);
            expect(partition.batches).toEqual(before);
            expect(partition.batches.every((batch, i) => batch === before[i])).toBe(true);
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});
