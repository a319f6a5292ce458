import { describe, expect, it } from 'vitest';
import { splitBatches } from '../../../../shared/http/append/record-batches.ts';
import { encodeBatch } from '../../../../shared/log/batch/record-batch.ts';
import { concatBytes } from '../../../../shared/log/bytes.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import { BATCHES_PER_REQUEST_MAX } from '../../../../shared/log/limits.ts';

const batch = (value: string): Uint8Array =>
  encodeBatch([{ timestampMs: 1, key: null, value: new TextEncoder().encode(value), headers: [] }]);

function codeOf(body: Uint8Array): string | undefined {
  try {
    splitBatches(body);
  } catch (error) {
    if (error instanceof EventLogError) return error.code;
    throw error;
  }
  return undefined;
}

describe('record batches back to back', () => {
  it('are cut where each ends', () => {
    const batches = [batch('a'), batch('bbb'), batch('')];
    // The body may be a view on something larger.
    const whole = concatBytes([new Uint8Array(7), ...batches]).subarray(7);
    expect(splitBatches(whole)).toEqual(batches);
  });

  it('are refused where the last one is cut short', () => {
    const whole = concatBytes([batch('a'), batch('b')]);
    for (let length = 1; length < whole.length; length++) {
      if (length === batch('a').length) continue;
      expect(codeOf(whole.subarray(0, length))).toBe('invalid_batch');
    }
    expect(codeOf(new Uint8Array(0))).toBe('invalid_batch');
  });

  it.each([-1, -2_147_483_648, 2_147_483_647])('are refused with the length %d', (length) => {
    const broken = batch('a').slice();
    new DataView(broken.buffer).setInt32(8, length);
    expect(codeOf(broken)).toBe('invalid_batch');
  });

  it('are at most so many, also where they are nothing but headers', () => {
    expect(codeOf(new Uint8Array(12 * (BATCHES_PER_REQUEST_MAX + 1)))).toBe('request_too_large');
  });
});
