import { describe, expect, it } from 'vitest';
import { encodeBatch } from '../../../../shared/log/batch/record-batch.ts';
import { TIMESTAMP_MAX } from '../../../../shared/log/limits.ts';
import { checkProducedBatch } from '../../../../shared/log/topic/check-batch.ts';
import { edited } from '../../../support/batch-edit.ts';

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
