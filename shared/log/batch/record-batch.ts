import { ByteFormatError, ByteReader, concatBytes, setInt64 } from '../bytes.ts';
import { EventLogError } from '../errors.ts';
import {
  BATCH_UNCOMPRESSED_BYTES_MAX,
  HEADERS_PER_BATCH_MAX,
  HEADERS_PER_RECORD_MAX,
  RECORDS_PER_BATCH_MAX,
} from '../limits.ts';
import { COMPRESSIONS, type Compression } from './codecs.ts';
import { compress, decompress } from './compression.ts';
import { crc32c } from './crc32c.ts';
import type { LogRecord, RecordHeader, StoredRecord } from './record.ts';
import {
  BATCH_HEADER_BYTES,
  CONTROL,
  CRC_AT,
  CRC_END,
  type EncodeBatchOptions,
  encodeRecords,
  LENGTH_AT,
  LENGTH_END,
  LOG_APPEND_TIME,
  MAGIC,
  MAX_TIMESTAMP_AT,
  sealBatch,
  TRANSACTIONAL,
  viewOf,
  writeBatch,
} from './write-batch.ts';

/** Reads batches, and makes those that need a codec. `write-batch.ts` has the layout. */
const MAGIC_AT = 16;
const ATTRIBUTES_LOW_AT = 22;
const BASE_TIMESTAMP_AT = 27;
const PRODUCER_ID_AT = 43;
const RECORD_COUNT_AT = 57;
const COMPRESSION_MASK = 0x07;
const DELETE_HORIZON = 0x40;

export const NO_TIMESTAMP = -1;

export type TimestampType = 'create_time' | 'log_append_time';

export interface RecordBatchHeader {
  /** The base offset in the bytes. In stored data it is relative to the entry's part, see `entry.ts`. */
  readonly baseOffset: number;
  /** The whole batch's length, header included. */
  readonly bytes: number;
  readonly partitionLeaderEpoch: number;
  readonly crc: number;
  readonly compression: Compression;
  readonly timestampType: TimestampType;
  readonly transactional: boolean;
  readonly control: boolean;
  /** The number of offsets that the batch takes up, minus one. It exceeds the record count if compaction removed records. */
  readonly lastOffsetDelta: number;
  /** The deltas of the records count from here. If the batch has a delete horizon, it is that, and no record's time. */
  readonly baseTimestamp: number;
  /** When the tombstones of the batch may go (KIP-534). Only compaction sets it. */
  readonly deleteHorizonMs?: number | undefined;
  readonly maxTimestamp: number;
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
  readonly recordCount: number;
}

/**
 * Reads the header of the batch at `position` and checks that the batch is whole, has magic 2, and matches its CRC.
 * @throws EventLogError `invalid_batch`, saying what is wrong and where
 */
export function readBatchHeader(bytes: Uint8Array, position = 0): RecordBatchHeader {
  return attempt(position, () => {
    const reader = new ByteReader(bytes, position);
    if (reader.remaining < BATCH_HEADER_BYTES) {
      throw new ByteFormatError(`${reader.remaining} bytes are too few for a batch header of ${BATCH_HEADER_BYTES}`);
    }
    const magic = bytes[position + MAGIC_AT];
    if (magic !== MAGIC)
      throw new ByteFormatError(`magic is ${magic}; only ${MAGIC} is supported (Kafka 0.11 and later)`);
    const baseOffset = reader.int64();
    const batchLength = reader.int32();
    const total = batchLength + LENGTH_END;
    if (batchLength < BATCH_HEADER_BYTES - LENGTH_END || total > bytes.length - position) {
      throw new ByteFormatError(
        `its length field says that ${batchLength} bytes follow, but there are ${bytes.length - position - LENGTH_END}`,
      );
    }
    const partitionLeaderEpoch = reader.int32();
    reader.int8();
    const crc = reader.uint32();
    const computed = crc32c(bytes.subarray(position + CRC_END, position + total));
    if (crc !== computed) throw new CrcMismatch(`the CRC-32C is ${hex(computed)}, but the batch contains ${hex(crc)}`);
    const attributes = reader.int16();
    const compression = COMPRESSIONS[attributes & COMPRESSION_MASK];
    if (compression === undefined) throw new ByteFormatError(`unknown compression ${attributes & COMPRESSION_MASK}`);
    const lastOffsetDelta = reader.int32();
    const baseTimestamp = reader.int64();
    const maxTimestamp = reader.int64();
    const producerId = reader.int64();
    const producerEpoch = reader.int16();
    const baseSequence = reader.int32();
    const recordCount = reader.int32();
    if (lastOffsetDelta < 0 || recordCount < 0) throw new ByteFormatError('a count is negative');
    return {
      baseOffset,
      bytes: total,
      partitionLeaderEpoch,
      crc,
      compression,
      timestampType: attributes & LOG_APPEND_TIME ? 'log_append_time' : 'create_time',
      transactional: (attributes & TRANSACTIONAL) !== 0,
      control: (attributes & CONTROL) !== 0,
      lastOffsetDelta,
      baseTimestamp,
      deleteHorizonMs: attributes & DELETE_HORIZON ? baseTimestamp : undefined,
      maxTimestamp,
      producerId,
      producerEpoch,
      baseSequence,
      recordCount,
    };
  });
}

