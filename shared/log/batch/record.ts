/** A record as it is kept: bytes and a time. Kafka's record, headers in order and with repeated names allowed. */
export interface LogRecord {
  /** Milliseconds since the epoch; −1 where the producer gave none. */
  readonly timestampMs: number;
  readonly key: Uint8Array | null;
  /** `null` is a tombstone. */
  readonly value: Uint8Array | null;
  readonly headers: readonly RecordHeader[];
}

export interface RecordHeader {
  readonly key: string;
  readonly value: Uint8Array | null;
}

/** A record with its place in the partition. */
export interface StoredRecord extends LogRecord {
  readonly offset: number;
}
