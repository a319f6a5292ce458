import { encodeBatch } from '../../log/batch/record-batch.ts';
import { BATCH_HEADER_BYTES, NO_SEQUENCE, recordBytesBound } from '../../log/batch/write-batch.ts';
import { EventLogError, invalidField } from '../../log/errors.ts';
import type { EntryProducer } from '../../log/head/entry.ts';
import type { CheckedBatch } from '../../log/head/head-append.ts';
import { addSequence } from '../../log/head/producer.ts';
import { HEADERS_PER_RECORD_MAX, PRODUCER_BATCHES_KEPT, RECORDS_PER_BATCH_MAX } from '../../log/limits.ts';
import { checkTimestamp } from '../../log/topic/check-batch.ts';
import { partitionForKey } from '../../log/topic/partitioner.ts';
import { checkPartition, type Topic } from '../../log/topic/topic.ts';
import { choiceSetting, isCompacted, numberSetting, requiredCompression } from '../../log/topic/topic-config.ts';
import type { AppendOutcome, BatchToAppend, RecordOutcome, RecordToAppend } from './outcomes.ts';

/** Makes record batches from records of one topic, and outcomes of records from those of the batches. */

/** One batch to be made, with the indexes of its records in the request. */
export interface PlannedBatch {
  readonly partition: number;
  readonly places: number[];
  bytes: number;
}

export interface RecordPlan {
  readonly batches: readonly PlannedBatch[];
  /** Index -> why the record cannot be appended. These records are in no batch. */
  readonly errors: ReadonlyMap<number, EventLogError>;
}

/** Decides which records go into which batch. Without `nowMs` timestamps and keys are not checked by the topic's settings. */
export function planBatches(
  given: readonly RecordToAppend[],
  topic: Topic,
  stickyPartition: number,
  nowMs: number | undefined,
): RecordPlan {
  const bytesMax = numberSetting(topic.config, 'max.message.bytes');
  const checksTime = nowMs !== undefined && !usesLogAppendTime(topic);
  const batches: PlannedBatch[] = [];
  const errors = new Map<number, EventLogError>();
  const open = new Map<number, PlannedBatch>();
  given.forEach((record, place) => {
    try {
      const partition =
        record.partition ?? (record.key === null ? stickyPartition : partitionForKey(record.key, topic.partitions));
      checkPartition(topic, partition);
      if (record.headers.length > HEADERS_PER_RECORD_MAX) {
        throw invalidField(`records[${place}].headers`, `A record can have at most ${HEADERS_PER_RECORD_MAX} headers.`);
      }
      if (record.key === null && nowMs !== undefined && isCompacted(topic.config)) throw lacksKey(topic, place);
      if (checksTime && record.timestampMs !== undefined) {
        const error = checkTimestamp(record.timestampMs, place, topic.config, nowMs);
        if (error !== undefined) throw error;
      }
      const bytes = recordBytesBound(record);
      if (BATCH_HEADER_BYTES + bytes > bytesMax) throw recordTooLarge(place, bytes, bytesMax);
      const batch = open.get(partition);
      if (batch !== undefined && batch.bytes + bytes <= bytesMax && batch.places.length < RECORDS_PER_BATCH_MAX) {
        batch.places.push(place);
        batch.bytes += bytes;
      } else {
        const started = { partition, places: [place], bytes: BATCH_HEADER_BYTES + bytes };
        open.set(partition, started);
        batches.push(started);
      }
    } catch (error) {
      if (!(error instanceof EventLogError)) throw error;
      errors.set(place, error);
    }
  });
  return { batches, errors };
}

function lacksKey({ name }: Topic, place: number): EventLogError {
  return invalidField(
    `records[${place}].key`,
    `Topic '${name}' is compacted (cleanup.policy): it keeps the last record of each key, so record ${place} needs a key.`,
  );
}

/**
 * Of more batches with a sequence in a partition, a repeated request would not find the first ones.
 * @throws EventLogError `request_too_large` naming the field of the sequence
 */
export function checkRepeatable(field: string, batches: number): void {
  if (batches <= PRODUCER_BATCHES_KEPT) return;
  throw new EventLogError(
    'request_too_large',
    `Records with a sequence can take at most ${PRODUCER_BATCHES_KEPT} batches of the topic's max.message.bytes in a partition; these take ${batches}. Send them in several requests, one after the other.`,
    { details: { field, batches, batchesMax: PRODUCER_BATCHES_KEPT } },
  );
}

export interface EncodeOptions {
  /** Of all batches, in order. Without sequences if its base sequence is `NO_SEQUENCE`. */
  readonly producer?: EntryProducer | undefined;
  readonly transactional?: boolean;
  /** The time of records without one. */
  readonly nowMs: number;
}

/** Writes the planned batches. */
export function encodeBatches(
  given: readonly RecordToAppend[],
  topic: Topic,
  { batches }: RecordPlan,
  { producer: first, transactional = false, nowMs }: EncodeOptions,
): (BatchToAppend & { readonly batch: CheckedBatch })[] {
  const logAppendTimeMs = usesLogAppendTime(topic) ? nowMs : undefined;
  const compression = requiredCompression(topic.config) ?? 'none';
  let producer = first;
  return batches.map(({ partition, places }) => {
    const records = places.map((place) => {
      const record = given[place] as RecordToAppend;
      return { ...record, timestampMs: logAppendTimeMs ?? record.timestampMs ?? nowMs };
    });
    const data = encodeBatch(records, { compression, producer, transactional, logAppendTimeMs });
    const maxTimestampMs = records.reduce(
      (max, record) => Math.max(max, record.timestampMs),
      records[0]?.timestampMs ?? nowMs,
    );
    const batch = { data, records: records.length, maxTimestampMs, producer, transactional, logAppendTimeMs };
    if (producer !== undefined && producer.baseSequence !== NO_SEQUENCE)
      producer = { ...producer, baseSequence: addSequence(producer.baseSequence, records.length) };
    return { topic: topic.name, partition, batch };
  });
}

/** The outcome of each record, from those of the planned batches. */
export function recordOutcomes(
  given: readonly RecordToAppend[],
  { batches, errors }: RecordPlan,
  appended: readonly AppendOutcome[],
  nowMs: number,
): RecordOutcome[] {
  const outcomes: RecordOutcome[] = [];
  for (const [place, error] of errors) outcomes[place] = { ok: false, error };
  batches.forEach(({ partition, places }, i) => {
    const outcome = appended[i] as AppendOutcome;
    places.forEach((place, k) => {
      outcomes[place] = outcome.ok
        ? {
            ok: true,
            partition,
            offset: outcome.baseOffset + k,
            timestampMs: outcome.logAppendTimeMs ?? given[place]?.timestampMs ?? nowMs,
            duplicate: outcome.duplicate,
          }
        : { ok: false, error: outcome.error };
    });
  });
  return outcomes;
}

function usesLogAppendTime(topic: Topic): boolean {
  return choiceSetting(topic.config, 'message.timestamp.type') === 'LogAppendTime';
}

function recordTooLarge(place: number, bytes: number, bytesMax: number): EventLogError {
  return new EventLogError(
    'record_too_large',
    `Record ${place} takes ${bytes} bytes with its batch; the topic's max.message.bytes is ${bytesMax}.`,
    { details: { record: place, bytes, bytesMax } },
  );
}