/**
 * The producer that a batch names, without a look at the rest of it: `undefined` if it names none, or is too short to be a
 * batch. The append checks the batch.
 */
export function producerNamedIn(
  bytes: Uint8Array,
): { readonly producerId: number; readonly producerEpoch: number; readonly baseSequence: number } | undefined {
  if (bytes.length < BATCH_HEADER_BYTES) return undefined;
  const reader = new ByteReader(bytes, PRODUCER_ID_AT);
  const [high, low] = [reader.int32(), reader.uint32()];
  if (high < 0) return undefined;
  return {
    producerId: high * 0x1_0000_0000 + low,
    producerEpoch: reader.int16(),
    baseSequence: reader.int32(),
  };
}

/** Whether a batch says that it belongs to a transaction, without a look at the rest of it. The append checks the batch. */
export function isTransactional(bytes: Uint8Array): boolean {
  return bytes.length >= BATCH_HEADER_BYTES && ((bytes[ATTRIBUTES_LOW_AT] as number) & TRANSACTIONAL) !== 0;
}

/**
 * Decodes the records of the batch at `position`, whose header is `header`, with offsets counted from `baseOffset`.
 * Keys, values and headers are views on the batch, or on its decompressed bytes.
 * @throws EventLogError `invalid_batch` if the records do not decode, do not match the header, or exceed a limit
 */
export function decodeRecords(
  bytes: Uint8Array,
  position: number,
  header: RecordBatchHeader,
  baseOffset: number = header.baseOffset,
): StoredRecord[] {
  return attempt(position, () => {
    if (header.recordCount > RECORDS_PER_BATCH_MAX) {
      throw new ByteFormatError(`${header.recordCount} records; at most ${RECORDS_PER_BATCH_MAX} are allowed`);
    }
    const stored = bytes.subarray(position + BATCH_HEADER_BYTES, position + header.bytes);
    const content = decompress(header.compression, stored, BATCH_UNCOMPRESSED_BYTES_MAX);
    const reader = new ByteReader(content);
    const records: StoredRecord[] = [];
    let headersLeft = HEADERS_PER_BATCH_MAX;
    for (let i = 0; i < header.recordCount; i++) {
      const record = readRecord(reader, header, baseOffset, headersLeft);
      headersLeft -= record.headers.length;
      records.push(record);
    }
    if (reader.remaining > 0)
      throw new ByteFormatError(`${reader.remaining} bytes follow the last of ${header.recordCount} records`);
    return records;
  });
}

function readRecord(
  reader: ByteReader,
  header: RecordBatchHeader,
  baseOffset: number,
  headersLeft: number,
): StoredRecord {
  const length = reader.varint();
  const start = reader.position;
  reader.int8();
  const timestampDelta = reader.varint();
  const offsetDelta = reader.varint();
  if (offsetDelta < 0 || offsetDelta > header.lastOffsetDelta)
    throw new ByteFormatError(`a record has the offset delta ${offsetDelta}`);
  const key = readNullable(reader);
  const value = readNullable(reader);
  const headerCount = reader.varint();
  if (headerCount < 0 || headerCount > HEADERS_PER_RECORD_MAX) {
    throw new ByteFormatError(`a record has ${headerCount} headers; at most ${HEADERS_PER_RECORD_MAX} are allowed`);
  }
  if (headerCount > headersLeft)
    throw new ByteFormatError(`its records have more than ${HEADERS_PER_BATCH_MAX} headers together`);
  const headers: RecordHeader[] = headerCount === 0 ? NO_HEADERS : [];
  for (let i = 0; i < headerCount; i++) {
    const name = reader.view(reader.varint());
    headers.push({ key: decodeText(name), value: readNullable(reader) });
  }
  if (reader.position - start !== length) {
    throw new ByteFormatError(
      `the length of a record is ${length} bytes, but the record takes ${reader.position - start}`,
    );
  }
  const timestampMs =
    header.timestampType === 'log_append_time' ? header.maxTimestamp : header.baseTimestamp + timestampDelta;
  if (!Number.isSafeInteger(timestampMs)) throw new ByteFormatError('a timestamp is beyond ±(2^53 − 1)');
  return { offset: baseOffset + offsetDelta, timestampMs, key, value, headers };
}

