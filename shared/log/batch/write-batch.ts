import { ByteWriter, concatBytes, setInt64, varintLength } from '../bytes.ts';
import { EventLogError } from '../errors.ts';
import { COMPRESSIONS, type Compression } from './codecs.ts';
import { crc32c } from './crc32c.ts';
import type { LogRecord, RecordHeader, StoredRecord } from './record.ts';

/**
 * Apache Kafka's RecordBatch, magic 2 (Kafka documentation, "Message Format"; KIP-98): the unit of append, compression
 * and idempotence, stored and served byte for byte. Base offset and partition leader epoch precede the bytes that the CRC
 * covers, so assigning an offset changes nothing else.
 *
 *  0 baseOffset int64          17 crc uint32 (of all from 21)   43 producerId int64
 *  8 batchLength int32         21 attributes int16              51 producerEpoch int16
 * 12 partitionLeaderEpoch i32  23 lastOffsetDelta int32         53 baseSequence int32
 * 16 magic int8                27 baseTimestamp int64           57 recordCount int32
 *                              35 maxTimestamp int64            61 records, compressed together
 */
export const LENGTH_AT = 8;
export const LENGTH_END = 12;
export const CRC_AT = 17;
export const CRC_END = 21;
export const MAX_TIMESTAMP_AT = 35;
export const BATCH_HEADER_BYTES = 61;
export const MAGIC = 2;

export const LOG_APPEND_TIME = 0x08;
export const TRANSACTIONAL = 0x10;
export const CONTROL = 0x20;

export const NO_PRODUCER_ID = -1;
/** The base sequence of a batch without sequences. */
export const NO_SEQUENCE = -1;
const LAST_OFFSET_DELTA_MAX = 2 ** 31 - 1;

export interface BatchProducer {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
}

export interface EncodeBatchOptions {
  readonly compression?: Compression;
  readonly producer?: BatchProducer | undefined;
  readonly transactional?: boolean;
  /** Gives every record this time, as Kafka's `message.timestamp.type=LogAppendTime` does. */
  readonly logAppendTimeMs?: number | undefined;
}

const UTF8 = new TextEncoder();

/**
 * Writes at least one record as a batch with base offset 0 and offset deltas 0, 1, 2 … The records are not compressed yet,
 * whatever the compression: `sealBatch` completes the batch.
 */
export function writeBatch(records: readonly LogRecord[], options: EncodeBatchOptions = {}): Uint8Array {
  const { compression = 'none', transactional = false, logAppendTimeMs } = options;
  const attributes =
    COMPRESSIONS.indexOf(compression) |
    (logAppendTimeMs === undefined ? 0 : LOG_APPEND_TIME) |
    (transactional ? TRANSACTIONAL : 0);
  return writeRecords(records, attributes, options.producer ?? NO_PRODUCER, logAppendTimeMs);
}

/** A batch that only the log itself writes; `sealBatch` completes it. */
export function writeControlBatch(record: LogRecord, producer: BatchProducer): Uint8Array {
  return writeRecords([record], TRANSACTIONAL | CONTROL, producer);
}

function writeRecords(
  records: readonly LogRecord[],
  attributes: number,
  { producerId, producerEpoch, baseSequence }: BatchProducer,
  logAppendTimeMs?: number,
): Uint8Array {
  const first = records[0];
  if (first === undefined) throw new EventLogError('internal', 'A record batch needs a record.');
  // −1 would not do: the largest time is further away from −1 than a delta can be.
  const baseTimestamp = Math.max(0, first.timestampMs);
  let maxTimestamp = first.timestampMs;
  const writer = new ByteWriter(BATCH_HEADER_BYTES + recordsBytesBound(records));
  writer.int64(0);
  writer.int32(0);
  writer.int32(-1);
  writer.uint8(MAGIC);
  writer.uint32(0);
  writer.int16(attributes);
  writer.int32(records.length - 1);
  writer.int64(baseTimestamp);
  writer.int64(0);
  writer.int64(producerId);
  writer.int16(producerEpoch);
  writer.int32(baseSequence);
  writer.int32(records.length);
  for (let i = 0; i < records.length; i++) {
    const record = records[i] as LogRecord;
    if (record.timestampMs > maxTimestamp) maxTimestamp = record.timestampMs;
    writeRecord(writer, record, i, record.timestampMs - baseTimestamp);
  }
  const batch = writer.finish();
  setInt64(viewOf(batch), MAX_TIMESTAMP_AT, logAppendTimeMs ?? maxTimestamp);
  return batch;
}

