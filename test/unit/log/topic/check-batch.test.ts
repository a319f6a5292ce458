import { describe, expect, it } from 'vitest';
import { encodeBatch } from '../../../../shared/log/batch/record-batch.ts';
import { checkProducedBatch } from '../../../../shared/log/topic/check-batch.ts';
import { edited } from '../../../support/batch-edit.ts';

const T = 1_700_000_000_000;
const batch = encodeBatch([{ timestampMs: T, key: Uint8Array.of(1), value: null, headers: [] }]);

describe('a produced batch', () => {
  it('may have a tombstone, but no delete horizon', () => {
    expect(checkProducedBatch(batch, {}, T).records).toBe(1);
    const withHorizon = edited(batch, (view) => view.setInt16(21, view.getInt16(21) | 0x40));
    expect(() => checkProducedBatch(withHorizon, {}, T)).toThrow(
      'The record batch cannot be appended: it has a delete horizon (attribute bit 6), which only compaction sets.',
    );
  });
});