const NO_HEADERS: RecordHeader[] = [];
const HEADER_NAMES = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function decodeText(bytes: Uint8Array): string {
  try {
    return HEADER_NAMES.decode(bytes);
  } catch {
    throw new ByteFormatError('a header name is not UTF-8');
  }
}

function readNullable(reader: ByteReader): Uint8Array | null {
  const length = reader.varint();
  return length === -1 ? null : reader.view(length);
}

/** Encodes at least one record into a batch with base offset 0 and offset deltas 0, 1, 2 … */
export function encodeBatch(records: readonly LogRecord[], options: EncodeBatchOptions = {}): Uint8Array {
  const batch = writeBatch(records, options);
  const { compression = 'none' } = options;
  return sealBatch(
    batch,
    compression === 'none' ? undefined : compress(compression, batch.subarray(BATCH_HEADER_BYTES)),
  );
}

/** Sets in place the two fields that the CRC does not cover. The leader epoch is always 0: no partition has a leader. */
export function placeBatch(bytes: Uint8Array, position: number, baseOffset: number): void {
  const view = viewOf(bytes);
  setInt64(view, position, baseOffset);
  view.setInt32(position + LENGTH_END, 0);
}

/** Returns a copy with the timestamp type LogAppendTime, or with a corrected max timestamp, and with a new CRC. */
export function withTimestamps(batch: Uint8Array, maxTimestampMs: number, type: TimestampType): Uint8Array {
  const copy = batch.slice();
  const view = viewOf(copy);
  const attributes = view.getInt16(CRC_END);
  view.setInt16(CRC_END, type === 'log_append_time' ? attributes | LOG_APPEND_TIME : attributes & ~LOG_APPEND_TIME);
  setInt64(view, MAX_TIMESTAMP_AT, maxTimestampMs);
  view.setUint32(CRC_AT, crc32c(copy.subarray(CRC_END)));
  return copy;
}

/**
 * Returns the batch `bytes`, whose header is `header`, with only `records`, as Kafka's cleaner writes it
 * (`MemoryRecords.buildRetainedRecordsInto`): the other fields stay, except the base timestamp and the max timestamp.
 * Given a delete horizon, the base timestamp holds it. Returns `undefined` if the records
 * would exceed the limit of readers: with another base timestamp their deltas can take more bytes.
 */
export function retainRecords(
  bytes: Uint8Array,
  header: RecordBatchHeader,
  records: readonly StoredRecord[],
  deleteHorizonMs: number | undefined,
): Uint8Array | undefined {
  const baseTimestamp = deleteHorizonMs ?? Math.max(0, records[0]?.timestampMs ?? 0);
  const maxTimestamp = records.reduce((max, { timestampMs }) => Math.max(max, timestampMs), NO_TIMESTAMP);
  const content = encodeRecords(records, header.baseOffset, baseTimestamp);
  if (content.length > BATCH_UNCOMPRESSED_BYTES_MAX) return undefined;
  const batch = concatBytes([bytes.subarray(0, BATCH_HEADER_BYTES), compress(header.compression, content)]);
  const view = viewOf(batch);
  view.setInt32(LENGTH_AT, batch.length - LENGTH_END);
  if (deleteHorizonMs !== undefined) view.setInt16(CRC_END, view.getInt16(CRC_END) | DELETE_HORIZON);
  setInt64(view, BASE_TIMESTAMP_AT, baseTimestamp);
  // If it is the time of append, then each record has it, and it stays.
  setInt64(view, MAX_TIMESTAMP_AT, maxTimestamp);
  view.setInt32(RECORD_COUNT_AT, records.length);
  view.setUint32(CRC_AT, crc32c(batch.subarray(CRC_END)));
  return batch;
}

function attempt<T>(position: number, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof ByteFormatError)) throw error;
    const where = position === 0 ? '' : ` at byte ${position}`;
    throw new EventLogError('invalid_batch', `The record batch${where} is invalid: ${error.message}.`, {
      details: { position, ...(error instanceof CrcMismatch ? { reason: CRC_MISMATCH } : {}) },
    });
  }
}

/** The `reason` in the details of an error: the bytes are not those that were sent, so it helps to send them again. */
export const CRC_MISMATCH = 'crc_mismatch';

class CrcMismatch extends ByteFormatError {}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, '0')}`;
}