/** A batch without records, as Kafka's cleaner leaves them; `sealBatch` completes it. */
export function writeEmptyBatch(baseOffset: number, endOffset: number): Uint8Array {
  const writer = new ByteWriter(BATCH_HEADER_BYTES);
  const { producerId, producerEpoch, baseSequence } = NO_PRODUCER;
  writer.int64(baseOffset);
  writer.int32(0);
  writer.int32(0);
  writer.uint8(MAGIC);
  writer.uint32(0);
  writer.int16(0);
  writer.int32(Math.min(endOffset - baseOffset - 1, LAST_OFFSET_DELTA_MAX));
  writer.int64(-1);
  writer.int64(-1);
  writer.int64(producerId);
  writer.int16(producerEpoch);
  writer.int32(baseSequence);
  writer.int32(0);
  return writer.finish();
}

/** The records of a batch, uncompressed and without its header, with offset deltas of their own. */
export function encodeRecords(records: readonly StoredRecord[], baseOffset: number, baseTimestamp: number): Uint8Array {
  const writer = new ByteWriter(recordsBytesBound(records));
  for (const record of records)
    writeRecord(writer, record, record.offset - baseOffset, record.timestampMs - baseTimestamp);
  return writer.finish();
}

/** Sets length and CRC of a batch from `writeBatch`; `packed` are its records, compressed. The result may be the given bytes. */
export function sealBatch(batch: Uint8Array, packed?: Uint8Array): Uint8Array {
  const sealed = packed === undefined ? batch : concatBytes([batch.subarray(0, BATCH_HEADER_BYTES), packed]);
  const view = viewOf(sealed);
  view.setInt32(LENGTH_AT, sealed.length - LENGTH_END);
  view.setUint32(CRC_AT, crc32c(sealed.subarray(CRC_END)));
  return sealed;
}

const NO_PRODUCER: BatchProducer = { producerId: NO_PRODUCER_ID, producerEpoch: -1, baseSequence: NO_SEQUENCE };

/** An upper bound for the size of the records in a batch, uncompressed. */
function recordsBytesBound(records: readonly LogRecord[]): number {
  let total = 0;
  for (const record of records) total += recordBytesBound(record);
  return total;
}

/** An upper bound for the size of a record in a batch, uncompressed. */
export function recordBytesBound(record: Pick<LogRecord, 'key' | 'value' | 'headers'>): number {
  let total = 32 + (record.key?.length ?? 0) + (record.value?.length ?? 0);
  for (const header of record.headers) total += 10 + header.key.length * 3 + (header.value?.length ?? 0);
  return total;
}

function writeRecord(writer: ByteWriter, record: LogRecord, offsetDelta: number, timestampDelta: number): void {
  const names = record.headers.map((header) => UTF8.encode(header.key));
  let length = 1 + varintLength(timestampDelta) + varintLength(offsetDelta);
  length += nullableLength(record.key) + nullableLength(record.value) + varintLength(names.length);
  for (let i = 0; i < names.length; i++) {
    length += nullableLength(names[i] as Uint8Array) + nullableLength((record.headers[i] as RecordHeader).value);
  }
  writer.varint(length);
  writer.uint8(0);
  writer.varint(timestampDelta);
  writer.varint(offsetDelta);
  writeNullable(writer, record.key);
  writeNullable(writer, record.value);
  writer.varint(names.length);
  for (let i = 0; i < names.length; i++) {
    writeNullable(writer, names[i] as Uint8Array);
    writeNullable(writer, (record.headers[i] as RecordHeader).value);
  }
}

function nullableLength(bytes: Uint8Array | null): number {
  return bytes === null ? 1 : varintLength(bytes.length) + bytes.length;
}

function writeNullable(writer: ByteWriter, bytes: Uint8Array | null): void {
  writer.varint(bytes === null ? -1 : bytes.length);
  if (bytes !== null) writer.write(bytes);
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
