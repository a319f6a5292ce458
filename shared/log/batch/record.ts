/** A record as it is stored: Kafka's record. Headers keep their order and may repeat a name. */
export interface LogRecord {
  /** Milliseconds since the epoch; −1 if the producer gave none. */
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

/** A record with its offset in the partition. */
export interface StoredRecord extends LogRecord {
  readonly offset: number;
}
