import type { RecordHeader } from '../../log/batch/record.ts';
import { BATCH_HEADER_BYTES, encodeBatch, recordBytesBound } from '../../log/batch/record-batch.ts';
import { EventLogError, invalidField } from '../../log/errors.ts';
import type { EntryProducer } from '../../log/head/entry.ts';
import { addSequence } from '../../log/head/producer.ts';
import { HEADERS_PER_RECORD_MAX, RECORDS_PER_BATCH_MAX } from '../../log/limits.ts';
import { checkTimestamp } from '../../log/topic/check-batch.ts';
import { partitionForKey } from '../../log/topic/partitioner.ts';
import { checkPartition, checkTopicName, type Topic } from '../../log/topic/topic.ts';
import { choiceSetting, numberSetting, requiredCompression } from '../../log/topic/topic-config.ts';
import type { BrokerContext } from '../context.ts';
import { type AppendIdentity, type AppendOutcome, append, type BatchToAppend } from './append-batches.ts';
import type { Committer } from './group-commit.ts';
import { appendOnce } from './idempotency-key.ts';

export interface RecordToAppend {
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: readonly RecordHeader[];
  /** Default: now. */
  readonly timestampMs?: number | undefined;
  /** Default: by the key as Kafka's clients choose it; without a key, one partition for the whole request. */
  readonly partition?: number | undefined;
}

export interface AppendRecordsRequest {
  readonly topic: string;
  readonly records: readonly RecordToAppend[];
  /** All records by one commit, or none; see `AppendRequest.atomic`. */
  readonly atomic?: boolean | undefined;
  /** For records of one partition: `baseSequence` is that of the first record, and each record takes one. */
  readonly producer?: EntryProducer | undefined;
  /** For records of one partition: append only if the first record gets this offset. */
  readonly expectedOffset?: number | undefined;
  /** Any text of up to 255 characters: for 24 hours, the same append under the same key is done once and answered alike. */
  readonly idempotencyKey?: string | undefined;
}

export type RecordOutcome =
  | {
      readonly ok: true;
      readonly partition: number;
      readonly offset: number;
      readonly timestampMs: number;
      readonly duplicate: boolean;
    }
  | { readonly ok: false; readonly error: EventLogError };

/** One batch to be, with the places of its records in the request. */
interface PlannedBatch {
  readonly partition: number;
  readonly places: number[];
  bytes: number;
}

interface Plan {
  readonly batches: PlannedBatch[];
  readonly errors: Map<number, EventLogError>;
}

/** The next sticky partition: each request without keys goes to another one. */
export class StickyPartitions {
  private readonly next = new Map<string, number>();

  take(topic: Topic, random: (length: number) => Uint8Array): number {
    const last = this.next.get(topic.topicId) ?? (random(2) as Uint8Array).reduce((sum, byte) => sum * 256 + byte, 0);
    this.next.delete(topic.topicId);
    this.next.set(topic.topicId, last + 1);
    if (this.next.size > STICKY_TOPICS_MAX) this.next.delete(this.next.keys().next().value as string);
    return last % topic.partitions;
  }
}

const STICKY_TOPICS_MAX = 10_000;

/**
 * Appends records to one topic: chooses partitions, makes a batch for each (several where one would pass the topic's
 * `max.message.bytes`), and appends those as `append` does, at the same cost. Every record has its own outcome, in the
 * order of the request. Under an idempotency key, 1 PutItem and 1 UpdateItem more.
 * @throws EventLogError `unknown_topic`, `invalid_request`, `idempotency_key_reused`, `throttled`, `shutting_down`
 */
export async function appendRecords(
  context: BrokerContext,
  committer: Committer,
  sticky: StickyPartitions,
  request: AppendRecordsRequest,
): Promise<RecordOutcome[]> {
  checkTopicName(request.topic);
  const topic = await context.topics.get(request.topic);
  const { idempotencyKey } = request;
  if (idempotencyKey === undefined) {
    return appendPlanned(
      context,
      committer,
      request,
      topic,
      planBatches(
        request,
        topic,
        sticky.take(topic, (n) => context.random.bytes(n)),
      ),
    );
  }
  if (request.producer !== undefined)
    throw invalidField(
      'Idempotency-Key',
      'An append is made once by its producer sequence or by an idempotency key, not by both.',
    );
  return appendOnce(context, committer, topic, idempotencyKey, request, {
    plan: (then, hash) =>
      planBatches(request, then, new DataView(hash.buffer, hash.byteOffset).getUint16(0) % then.partitions),
    partitions: (plan) => plan.batches.map((batch) => batch.partition),
    run: (then, plan, identity) => appendPlanned(context, committer, request, then, plan, identity),
  });
}

