import { hasLinkedBlocks } from '../batch/lz4.ts';
import type { StoredRecord } from '../batch/record.ts';
import {
  decodeRecords,
  encodeBatch,
  NO_TIMESTAMP,
  type RecordBatchHeader,
  readBatchHeader,
  withTimestamps,
} from '../batch/record-batch.ts';
import { BATCH_HEADER_BYTES, NO_PRODUCER_ID } from '../batch/write-batch.ts';
import { EventLogError } from '../errors.ts';
import type { CheckedBatch } from '../head/head-append.ts';
import { PRODUCER_EPOCH_MAX, TIMESTAMP_MAX } from '../limits.ts';
import { choiceSetting, isCompacted, numberSetting, requiredCompression, type TopicConfig } from './topic-config.ts';

/**
 * Checks and adjusts a produced batch as Kafka's brokers do (`LogValidator`). The batch must be one whole data batch, not a
 * marker. It must decode to the number of records in its header, with offsets 0, 1, 2 …, within the topic's limits on size
 * and time. The bytes are kept as they are, unless the topic sets its own time or compression, or not all clients can read them.
 * @throws EventLogError `invalid_batch`, `record_too_large`, `invalid_request` (timestamps)
 */
export function checkProducedBatch(bytes: Uint8Array, config: TopicConfig, nowMs: number): CheckedBatch {
  const header = readBatchHeader(bytes);
  if (header.bytes !== bytes.length) throw invalidBatch(`${bytes.length - header.bytes} bytes follow it`);
  if (header.control) throw invalidBatch('it is a control batch, which only the log itself writes');
  if (header.timestampType === 'log_append_time')
    throw invalidBatch('its timestamp type is LogAppendTime, which only the log itself sets');
  if (header.deleteHorizonMs !== undefined)
    throw invalidBatch('it has a delete horizon (attribute bit 6), which only compaction sets');
  if (header.recordCount === 0) throw invalidBatch('it has no records');
  if (header.recordCount !== header.lastOffsetDelta + 1) {
    throw invalidBatch(`it counts ${header.recordCount} records but ${header.lastOffsetDelta + 1} offsets`);
  }
  const records = decodeRecords(bytes, 0, header, 0);
  const needsKeys = isCompacted(config);
  records.forEach((record, i) => {
    if (needsKeys && record.key === null) throw invalidBatch(`record ${i} has no key, and the topic is compacted`);
    if (record.offset !== i) throw invalidBatch(`record ${i} has the offset delta ${record.offset}`);
  });
  const producer = checkProducer(header);
  if (header.transactional && producer === undefined) throw invalidBatch('it is transactional, and names no producer');
  const logAppendTimeMs = choiceSetting(config, 'message.timestamp.type') === 'LogAppendTime' ? nowMs : undefined;
  if (logAppendTimeMs === undefined) checkTimestamps(records, config, nowMs);
  const maxTimestampMs =
    logAppendTimeMs ?? records.reduce((max, record) => Math.max(max, record.timestampMs), records[0]?.timestampMs ?? 0);
  const data = conform(bytes, header, records, config, logAppendTimeMs, maxTimestampMs);
  const bytesMax = numberSetting(config, 'max.message.bytes');
  if (data.length > bytesMax) {
    throw new EventLogError(
      'record_too_large',
      `The record batch has ${data.length} bytes; the topic's max.message.bytes is ${bytesMax}.`,
      {
        details: { bytes: data.length, bytesMax },
      },
    );
  }
  const { transactional, recordCount } = header;
  return { data, records: recordCount, maxTimestampMs, producer, transactional, logAppendTimeMs };
}

/** Returns the bytes with the compression and times that the topic requires: the given bytes if they already have them. */
function conform(
  bytes: Uint8Array,
  header: RecordBatchHeader,
  records: readonly StoredRecord[],
  config: TopicConfig,
  logAppendTimeMs: number | undefined,
  maxTimestampMs: number,
): Uint8Array {
  const compression = requiredCompression(config) ?? header.compression;
  // Kafka rejects it. Packed again, all clients can read it.
  const isLinked = compression === 'lz4' && hasLinkedBlocks(bytes.subarray(BATCH_HEADER_BYTES));
  if (compression !== header.compression || isLinked) {
    const { producerId, producerEpoch, baseSequence } = header;
    return encodeBatch(records, {
      compression,
      producer: { producerId, producerEpoch, baseSequence },
      transactional: header.transactional,
      logAppendTimeMs,
    });
  }
  if (logAppendTimeMs === undefined && header.maxTimestamp === maxTimestampMs) return bytes;
  return withTimestamps(bytes, maxTimestampMs, logAppendTimeMs === undefined ? 'create_time' : 'log_append_time');
}

function checkProducer({ producerId, producerEpoch, baseSequence }: RecordBatchHeader): CheckedBatch['producer'] {
  if (producerId === NO_PRODUCER_ID) return undefined;
  if (producerId < 0 || producerEpoch < 0 || producerEpoch > PRODUCER_EPOCH_MAX || baseSequence < 0) {
    throw invalidBatch(
      `its producer id ${producerId}, epoch ${producerEpoch} and sequence ${baseSequence} must be 0 or more`,
    );
  }
  return { producerId, producerEpoch, baseSequence };
}

function checkTimestamps(records: readonly StoredRecord[], config: TopicConfig, nowMs: number): void {
  for (const { timestampMs, offset } of records) {
    const error = timestampMs === NO_TIMESTAMP ? undefined : checkTimestamp(timestampMs, offset, config, nowMs);
    if (error !== undefined) throw error;
  }
}

/** Returns an error if a record's time is outside the topic's limits. */
export function checkTimestamp(
  timestampMs: number,
  record: number,
  config: TopicConfig,
  nowMs: number,
): EventLogError | undefined {
  const earliest = Math.max(0, nowMs - numberSetting(config, 'message.timestamp.before.max.ms'));
  const latest = Math.min(nowMs + numberSetting(config, 'message.timestamp.after.max.ms'), TIMESTAMP_MAX);
  if (Number.isSafeInteger(timestampMs) && timestampMs >= earliest && timestampMs <= latest) return undefined;
  return new EventLogError(
    'invalid_request',
    `Record ${record} has the timestamp ${timestampMs}; the topic accepts ${earliest} to ${latest} (message.timestamp.before.max.ms, message.timestamp.after.max.ms).`,
    { details: { field: `records[${record}].timestamp`, timestampMs, earliest, latest } },
  );
}

function invalidBatch(what: string): EventLogError {
  return new EventLogError('invalid_batch', `The record batch cannot be appended: ${what}.`);
}
