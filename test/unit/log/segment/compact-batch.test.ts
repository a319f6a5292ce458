import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Reader, readRecordsBatch } from '@platformatic/kafka';
import { describe, expect, it } from 'vitest';
import { COMPRESSIONS } from '../../../../shared/log/batch/codecs.ts';
import type { LogRecord } from '../../../../shared/log/batch/record.ts';
import { decodeRecords, encodeBatch, placeBatch, readBatchHeader } from '../../../../shared/log/batch/record-batch.ts';
import { recordsOf } from '../../../../shared/log/batch/stored-batch.ts';
import type { EncodeBatchOptions } from '../../../../shared/log/batch/write-batch.ts';
import { type CompactOptions, compactBatch } from '../../../../shared/log/segment/compact/compact-batch.ts';
import { TIME_MAX } from '../../../../shared/log/time.ts';
import { edited } from '../../../support/batch-edit.ts';

const require = createRequire(import.meta.url);
const KafkaJsDecoder = require('kafkajs/src/protocol/decoder') as new (buffer: Buffer) => object;
const decodeWithKafkaJs = require('kafkajs/src/protocol/recordBatch/v0/decoder') as (decoder: object) => Promise<{
  readonly records: readonly { readonly offset: string; readonly timestamp: string; readonly value: Buffer | null }[];
}>;

const T = 1_700_000_000_000;
const DAY = 86_400_000;
const BASE = 5_000_000_000;
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (bytes: Uint8Array | null): string | null => (bytes === null ? null : new TextDecoder().decode(bytes));
const fixture = (name: string): Uint8Array =>
  new Uint8Array(readFileSync(new URL(`../../../fixtures/record-batch/${name}.bin`, import.meta.url)));

/** `key=value`, `key` for a tombstone, `=value` for a record without key. The times are T, T + 1 … */
function recordsFrom(...specs: string[]): LogRecord[] {
  return specs.map((spec, i) => {
    const [key, value] = spec.split('=');
    return {
      timestampMs: T + i,
      key: key ? utf8(key) : null,
      value: value === undefined ? null : utf8(value),
      headers: [],
    };
  });
}

function batchOf(records: LogRecord[], options: EncodeBatchOptions = {}, base = BASE, epoch = 0): Uint8Array {
  const batch = encodeBatch(records, options);
  placeBatch(batch, 0, base);
  new DataView(batch.buffer, batch.byteOffset).setInt32(12, epoch);
  return batch;
}

function options(latest: { [key: string]: number }, rest: Partial<CompactOptions> = {}): CompactOptions {
  return {
    map: { latestOffset: (key) => latest[new TextDecoder().decode(key)] },
    belowOffset: BASE + 1_000,
    nowMs: T + DAY,
    deleteRetentionMs: DAY,
    ...rest,
  };
}

const contents = (bytes: Uint8Array | undefined): string[] | undefined =>
  bytes && decodeRecords(bytes, 0, readBatchHeader(bytes)).map(shown);
const shown = ({ offset, timestampMs, key, value }: LogRecord & { readonly offset: number }): string =>
  `${offset - BASE}@${timestampMs - T} ${text(key)}=${text(value)}`;

