import fc from 'fast-check';
import type { LogRecord, RecordHeader } from '../../shared/log/batch/record.ts';

/** fast-check's own typed arrays may share a buffer at an offset; records accept any bytes. */
const someBytes = (maxLength: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ maxLength });

export const headerArbitrary: fc.Arbitrary<RecordHeader> = fc.record({
  key: fc.string({ unit: 'grapheme', maxLength: 12 }).filter((text) => text.isWellFormed()),
  value: fc.option(someBytes(20)),
});

export const recordArbitrary: fc.Arbitrary<LogRecord> = fc.record({
  timestampMs: fc.oneof(
    fc.integer({ min: 1_600_000_000_000, max: 1_800_000_000_000 }),
    fc.constant(-1),
    fc.maxSafeNat(),
  ),
  key: fc.option(someBytes(40)),
  value: fc.option(
    fc.oneof(
      someBytes(200),
      fc.integer({ min: 0, max: 5_000 }).map((length) => new Uint8Array(length)),
    ),
  ),
  headers: fc.array(headerArbitrary, { maxLength: 5 }),
});

export const recordsArbitrary = fc.array(recordArbitrary, { minLength: 1, maxLength: 30 });
