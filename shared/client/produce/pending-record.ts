import type { LogRecord, RecordHeader } from '../../log/batch/record.ts';
import { recordBytesBound } from '../../log/batch/write-batch.ts';
import { invalidField } from '../../log/errors.ts';
import { HEADERS_PER_RECORD_MAX, TIMESTAMP_MAX } from '../../log/limits.ts';
import { type Topic, text } from '../codec.ts';

/** A record to produce. `V` and `K` are what the topic's codecs take. */
export interface RecordToProduce<V, K> {
  /** `null` is a tombstone. */
  readonly value: V | null;
  /** Chooses the partition if none is given, as Kafka's clients do. */
  readonly key?: K | null | undefined;
  readonly headers?: readonly HeaderToProduce[] | undefined;
  /** Milliseconds since 1970-01-01T00:00:00Z; default: now. */
  readonly timestamp?: number | undefined;
  readonly partition?: number | undefined;
}

export interface HeaderToProduce {
  readonly name: string;
  readonly value: string | Uint8Array | null;
}

/** Where a record was appended. */
export interface ProducedRecord {
  readonly partition: number;
  readonly offset: number;
  /** Milliseconds since 1970-01-01T00:00:00Z. */
  readonly timestamp: number;
}

/** A record between `produce` and its end. It is settled once; later calls change nothing. */
export class PendingRecord {
  readonly topic: string;
  readonly partition: number | undefined;
  readonly record: LogRecord;
  /** What it takes up in a batch at most, uncompressed. */
  readonly bytes: number;
  /** By then it is acknowledged or rejected; set when it is accepted. */
  deadlineMs = Number.POSITIVE_INFINITY;
  /** It is in a batch that may have been sent: it can no longer be withdrawn. */
  isSent = false;
  isSettled = false;
  /** It takes up room in the buffer. */
  isAccepted = false;
  readonly #settled: Settle;

  constructor(topic: string, record: LogRecord, partition: number | undefined, settled: Settle) {
    this.topic = topic;
    this.record = record;
    this.partition = partition;
    this.bytes = recordBytesBound(record);
    this.#settled = settled;
  }

  resolve(place: ProducedRecord): void {
    if (!this.isSettled) this.#settle({ place });
  }

  reject(error: unknown): void {
    if (!this.isSettled) this.#settle({ error });
  }

  #settle(end: End): void {
    this.isSettled = true;
    this.#settled(this, end);
  }
}

export type End = { readonly place: ProducedRecord } | { readonly error: unknown };
type Settle = (record: PendingRecord, end: End) => void;

/** The bytes of a record. @throws EventLogError `invalid_request`, and whatever a codec throws */
export function encodeRecord<V, K>(topic: Topic<V, K>, given: RecordToProduce<V, K>, nowMs: number): LogRecord {
  const { key, value, headers = [], timestamp = nowMs, partition } = given;
  if (!Number.isSafeInteger(timestamp) || timestamp < 0 || timestamp > TIMESTAMP_MAX)
    throw invalidField('timestamp', `timestamp takes whole milliseconds from 0 to ${TIMESTAMP_MAX}.`);
  if (partition !== undefined && (!Number.isSafeInteger(partition) || partition < 0))
    throw invalidField('partition', 'partition takes a whole number from 0.');
  if (headers.length > HEADERS_PER_RECORD_MAX)
    throw invalidField('headers', `A record can have at most ${HEADERS_PER_RECORD_MAX} headers.`);
  // `undefined` is more often a slip than a tombstone, which is written as `null`.
  if (value === undefined) throw invalidField('value', 'A record needs a value; null is a tombstone.');
  return {
    timestampMs: timestamp,
    key: key === null || key === undefined ? null : topic.key.encode(key),
    value: value === null ? null : topic.value.encode(value),
    headers: headers.map(encodeHeader),
  };
}

function encodeHeader({ name, value }: HeaderToProduce): RecordHeader {
  if (typeof name !== 'string' || !name.isWellFormed()) throw invalidField('headers', 'A header needs a name.');
  return { key: name, value: typeof value === 'string' ? text.encode(value) : value };
}
