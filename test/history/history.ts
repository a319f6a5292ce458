/**
 * What clients asked and were answered, in the order in which it happened, as lines of JSON. The simulator and the runs
 * against real processes write the same, and `check-history.ts` judges it.
 *
 * Every operation begins with an `invoke` and ends with at most one of: `ok`, all of it was done; `fail`, none of it was,
 * for certain; `info`, anything else: no one knows, or some records were appended and others not. An operation without
 * an end was cut off, and is as uncertain as an `info`. The order of the lines is the order in time; `time` only tells
 * when, in milliseconds.
 *
 * A try that is repeated under the same identity (producer sequence or idempotency key) is an operation of its own with
 * the same values. Values are unique otherwise: two operations bear the same value only as tries of the same append.
 */
export type HistoryEvent = Invocation | Completion;

interface EventFacts {
  /** Pairs a completion with its invocation. */
  readonly op: number;
  /** Who asked. */
  readonly process: string;
  readonly time: number;
  readonly topic: string;
}

export type Invocation = EventFacts & { readonly type: 'invoke' } & (
    | AppendInvocation
    | {
        readonly f: 'read';
        readonly partition: number;
        /** Where the read was to begin; absent where it was by time or from the end. */
        readonly offset?: number;
      }
    /** Asks for the end of a partition without reading. */
    | { readonly f: 'end'; readonly partition: number }
    | CreateTopicInvocation
    | { readonly f: 'delete_topic' | 'describe_topic' }
  );

/** Makes a topic, or changes one that is there. A value that is set is given once, by one operation. */
export interface CreateTopicInvocation {
  readonly f: 'create_topic';
  readonly partitions?: number;
  readonly config?: Readonly<Record<string, string>>;
}

export interface AppendInvocation {
  readonly f: 'append';
  readonly records: readonly AppendedRecord[];
  readonly atomic?: boolean;
  readonly idempotencyKey?: string;
  /** Of the first record; each record takes one sequence. All records are then of one partition. */
  readonly producer?: { readonly id: number; readonly epoch: number; readonly sequence: number };
  /** The offset that the first record was to get, or nothing. */
  readonly expectedOffset?: number;
  /**
   * The operation that the same process was given just before, to the same partition, as over one connection: this one
   * comes after it. Neither is sent again.
   */
  readonly after?: number;
}

export interface AppendedRecord extends RecordContent {
  /** Absent where the log was to choose. */
  readonly partition?: number;
}

export interface RecordContent {
  readonly value: string;
  readonly key?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly timestampMs?: number;
}

export type Completion = EventFacts & { readonly type: 'ok' | 'fail' | 'info' } & (
    | {
        readonly f: 'append';
        /** In the order of the invocation; absent where the whole had one fate. */
        readonly outcomes?: readonly RecordFate[];
        /** What went wrong, where the whole had one fate. */
        readonly error?: string;
        /** The end of the partition that an `offset_mismatch` told. */
        readonly nextOffset?: number;
      }
    | ({ readonly f: 'read'; readonly error?: string } & Partial<ReadAnswer>)
    | { readonly f: 'end'; readonly error?: string; readonly highWatermark?: number }
    | ({ readonly f: 'create_topic' | 'describe_topic'; readonly error?: string } & Partial<TopicAnswer>)
    | { readonly f: 'delete_topic'; readonly error?: string }
  );

export type RecordFate =
  | { readonly type: 'ok'; readonly partition: number; readonly offset: number; readonly duplicate?: boolean }
  | { readonly type: 'fail' | 'info'; readonly error: string };

/** A topic as it was told: of its settings those that it has itself. */
export interface TopicAnswer {
  readonly partitions: number;
  readonly config: Readonly<Record<string, string>>;
}

export interface ReadAnswer {
  readonly highWatermark: number;
  readonly logStartOffset: number;
  /** Where the next read goes on: all records from the asked offset to this one are in `records`. */
  readonly nextOffset: number;
  readonly records: readonly ReadRecord[];
}

export interface ReadRecord extends RecordContent {
  readonly offset: number;
}

/**
 * The whole of a topic after everything was over: partition -> its records from offset 0 on.
 * What a history is judged by.
 */
export type FinalLog = ReadonlyMap<number, readonly ReadRecord[]>;

/** A promise of `docs/reliability.md` that was broken, and how. */
export interface Violation {
  readonly promise: string;
  readonly message: string;
}