describe('a compacted batch', () => {
  it('is, byte for byte, what Kafka makes of it', () => {
    const specs = Array.from({ length: 10 }, (_, i) => `key-${i}=value ${i}`);
    const producer = { producerId: 1002, producerEpoch: 1, baseSequence: 30 };
    const whole = batchOf(recordsFrom(...specs), { producer }, 200, 5);
    for (const [name, kept] of [
      ['java-compacted', [2, 5, 8]],
      ['java-compacted-first-and-last', [0, 9]],
    ] as const) {
      const latest = Object.fromEntries(specs.map((_, i) => [`key-${i}`, kept.some((k) => k === i) ? 200 + i : 999]));
      const { bytes } = compactBatch(whole, options(latest, { belowOffset: 1_000 }));
      expect(bytes, name).toEqual(fixture(name));
    }
    const withTombstone = batchOf(recordsFrom('a=old', 'a', 'b=kept'), {}, 300, 5);
    const { bytes, ...rest } = compactBatch(
      withTombstone,
      options({ a: 301, b: 302 }, { nowMs: 1_700_087_400_000 - DAY }),
    );
    expect(rest).toEqual({ kept: 2, dropped: 1, deleteHorizonMs: 1_700_087_400_000 });
    expect(bytes).toEqual(fixture('java-compacted-delete-horizon'));
  });

  const cases: { name: string; records: string[]; given: CompactOptions; left: string[] | undefined }[] = [
    {
      name: 'keeps the latest of each key',
      records: ['a=1', 'b=1', 'a=2'],
      given: options({ a: BASE + 2, b: BASE + 1 }),
      left: ['1@1 b=1', '2@2 a=2'],
    },
    {
      name: 'loses what came later elsewhere',
      records: ['a=1', 'b=1'],
      given: options({ a: BASE + 9 }),
      left: ['1@1 b=1'],
    },
    {
      name: 'keeps keys that the map does not have',
      records: ['a=1', 'a=2'],
      given: options({}),
      left: ['0@0 a=1', '1@1 a=2'],
    },
    {
      name: 'keeps a record that is later than the map says',
      records: ['a=1'],
      given: options({ a: 7 }),
      left: ['0@0 a=1'],
    },
    { name: 'loses records without a key', records: ['=x', 'a=1', '=y'], given: options({}), left: ['1@1 a=1'] },
    {
      name: 'keeps all from where the map ends',
      records: ['=x', '=y', 'a=1'],
      given: options({}, { belowOffset: BASE + 1 }),
      left: ['1@1 null=y', '2@2 a=1'],
    },
    { name: 'is nothing if it loses all', records: ['a=1', '=x'], given: options({ a: BASE + 2 }), left: undefined },
    { name: 'loses superseded tombstones', records: ['a', 'b=1'], given: options({ a: BASE + 9 }), left: ['1@1 b=1'] },
  ];
  it.each(cases)('$name', ({ records, given, left }) => {
    const result = compactBatch(batchOf(recordsFrom(...records)), given);
    expect(contents(result.bytes)).toEqual(left);
    expect(result).toMatchObject({ kept: left?.length ?? 0, dropped: records.length - (left?.length ?? 0) });
    expect(result.deleteHorizonMs).toBeUndefined();
  });

  it('is the same bytes if it loses nothing', () => {
    const batch = batchOf(recordsFrom('a=1', 'b=2'));
    expect(compactBatch(batch, options({ a: BASE, b: BASE + 1 })).bytes).toBe(batch);
  });

  it('of a transaction loses records like any other, and stays one of the transaction', () => {
    const producer = { producerId: 7, producerEpoch: 3, baseSequence: 5 };
    const written = batchOf(recordsFrom('a=1', 'b=2'), { producer, transactional: true });
    const { bytes } = compactBatch(written, options({ a: BASE + 9 }));
    expect(readBatchHeader(bytes as Uint8Array)).toMatchObject({ ...producer, transactional: true, recordCount: 1 });
    expect(contents(bytes)).toEqual(['1@1 b=2']);
  });

  it('is nothing if Kafka left an empty batch', () => {
    expect(compactBatch(fixture('java-compacted-empty'), options({}))).toEqual({
      bytes: undefined,
      kept: 0,
      dropped: 0,
    });
  });

  it.each(COMPRESSIONS)('keeps its other fields (%s)', (compression) => {
    const producer = { producerId: 77, producerEpoch: 3, baseSequence: 12 };
    for (const logAppendTimeMs of [undefined, T + 50]) {
      const batch = batchOf(recordsFrom('a=1', 'b=1', 'c=1'), { compression, producer, logAppendTimeMs }, BASE, 9);
      const before = readBatchHeader(batch);
      const { bytes } = compactBatch(batch, options({ a: BASE + 5, c: BASE + 5 }));
      const after = readBatchHeader(bytes as Uint8Array);
      const time = logAppendTimeMs ?? T + 1;
      expect(after).toEqual({
        ...before,
        bytes: bytes?.length,
        crc: after.crc,
        baseTimestamp: time,
        maxTimestamp: time,
        recordCount: 1,
      });
      expect(contents(bytes)).toEqual([`1@${time - T} b=1`]);
    }
  });
});

