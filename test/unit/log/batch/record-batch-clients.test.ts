import { createRequire } from 'node:module';
import { compressionsAlgorithms, crc32c as crcOfPlatformatic, Reader, readRecordsBatch } from '@platformatic/kafka';
import { describe, expect, it } from 'vitest';
import { COMPRESSIONS, type Compression } from '../../../../shared/log/batch/codecs.ts';
import type { LogRecord } from '../../../../shared/log/batch/record.ts';
import { encodeBatch } from '../../../../shared/log/batch/record-batch.ts';
import type { EncodeBatchOptions } from '../../../../shared/log/batch/write-batch.ts';

/** What other clients read from the batches that we make. */
const require = createRequire(import.meta.url);

interface KafkaJsRecord {
  readonly offset: string;
  readonly timestamp: string;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: Readonly<{ [name: string]: Buffer | (Buffer | null)[] | null }>;
}
interface KafkaJsBatch {
  readonly producerId: string;
  readonly producerEpoch: number;
  readonly firstSequence: number;
  readonly lastOffsetDelta: number;
  readonly inTransaction: boolean;
  readonly records: readonly KafkaJsRecord[];
}
interface KafkaJsCodec {
  decompress(buffer: Buffer): Promise<Buffer>;
}

const KafkaJsDecoder = require('kafkajs/src/protocol/decoder') as new (buffer: Buffer) => object;
const decodeWithKafkaJs = require('kafkajs/src/protocol/recordBatch/v0/decoder') as (
  decoder: object,
) => Promise<KafkaJsBatch>;
const kafkaJsCodecs = (
  require('kafkajs/src/protocol/message/compression') as { Codecs: { [code: number]: () => KafkaJsCodec } }
).Codecs;
for (const name of ['snappy', 'lz4', 'zstd'] as const) {
  const { bitmask, decompressSync } = compressionsAlgorithms[name];
  kafkaJsCodecs[bitmask] = () => ({ decompress: async (buffer) => decompressSync(buffer) });
}

const T = 1_700_000_000_000;
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

const plain: LogRecord[] = [
  { timestampMs: T, key: utf8('a'), value: utf8('first'), headers: [] },
  { timestampMs: T + 5, key: null, value: utf8('no key'), headers: [] },
  { timestampMs: T - 70_000, key: utf8('tombstone'), value: null, headers: [] },
  { timestampMs: T + 90_000_000, key: null, value: null, headers: [] },
  { timestampMs: T, key: new Uint8Array(0), value: new Uint8Array(0), headers: [] },
];
const withHeaders: LogRecord[] = [
  {
    timestampMs: T,
    key: utf8('k'),
    value: utf8('v'),
    headers: [
      { key: 'trace', value: utf8('abc') },
      { key: 'none', value: null },
      { key: '', value: utf8('empty name') },
      { key: 'größe', value: new Uint8Array(0) },
    ],
  },
];
const withDuplicates: LogRecord[] = [
  {
    timestampMs: T,
    key: null,
    value: utf8('v'),
    headers: [
      { key: 'twice', value: utf8('1') },
      { key: 'other', value: null },
      { key: 'twice', value: utf8('2') },
    ],
  },
];
/** Half of it compresses; together it takes several blocks of every codec. */
const large: LogRecord[] = Array.from({ length: 60 }, (_, i) => ({
  timestampMs: T + i,
  key: utf8(`key-${i}`),
  value: Uint8Array.from({ length: 5_000 }, (_, k) =>
    i % 2 === 0 ? k % 7 : (i * 7_919 + k * k * 31 + (k >>> 3)) & 255,
  ),
  headers: [],
}));

const cases: { name: string; records: readonly LogRecord[]; options?: EncodeBatchOptions; uniqueHeaders?: false }[] = [
  { name: 'plain', records: plain },
  { name: 'headers', records: withHeaders },
  { name: 'duplicate headers', records: withDuplicates, uniqueHeaders: false },
  ...COMPRESSIONS.flatMap((compression: Compression) => [
    { name: `${compression}, small`, records: plain, options: { compression } },
    { name: `${compression}, over 200 KB`, records: large, options: { compression } },
  ]),
  {
    name: 'idempotent producer',
    records: plain,
    options: { producer: { producerId: 4_000_000_001, producerEpoch: 7, baseSequence: 2_147_483_646 } },
  },
  { name: 'transactional', records: plain, options: { transactional: true } },
  { name: 'log append time', records: plain, options: { logAppendTimeMs: T + 123_456 } },
  { name: 'log append time, zstd', records: plain, options: { logAppendTimeMs: T + 1, compression: 'zstd' } },
];

describe('batches that we encode', () => {
  for (const { name, records, options = {}, uniqueHeaders = true } of cases) {
    const batch = Buffer.from(encodeBatch(records, options));
    const producer = options.producer ?? { producerId: -1, producerEpoch: -1, baseSequence: -1 };
    const maxTimestamp = options.logAppendTimeMs ?? Math.max(...records.map((record) => record.timestampMs));

    it(`are read by @platformatic/kafka: ${name}`, () => {
      const read = readRecordsBatch(Reader.from(batch));
      expect(read.crc).toBe(crcOfPlatformatic(batch.subarray(21)));
      expect(read).toMatchObject({
        firstOffset: 0n,
        length: batch.length - 12,
        magic: 2,
        lastOffsetDelta: records.length - 1,
        maxTimestamp: BigInt(maxTimestamp),
        producerId: BigInt(producer.producerId),
        producerEpoch: producer.producerEpoch,
        firstSequence: producer.baseSequence,
      });
      expect(read.attributes & 8).toBe(options.logAppendTimeMs === undefined ? 0 : 8);
      const seen = read.records.map((record) => ({
        offset: record.offsetDelta,
        timestamp: Number(read.firstTimestamp + record.timestampDelta),
        key: hex(record.key),
        value: hex(record.value),
        headers: [...record.headers].map(([key, value]) => [key?.toString(), hex(value)]),
      }));
      expect(seen).toEqual(
        records.map((record, offset) => ({
          offset,
          timestamp: record.timestampMs,
          key: hex(record.key),
          value: hex(record.value),
          headers: record.headers.map((header) => [header.key, hex(header.value)]),
        })),
      );
    });

    it(`are read by kafkajs: ${name}`, async () => {
      const read = await decodeWithKafkaJs(new KafkaJsDecoder(batch));
      expect(read).toMatchObject({
        lastOffsetDelta: records.length - 1,
        producerId: String(producer.producerId),
        producerEpoch: producer.producerEpoch,
        firstSequence: producer.baseSequence,
        inTransaction: options.transactional ?? false,
      });
      expect(read.records).toHaveLength(records.length);
      read.records.forEach((record, i) => {
        const expected = records[i] as LogRecord;
        expect(record.offset).toBe(String(i));
        expect(record.timestamp).toBe(String(options.logAppendTimeMs ?? expected.timestampMs));
        expect(hex(record.key)).toBe(hex(expected.key));
        expect(hex(record.value)).toBe(hex(expected.value));
        if (!uniqueHeaders) return;
        expect(Object.keys(record.headers).sort()).toEqual(expected.headers.map((header) => header.key).sort());
        for (const { key, value } of expected.headers) {
          expect(hex(record.headers[key] as Buffer | null)).toBe(hex(value));
        }
      });
    });
  }
});

function hex(bytes: Uint8Array | null | undefined): string | null {
  return bytes === null || bytes === undefined ? null : Buffer.from(bytes).toString('hex');
}
