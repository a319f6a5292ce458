import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { encodeBatch, placeBatch, readBatchHeader } from '../../../../shared/log/batch/record-batch.ts';
import type { StoredBatch } from '../../../../shared/log/batch/stored-batch.ts';
import { markerOutcome, writeMarkerBatch } from '../../../../shared/log/batch/transaction-marker.ts';
import {
  AbortedBatches,
  type AbortedRange,
  abortedWithin,
  joinAborted,
} from '../../../../shared/log/segment/aborted.ts';
import type { CompactOptions } from '../../../../shared/log/segment/compact/compact-batch.ts';
import { CompactedTransactions } from '../../../../shared/log/segment/compact/compact-transactions.ts';

const NOW = 1_700_000_000_000;
const DAY = 86_400_000;
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

function stored(bytes: Uint8Array, baseOffset: number): StoredBatch {
  placeBatch(bytes, 0, baseOffset);
  const header = readBatchHeader(bytes);
  return { bytes, header, baseOffset, endOffset: baseOffset + header.lastOffsetDelta + 1 };
}

function data(baseOffset: number, producerId: number, keys: readonly string[], transactional = true): StoredBatch {
  const records = keys.map((key) => ({ timestampMs: 5, key: utf8(key), value: utf8('v'), headers: [] }));
  const producer = { producerId, producerEpoch: 0, baseSequence: 0 };
  return stored(encodeBatch(records, { producer, transactional }), baseOffset);
}

function marker(baseOffset: number, producerId: number, outcome: 'committed' | 'aborted' = 'committed'): StoredBatch {
  return stored(writeMarkerBatch({ producerId, producerEpoch: 1, outcome }, 5), baseOffset);
}

const options = (latest: { [key: string]: number } = {}, rest: Partial<CompactOptions> = {}): CompactOptions => ({
  map: { latestOffset: (key) => latest[new TextDecoder().decode(key)] },
  belowOffset: 1_000,
  nowMs: NOW,
  deleteRetentionMs: DAY,
  ...rest,
});
const NONE = new AbortedBatches([]);
const again = (bytes: Uint8Array | undefined, batch: StoredBatch): StoredBatch =>
  stored(bytes as Uint8Array, batch.baseOffset);

describe('compaction of transactions', () => {
  it('drops what was aborted, although it is the latest of its key, and nothing of the producer beside it', () => {
    const aborted = new AbortedBatches([
      { producerId: 7, firstOffset: 10, lastOffset: 20 },
      { producerId: 7, firstOffset: 30, lastOffset: 40 },
    ]);
    const pass = new CompactedTransactions();
    const isDropped = (batch: StoredBatch): boolean => pass.compact(batch, aborted, options()).bytes === undefined;
    expect([5, 10, 19, 21, 29, 30, 39, 41].map((offset) => isDropped(data(offset, 7, ['a'])))).toEqual([
      false,
      true,
      true,
      false,
      false,
      true,
      true,
      false,
    ]);
    expect(isDropped(data(15, 8, ['a']))).toBe(false);
    expect(isDropped(data(15, 7, ['a'], false))).toBe(false);
    expect(pass.compact(data(10, 7, ['a', 'b']), aborted, options())).toEqual({
      bytes: undefined,
      kept: 0,
      dropped: 2,
    });
    // What the pass does not compact stays.
    const kept = data(32, 7, ['a']);
    expect(pass.compact(kept, aborted, options({}, { belowOffset: 32 })).bytes).toBe(kept.bytes);
  });

  it.each(['committed', 'aborted'] as const)('keeps a marker while a batch of its transaction stays: %s', (outcome) => {
    const pass = new CompactedTransactions();
    pass.compact(data(10, 7, ['a', 'b']), NONE, options({ a: 50 }));
    const own = marker(12, 7, outcome);
    expect(pass.compact(own, NONE, options())).toEqual({ bytes: own.bytes, kept: 1, dropped: 0 });
    // The next transaction of the producer is another one.
    expect(pass.compact(marker(13, 7, outcome), NONE, options()).bytes).not.toBe(own.bytes);
  });

  it.each(['committed', 'aborted'] as const)('drops a marker when the time of readers is over: %s', (outcome) => {
    const first = new CompactedTransactions();
    expect(first.compact(data(10, 7, ['a']), NONE, options({ a: 50 })).bytes).toBeUndefined();
    const own = marker(11, 7, outcome);
    const stamped = first.compact(own, NONE, options());
    expect(stamped).toMatchObject({ kept: 1, dropped: 0, deleteHorizonMs: NOW + DAY });
    const later = again(stamped.bytes, own);
    expect(later.header).toMatchObject({
      deleteHorizonMs: NOW + DAY,
      control: true,
      transactional: true,
      producerId: 7,
    });
    expect(later.header).toMatchObject({ maxTimestamp: 5, baseOffset: 11 });
    expect(markerOutcome(later.bytes, later.header)).toBe(outcome);
    const at = (nowMs: number) => new CompactedTransactions().compact(later, NONE, options({}, { nowMs }));
    expect(at(NOW + DAY - 1)).toEqual({ bytes: later.bytes, kept: 1, dropped: 0, deleteHorizonMs: NOW + DAY });
    expect(at(NOW + DAY)).toEqual({ bytes: undefined, kept: 0, dropped: 1 });
  });

  it('leaves markers alone that the pass does not compact', () => {
    const own = marker(12, 7);
    const pass = new CompactedTransactions();
    expect(pass.compact(own, NONE, options({}, { belowOffset: 12 })).bytes).toBe(own.bytes);
    expect(pass.compact(own, NONE, options({}, { belowOffset: 13 })).bytes).not.toBe(own.bytes);
  });

  it('can be tried from a copy', () => {
    const pass = new CompactedTransactions();
    pass.compact(data(10, 7, ['a']), NONE, options());
    const own = marker(11, 7);
    pass.copy().compact(own, NONE, options());
    expect(pass.compact(own, NONE, options()).bytes).toBe(own.bytes);
  });

  it("reads markers of Kafka's own", () => {
    for (const [name, outcome] of [
      ['java-abort-marker', 'aborted'],
      ['java-commit-marker', 'committed'],
    ] as const) {
      const bytes = new Uint8Array(
        readFileSync(new URL(`../../../fixtures/record-batch/${name}.bin`, import.meta.url)),
      );
      const own = stored(bytes, 12);
      const { bytes: stamped } = new CompactedTransactions().compact(own, NONE, options());
      const later = again(stamped, own);
      expect(markerOutcome(later.bytes, later.header)).toBe(outcome);
    }
  });
});

describe('lists of aborted transactions', () => {
  const range = (firstOffset: number, lastOffset: number): AbortedRange => ({ producerId: 1, firstOffset, lastOffset });

  it('have what begins before a segment, or ends behind it', () => {
    const all = [range(0, 9), range(0, 10), range(8, 15), range(19, 30), range(20, 31), range(5, 40)];
    expect(abortedWithin(all, { startOffset: 10, endOffset: 20 })).toEqual([
      range(0, 10),
      range(8, 15),
      range(19, 30),
      range(5, 40),
    ]);
  });

  it('are joined in the order of markers, each transaction once', () => {
    expect(joinAborted([[range(0, 5), range(3, 12)], [], [range(8, 11), range(3, 12)]])).toEqual([
      range(0, 5),
      range(8, 11),
      range(3, 12),
    ]);
  });
});