describe('tombstones', () => {
  const batch = batchOf(recordsFrom('a', 'b=1', 'c'));
  const given = options({ a: BASE, b: BASE + 1, c: BASE + 9 });

  it('get a delete horizon once, and go when it has passed', () => {
    const first = compactBatch(batch, given);
    const horizon = T + 2 * DAY;
    expect(first).toMatchObject({ kept: 2, dropped: 1, deleteHorizonMs: horizon });
    const bytes = first.bytes as Uint8Array;
    const header = readBatchHeader(bytes);
    expect(header).toMatchObject({ deleteHorizonMs: horizon, baseTimestamp: horizon, maxTimestamp: T + 1 });
    expect(recordsOf({ bytes, header, baseOffset: BASE, endOffset: BASE + 3 }).map(shown)).toEqual([
      '0@0 a=null',
      '1@1 b=1',
    ]);
    const again = compactBatch(bytes, { ...given, nowMs: horizon - 1, deleteRetentionMs: 9 * DAY });
    expect(again.bytes).toBe(bytes);
    expect(again.deleteHorizonMs).toBe(horizon);
    const last = compactBatch(bytes, { ...given, nowMs: horizon });
    expect(contents(last.bytes)).toEqual(['1@1 b=1']);
    expect(last.deleteHorizonMs).toBeUndefined();
    expect(compactBatch(last.bytes as Uint8Array, { ...given, nowMs: horizon + DAY }).bytes).toBe(last.bytes);
  });

  it('get no horizon while the map ends within their batch', () => {
    const result = compactBatch(batch, { ...given, belowOffset: BASE + 2 });
    expect(result.bytes).toBe(batch);
    expect(result.deleteHorizonMs).toBeUndefined();
    expect(compactBatch(batch, { ...given, belowOffset: BASE + 3 }).deleteHorizonMs).toBeDefined();
  });

  it('have a horizon that is a time, with records of any time', () => {
    for (const timestampMs of [-1, 0, T, Number.MAX_SAFE_INTEGER]) {
      const odd = batchOf([{ timestampMs, key: utf8('a'), value: null, headers: [] }]);
      const result = compactBatch(odd, { ...given, deleteRetentionMs: Number.MAX_SAFE_INTEGER });
      expect(result.deleteHorizonMs).toBe(TIME_MAX);
      const bytes = result.bytes as Uint8Array;
      expect(decodeRecords(bytes, 0, readBatchHeader(bytes))).toMatchObject([{ timestampMs, offset: BASE }]);
    }
  });

  it('keep the time of append', () => {
    const { bytes } = compactBatch(batchOf(recordsFrom('a', 'b=1'), { logAppendTimeMs: T + 7 }), given);
    expect(contents(bytes)).toEqual(['0@7 a=null', '1@7 b=1']);
  });

  it('are read by kafkajs and @platformatic/kafka', async () => {
    const bytes = Buffer.from(
      compactBatch(batchOf(recordsFrom('x=0', 'a', 'y=0', 'b=1')), options({ x: BASE + 9, y: BASE + 9 }))
        .bytes as Uint8Array,
    );
    expect(readBatchHeader(bytes).deleteHorizonMs).toBe(T + 2 * DAY);
    const ofKafkaJs = await decodeWithKafkaJs(new KafkaJsDecoder(bytes));
    expect(ofKafkaJs.records.map(({ offset, timestamp, value }) => [offset, timestamp, text(value)])).toEqual([
      [String(BASE + 1), String(T + 1), null],
      [String(BASE + 3), String(T + 3), '1'],
    ]);
    const other = readRecordsBatch(Reader.from(bytes));
    expect(other).toMatchObject({ firstOffset: BigInt(BASE), lastOffsetDelta: 3 });
    expect(
      other.records.map(({ offsetDelta, timestampDelta, key }) => [
        offsetDelta,
        Number(other.firstTimestamp + timestampDelta),
        String(key),
      ]),
    ).toEqual([
      [1, T + 1, 'a'],
      [3, T + 3, 'b'],
    ]);
  });

  it('stay as they are where a batch would grow beyond what readers take', () => {
    // 31 MiB of values, and 100 000 deltas that a horizon makes five bytes longer, exceed the limit of 32 MiB together.
    const value = new Uint8Array(318);
    const records = Array.from(
      { length: 100_000 },
      (_, i): LogRecord => ({
        timestampMs: T,
        key: utf8(String(i)),
        value: i === 0 ? null : value,
        headers: [],
      }),
    );
    const huge = batchOf(records, { compression: 'zstd' });
    const result = compactBatch(huge, {
      ...given,
      belowOffset: BASE + 100_000,
      map: { latestOffset: () => undefined },
    });
    expect(result).toMatchObject({ kept: 100_000, dropped: 0 });
    expect(result.bytes === huge).toBe(true);
    expect(result.deleteHorizonMs).toBeUndefined();
  });

  it('are checked with the batch', () => {
    const broken = edited(batch, (view) => view.setInt32(57, 2));
    expect(() => compactBatch(broken, given)).toThrow('bytes follow the last of 2 records');
  });
});
