import lz4js from 'lz4js';
import { describe, expect, it } from 'vitest';
import { decodeRecords, encodeBatch, readBatchHeader } from '../../../../shared/log/batch/record-batch.ts';
import { TIMESTAMP_MAX } from '../../../../shared/log/limits.ts';
import { checkProducedBatch } from '../../../../shared/log/topic/check-batch.ts';
import { edited, setCompression, withPayload } from '../../../support/batch-edit.ts';

const T = 1_700_000_000_000;
const batch = encodeBatch([{ timestampMs: T, key: Uint8Array.of(1), value: null, headers: [] }]);

describe('a produced batch', () => {
  it.each(['compact', 'compact,delete'])('has a key in each record if the policy is %s', (policy) => {
    const config = { 'cleanup.policy': policy };
    expect(checkProducedBatch(batch, config, T).records).toBe(1);
    const records = [Uint8Array.of(1), new Uint8Array(0), null].map((key) => ({
      ...{ timestampMs: T, key, value: null, headers: [] },
    }));
    const lacking = encodeBatch(records);
    expect(checkProducedBatch(lacking, { 'cleanup.policy': 'delete' }, T).records).toBe(3);
    expect(() => checkProducedBatch(lacking, config, T)).toThrow('record 2 has no key, and the topic is compacted');
  });

  it('is packed again if its lz4 blocks are linked, which Kafka’s Java client cannot read', () => {
    const records = Array.from({ length: 2_000 }, (_, i) => ({
      ...{ timestampMs: T + i, key: null, value: new TextEncoder().encode(`value ${i} `.repeat(9)), headers: [] },
    }));
    const producer = { producerId: 7, producerEpoch: 1, baseSequence: 5 };
    const plain = encodeBatch(records, { producer });
    const library = lz4js as unknown as { compress(content: Uint8Array): Uint8Array };
    const linked = edited(withPayload(plain, library.compress(plain.subarray(61))), (view) => setCompression(view, 3));
    const flagsOf = (bytes: Uint8Array): number => (bytes[61 + 4] as number) & 0x20;
    expect(flagsOf(linked)).toBe(0);
    const { data, maxTimestampMs } = checkProducedBatch(linked, {}, T);
    expect(flagsOf(data)).toBe(0x20);
    const header = readBatchHeader(data);
    expect(header).toMatchObject({ ...producer, compression: 'lz4', recordCount: 2_000, maxTimestamp: maxTimestampMs });
    expect(decodeRecords(data, 0, header)).toEqual(decodeRecords(plain, 0, readBatchHeader(plain)));
    const independent = encodeBatch(records, { producer, compression: 'lz4' });
    expect(checkProducedBatch(independent, {}, T).data).toBe(independent);
  });

  it('has no time that is too far from "none" for an exact integer', () => {
    const config = { 'message.timestamp.after.max.ms': Number.MAX_SAFE_INTEGER };
    const at = (timestampMs: number) => encodeBatch([{ timestampMs, key: null, value: null, headers: [] }]);
    expect(checkProducedBatch(at(TIMESTAMP_MAX), config, T).maxTimestampMs).toBe(TIMESTAMP_MAX);
    expect(() => checkProducedBatch(at(TIMESTAMP_MAX + 1), config, T)).toThrow(`accepts 0 to ${TIMESTAMP_MAX}`);
  });

  it('may have a tombstone, but no delete horizon', () => {
    expect(checkProducedBatch(batch, {}, T).records).toBe(1);
    const withHorizon = edited(batch, (view) => view.setInt16(21, view.getInt16(21) | 0x40));
    expect(() => checkProducedBatch(withHorizon, {}, T)).toThrow(
      'The record batch cannot be appended: it has a delete horizon (attribute bit 6), which only compaction sets.',
    );
  });
});
