import { brotliCompressSync, gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { COMPRESSIONS } from '../../../../shared/log/batch/codecs.ts';
import { compress } from '../../../../shared/log/batch/compression.ts';
import type { LogRecord } from '../../../../shared/log/batch/record.ts';
import {
  decodeRecords,
  encodeBatch,
  placeBatch,
  readBatchHeader,
  withTimestamps,
} from '../../../../shared/log/batch/record-batch.ts';
import { BATCH_HEADER_BYTES, recordBytesBound } from '../../../../shared/log/batch/write-batch.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import { BATCH_UNCOMPRESSED_BYTES_MAX, HEADERS_PER_RECORD_MAX } from '../../../../shared/log/limits.ts';
import { recordsArbitrary } from '../../../support/arbitraries.ts';
import { edited, setCompression, withPayload } from '../../../support/batch-edit.ts';

const T = 1_700_000_000_000;
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const sample: LogRecord[] = [
  { timestampMs: T, key: utf8('key'), value: utf8('value'), headers: [{ key: 'h', value: utf8('x') }] },
  { timestampMs: T + 1, key: null, value: utf8('another value'), headers: [] },
  { timestampMs: T - 1, key: utf8('z'), value: null, headers: [{ key: 'n', value: null }] },
];
const compressionArbitrary = fc.constantFrom(...COMPRESSIONS);

/** Decodes as an append does; `undefined` where the batch is refused for what it is. Anything else that is thrown fails. */
function tryDecode(bytes: Uint8Array): ReturnType<typeof decodeRecords> | undefined {
  try {
    const header = readBatchHeader(bytes);
    return decodeRecords(bytes, 0, header);
  } catch (error) {
    if (error instanceof EventLogError && error.code === 'invalid_batch') return undefined;
    throw error;
  }
}

function plain(bytes: Uint8Array | null): Uint8Array | null {
  return bytes === null ? null : new Uint8Array(bytes);
}

function expectRefused(bytes: Uint8Array): void {
  expect(tryDecode(bytes)).toBeUndefined();
}

describe('a record batch', () => {
  it('comes back as it was, with every codec', () => {
    fc.assert(
      fc.property(recordsArbitrary, compressionArbitrary, fc.maxSafeNat(), (records, compression, baseOffset) => {
        const base = Math.min(baseOffset, Number.MAX_SAFE_INTEGER - records.length);
        const batch = encodeBatch(records, { compression });
        placeBatch(batch, 0, base);
        const header = readBatchHeader(batch);
        expect(header).toMatchObject({
          baseOffset: base,
          bytes: batch.length,
          compression,
          lastOffsetDelta: records.length - 1,
          recordCount: records.length,
          producerId: -1,
          partitionLeaderEpoch: 0,
          maxTimestamp: Math.max(...records.map((record) => record.timestampMs)),
        });
        // zlib answers with buffers, which equal no plain array of bytes.
        const decoded = decodeRecords(batch, 0, header).map((record) => ({
          ...record,
          key: plain(record.key),
          value: plain(record.value),
          headers: record.headers.map(({ key, value }) => ({ key, value: plain(value) })),
        }));
        expect(decoded).toEqual(records.map((record, i) => ({ ...record, offset: base + i })));
      }),
      { numRuns: 300 },
    );
  });

  it('is never larger, uncompressed, than the bound that requests are measured by', () => {
    fc.assert(
      fc.property(recordsArbitrary, (records) => {
        const bound = records.reduce((sum, record) => sum + recordBytesBound(record), BATCH_HEADER_BYTES);
        expect(encodeBatch(records).length).toBeLessThanOrEqual(bound);
      }),
    );
  });

  it.each(COMPRESSIONS)('is refused with any single byte changed from the CRC on (%s)', (compression) => {
    const batch = encodeBatch(sample, { compression });
    for (let at = 17; at < batch.length; at++) {
      for (const mask of [0x01, 0x80, 0xff]) expectRefused(batch.map((byte, i) => (i === at ? byte ^ mask : byte)));
    }
  });

  it.each(COMPRESSIONS)(
    'is refused cut short anywhere, also when the length and the CRC say so (%s)',
    (compression) => {
      const batch = encodeBatch(sample, { compression });
      for (let length = 0; length < batch.length; length++) {
        const cut = batch.slice(0, length);
        expectRefused(cut);
        if (length >= BATCH_HEADER_BYTES) expectRefused(edited(cut, (view) => view.setInt32(8, length - 12)));
      }
    },
  );

  it('is refused where it lies about itself and has the CRC for it', () => {
    for (const compression of COMPRESSIONS) {
      const batch = encodeBatch(sample, { compression });
      const lies: ((view: DataView) => void)[] = [
        ...[-128, -1, 0, 1, 3, 127].map((magic) => (view: DataView) => view.setInt8(16, magic)),
        ...[-2_147_483_648, -12, -1, 0, 48, batch.length - 11, batch.length + 5, 2_147_483_647].map(
          (length) => (view: DataView) => view.setInt32(8, length),
        ),
        ...[-1, -2_147_483_648, 0, 1, 2, 4, 100_000, 100_001, 2_147_483_647].map(
          (count) => (view: DataView) => view.setInt32(57, count),
        ),
        ...[-1, 0, 1, -2_147_483_648].map((delta) => (view: DataView) => view.setInt32(23, delta)),
        ...[5, 6, 7].map((code) => (view: DataView) => setCompression(view, code)),
        (view) => view.setBigInt64(27, 2n ** 63n - 1n),
        (view) => view.setBigInt64(27, BigInt(Number.MAX_SAFE_INTEGER)),
        (view) => view.setBigInt64(35, -(2n ** 63n)),
        (view) => view.setBigInt64(43, 2n ** 60n),
        (view) => view.setBigInt64(0, 2n ** 62n),
      ];
      for (const lie of lies) expectRefused(edited(batch, lie));
    }
  });

  it('is refused where a record in it lies', () => {
    const batch = encodeBatch([{ timestampMs: T, key: null, value: utf8('v'), headers: [] }]);
    const record = (...bytes: number[]): Uint8Array => withPayload(batch, Uint8Array.from(bytes));
    // length, attributes, timestamp delta, offset delta, key, value length, value, headers
    expect(tryDecode(record(14, 0, 0, 0, 1, 2, 0x76, 0))).toHaveLength(1);
    const refused = [
      record(),
      record(12, 0, 0, 0, 1, 2, 0x76, 0),
      record(16, 0, 0, 0, 1, 2, 0x76, 0),
      record(1, 0, 0, 0, 1, 2, 0x76, 0),
      record(14, 0, 0, 1, 1, 2, 0x76, 0),
      record(14, 0, 0, 2, 1, 2, 0x76, 0),
      record(14, 0, 0, 0, 3, 2, 0x76, 0),
      record(14, 0, 0, 0, 1, 4, 0x76, 0),
      record(14, 0, 0, 0, 1, 3, 0x76, 0),
      record(14, 0, 0, 0, 1, 2, 0x76, 1),
      record(14, 0, 0, 0, 1, 2, 0x76, 2),
      record(14, 0, 0, 0, 1, 2, 0x76, 0, 0),
      record(0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 1, 1, 0),
      // A header without a name, one whose name is not UTF-8, and 2^20 headers.
      record(16, 0, 0, 0, 1, 1, 2, 1, 1),
      record(18, 0, 0, 0, 1, 1, 2, 2, 0xff, 1),
      record(18, 0, 0, 0, 1, 1, 0x80, 0x80, 0x80, 0x01),
    ];
    for (const bytes of refused) expectRefused(bytes);
  });

  it('of random bytes never does worse than to be refused', () => {
    const batch = encodeBatch(sample);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(7), fc.nat(4), (bytes, code, count) => {
        tryDecode(bytes);
        tryDecode(
          edited(withPayload(batch, bytes), (view) => {
            setCompression(view, code);
            view.setInt32(57, count);
          }),
        );
        if (bytes.length >= BATCH_HEADER_BYTES) {
          tryDecode(
            edited(bytes, (view) => {
              view.setInt8(16, 2);
              view.setInt32(8, bytes.length - 12);
            }),
          );
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it('with random changes in its compressed records never does worse than to be refused', () => {
    fc.assert(
      fc.property(
        recordsArbitrary,
        fc.constantFrom('gzip' as const, 'snappy' as const, 'lz4' as const, 'zstd' as const),
        fc.array(fc.tuple(fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }), fc.nat(255)), {
          minLength: 1,
          maxLength: 4,
        }),
        (records, compression, changes) => {
          const batch = encodeBatch(records, { compression });
          tryDecode(
            edited(batch, (_view, bytes) => {
              for (const [place, value] of changes) {
                bytes[BATCH_HEADER_BYTES + Math.floor(place * (bytes.length - BATCH_HEADER_BYTES))] = value;
              }
            }),
          );
        },
      ),
      { numRuns: 1_000 },
    );
  });
});

describe('decompression bombs', () => {
  const zeros = new Uint8Array(BATCH_UNCOMPRESSED_BYTES_MAX * 2);
  const batch = encodeBatch([{ timestampMs: T, key: null, value: utf8('v'), headers: [] }]);
  const bomb = (code: number, payload: Uint8Array): Uint8Array =>
    edited(withPayload(batch, payload), (view) => setCompression(view, code));
  const lz4Frame = (content: Uint8Array): Uint8Array => compress('lz4', content);

  const bombs: { name: string; bytes: () => Uint8Array }[] = [
    { name: 'gzip of 64 MiB', bytes: () => bomb(1, gzipSync(zeros)) },
    {
      name: 'gzip of many members',
      bytes: () => bomb(1, Buffer.concat(Array(80).fill(gzipSync(zeros.subarray(0, 2 ** 20))))),
    },
    { name: 'zstd of 64 MiB', bytes: () => bomb(4, zstdCompressSync(zeros)) },
    {
      name: 'zstd that claims 1 GiB in a single segment',
      bytes: () => bomb(4, Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0x40, 1, 0, 0)),
    },
    { name: 'snappy that claims 1 GiB', bytes: () => bomb(2, Uint8Array.of(0x80, 0x80, 0x80, 0x80, 0x04, 0, 0)) },
    {
      name: 'snappy that claims 2^53',
      bytes: () => bomb(2, Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f)),
    },
    {
      name: 'snappy that claims 20 MiB in 8 bytes',
      bytes: () => bomb(2, Uint8Array.of(0x80, 0x80, 0x80, 0x0a, 0, 0, 0, 0)),
    },
    { name: 'snappy of 64 MiB in frames', bytes: () => bomb(2, compress('snappy', zeros)) },
    {
      name: 'snappy whose literal has a negative length',
      bytes: () => bomb(2, Uint8Array.of(10, 0xfc, 0xfa, 0xff, 0xff, 0xff, 0, 0)),
    },
    { name: 'lz4 of 64 MiB', bytes: () => bomb(3, lz4Frame(zeros)) },
    { name: 'gzip in gzip', bytes: () => bomb(1, gzipSync(gzipSync(zeros))) },
    { name: 'zstd in gzip', bytes: () => bomb(1, gzipSync(zstdCompressSync(zeros))) },
    { name: 'another format altogether', bytes: () => bomb(1, brotliCompressSync(new Uint8Array(1_000))) },
  ];
  for (const { name, bytes } of bombs) {
    it(`are refused: ${name}`, () => {
      const made = bytes();
      const before = process.memoryUsage().arrayBuffers;
      const startedAt = process.hrtime.bigint();
      expectRefused(made);
      expect(Number(process.hrtime.bigint() - startedAt) / 1e6).toBeLessThan(2_000);
      // The limit, what it took to grow to it, and what was not collected yet of either.
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(4 * BATCH_UNCOMPRESSED_BYTES_MAX);
    });
  }

  it('are refused: headers that take no bytes once they are compressed', () => {
    const headers = Array.from({ length: HEADERS_PER_RECORD_MAX }, () => ({ key: '', value: new Uint8Array(0) }));
    const records = Array.from({ length: 1_001 }, () => ({ timestampMs: T, key: null, value: null, headers }));
    const made = encodeBatch(records, { compression: 'zstd' });
    expect(made.length).toBeLessThan(10_000);
    expectRefused(made);
    const most = encodeBatch(records.slice(1), { compression: 'zstd' });
    expect(decodeRecords(most, 0, readBatchHeader(most))).toHaveLength(1_000);
  });

  it('but a batch just within the limit is read', () => {
    const value = new Uint8Array(BATCH_UNCOMPRESSED_BYTES_MAX - 100);
    for (const compression of ['gzip', 'snappy', 'lz4', 'zstd'] as const) {
      const large = encodeBatch([{ timestampMs: T, key: null, value, headers: [] }], { compression });
      expect(decodeRecords(large, 0, readBatchHeader(large))[0]?.value).toHaveLength(value.length);
    }
  });
});

describe('times', () => {
  it.each([
    [-1, Number.MAX_SAFE_INTEGER],
    [Number.MAX_SAFE_INTEGER, -1],
    [-1, -1],
    [0, Number.MAX_SAFE_INTEGER],
  ])('%d and %d come back from one batch', (...times) => {
    const batch = encodeBatch(times.map((timestampMs) => ({ timestampMs, key: null, value: null, headers: [] })));
    const header = readBatchHeader(batch);
    expect(header.maxTimestamp).toBe(Math.max(...times));
    expect(decodeRecords(batch, 0, header).map((record) => record.timestampMs)).toEqual(times);
  });

  it('are set anew with the CRC that belongs to them', () => {
    const batch = encodeBatch(sample, { compression: 'lz4' });
    const stamped = withTimestamps(batch, T + 9, 'log_append_time');
    const header = readBatchHeader(stamped);
    expect(header).toMatchObject({ timestampType: 'log_append_time', maxTimestamp: T + 9, compression: 'lz4' });
    expect(decodeRecords(stamped, 0, header).map((record) => record.timestampMs)).toEqual([T + 9, T + 9, T + 9]);
    const back = readBatchHeader(withTimestamps(stamped, -1, 'create_time'));
    expect(back).toMatchObject({ timestampType: 'create_time', maxTimestamp: -1 });
  });
});