function planBatches(request: AppendRecordsRequest, topic: Topic, stickyPartition: number): Plan {
  const bytesMax = numberSetting(topic.config, 'max.message.bytes');
  const batches: PlannedBatch[] = [];
  const errors = new Map<number, EventLogError>();
  const open = new Map<number, PlannedBatch>();
  request.records.forEach((record, place) => {
    try {
      const partition =
        record.partition ?? (record.key === null ? stickyPartition : partitionForKey(record.key, topic.partitions));
      checkPartition(topic, partition);
      if (record.headers.length > HEADERS_PER_RECORD_MAX) {
        throw invalidField(`records[${place}].headers`, `A record has at most ${HEADERS_PER_RECORD_MAX} headers.`);
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
  const single =
    request.producer !== undefined ? 'Producer-Seq' : request.expectedOffset !== undefined ? 'If-Match' : undefined;
  const chosen = request.records.every((record) => record.key !== null || record.partition !== undefined);
  if (single !== undefined && (open.size > 1 || (!chosen && topic.partitions > 1))) {
    throw invalidField(single, 'This needs all records in one partition; give each record the same partition.');
  }
  return { batches, errors };
}

async function appendPlanned(
  context: BrokerContext,
  committer: Committer,
  request: AppendRecordsRequest,
  topic: Topic,
  plan: Plan,
  identity?: AppendIdentity,
): Promise<RecordOutcome[]> {
  const nowMs = context.clock.nowMs();
  const logAppendTime = choiceSetting(topic.config, 'message.timestamp.type') === 'LogAppendTime';
  const timestampOf = (place: number): number =>
    logAppendTime ? nowMs : (request.records[place]?.timestampMs ?? nowMs);
  const errors = new Map(plan.errors);
  const whole =
    request.atomic || request.producer !== undefined || request.expectedOffset !== undefined || identity !== undefined;
  if (!logAppendTime) {
    request.records.forEach((record, place) => {
      const error =
        record.timestampMs === undefined ? undefined : checkTimestamp(record.timestampMs, place, topic.config, nowMs);
      if (error !== undefined && !errors.has(place)) errors.set(place, error);
    });
  }
  if (whole && errors.size > 0) return refuseOthers(request.records.length, errors);
  const batches: { batch: PlannedBatch; places: number[] }[] = plan.batches
    .map((batch) => ({ batch, places: batch.places.filter((place) => !errors.has(place)) }))
    .filter(({ places }) => places.length > 0);
  let sequence = request.producer?.baseSequence ?? 0;
  const toAppend = batches.map(({ batch, places }, i): BatchToAppend => {
    const records = places.map((place) => ({
      ...(request.records[place] as RecordToAppend),
      timestampMs: timestampOf(place),
    }));
    const producer = request.producer === undefined ? undefined : { ...request.producer, baseSequence: sequence };
    sequence = addSequence(sequence, records.length);
    const data = encodeBatch(records, {
      compression: requiredCompression(topic.config) ?? 'none',
      producer,
      logAppendTimeMs: logAppendTime ? nowMs : undefined,
    });
    const maxTimestampMs = records.reduce(
      (max, record) => Math.max(max, record.timestampMs),
      records[0]?.timestampMs ?? nowMs,
    );
    return {
      topic: topic.name,
      partition: batch.partition,
      batch: {
        data,
        records: records.length,
        maxTimestampMs,
        producer,
        logAppendTimeMs: logAppendTime ? nowMs : undefined,
      },
      expectedOffset: i === 0 ? request.expectedOffset : undefined,
    };
  });
  const appended =
    toAppend.length === 0
      ? []
      : await append(context, committer, { batches: toAppend, atomic: request.atomic }, identity);
  const outcomes: RecordOutcome[] = [];
  for (const [place, error] of errors) outcomes[place] = { ok: false, error };
  batches.forEach(({ batch, places }, i) => {
    const outcome = appended[i] as AppendOutcome;
    places.forEach((place, k) => {
      outcomes[place] = outcome.ok
        ? {
            ok: true,
            partition: batch.partition,
            offset: outcome.baseOffset + k,
            timestampMs: timestampOf(place),
            duplicate: outcome.duplicate,
          }
        : { ok: false, error: outcome.error };
    });
  });
  return outcomes;
}

function refuseOthers(count: number, errors: ReadonlyMap<number, EventLogError>): RecordOutcome[] {
  const refused = new EventLogError(
    'atomic_append_refused',
    'Another record of this append was refused, so nothing was appended.',
  );
  return Array.from({ length: count }, (_, place) => ({ ok: false, error: errors.get(place) ?? refused }));
}

function recordTooLarge(place: number, bytes: number, bytesMax: number): EventLogError {
  return new EventLogError(
    'record_too_large',
    `Record ${place} takes ${bytes} bytes with its batch; the topic's max.message.bytes is ${bytesMax}.`,
    {
      details: { record: place, bytes, bytesMax },
    },
  );
}
