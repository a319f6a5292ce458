import { PARTITIONS_PER_HEAD_DEFAULT } from '../../../shared/log/limits.ts';
import type { AppendedRecord, Invocation, ReadRecord, RecordContent, Violation } from '../history.ts';

/** What the checks of a history share. Times are indexes of events: what comes later in the history is later. */

export type AppendTry = Extract<Invocation, { readonly f: 'append' }>;

/** The numbers of the promises; what has no number has a name. */
export type PromiseName = 'R1' | 'R2' | 'R3' | 'R4' | 'R5' | 'R6' | 'R9' | 'R10' | 'settings' | 'atomic' | 'deletion';

/** Violations after so many tell nothing new. */
const VIOLATIONS_MAX = 20;

export class Report {
  readonly violations: Violation[] = [];

  get isFull(): boolean {
    return this.violations.length >= VIOLATIONS_MAX;
  }

  add(promise: PromiseName, message: string): void {
    if (!this.isFull) this.violations.push({ promise, message });
  }
}

/**
 * Which records of an append are committed at once, and so stand together: all of an atomic append, those of one head
 * under an idempotency key, those of one partition with an expected offset. Of any other append each record batch is
 * committed by itself, and where one batch ends and the next begins depends on the topic's `max.message.bytes`, which a
 * history does not tell.
 */
export type Commit = 'whole' | 'each_head' | 'each_partition' | 'each_batch';

/** An append, however often it was tried. */
export class SentAppend {
  readonly topic: Topic;
  readonly records: SentRecord[];
  /** The first try that ended and may have appended; until then the first one that ended. */
  request: AppendTry;
  mayHaveAppended = false;
  commit: Commit = 'each_batch';
  /** How many of its records the final log has, and in how many partitions. */
  found = 0;
  partitionsFound = 0;
  /** The record of it that was met last in the walk through the final log. */
  lastFound: SentRecord | undefined;
  /** The furthest end of the partition that a try was rejected for, in the topic's last life; -1 without one. */
  rejectedAtEnd = -1;

  constructor(topic: Topic, request: AppendTry) {
    this.topic = topic;
    this.request = request;
    this.records = [];
    for (let place = 0; place < request.records.length; place++) {
      this.records.push(new SentRecord(this, place, request.records[place] as AppendedRecord));
    }
  }
}

/** A record and when it can have been appended. */
export interface Step {
  readonly append: SentAppend;
  readonly content: AppendedRecord;
  /** The first invocation of a try that may have appended it; infinite where all have failed. */
  readonly triedAt: number;
  /** The invocation of the try that was told to have appended it, which is later than `triedAt`; else -1. */
  readonly appendedAfter: number;
  /** The first acknowledgement; infinite without one. */
  readonly acknowledgedAt: number;
}

export class SentRecord implements Step {
  readonly append: SentAppend;
  /** In the request. */
  readonly place: number;
  readonly content: AppendedRecord;
  triedAt = Number.POSITIVE_INFINITY;
  /** This and the next three are of the topic's last life. */
  appendedAfter = -1;
  acknowledgedAt = Number.POSITIVE_INFINITY;
  toldPartition = -1;
  toldOffset = -1;
  /** When every try that did not fail had been acknowledged; infinite where one of them is uncertain. */
  settledAt = -1;
  /** In the final log. */
  foundPartition = -1;
  foundOffset = -1;

  constructor(append: SentAppend, place: number, content: AppendedRecord) {
    this.append = append;
    this.place = place;
    this.content = content;
  }
}

/** That a partition ended at `end`, at some moment between `invokedAt` and `completedAt`. */
export interface Observation {
  readonly by: 'read' | 'end' | 'offset_mismatch';
  readonly op: number;
  readonly end: number;
  readonly invokedAt: number;
  readonly completedAt: number;
}

/** What an earlier life had at an offset, as acknowledgements and reads tell. */
export interface KnownRecord {
  readonly record: SentRecord;
  readonly lane: Lane;
  readonly offset: number;
  /** The first acknowledgement of that life; infinite without one. */
  readonly acknowledgedAt: number;
  /** As it was first read. */
  read: ReadRecord | undefined;
}

const NOTHING: readonly never[] = [];

/** A partition in one life of its topic. */
export class Lane {
  readonly topic: Topic;
  readonly partition: number;
  final: readonly ReadRecord[] = NOTHING;
  /** Of the final log, by offset; of an earlier life those that are known, in the order of `offsets`. */
  steps: readonly (Step | undefined)[] = NOTHING;
  offsets: readonly number[] | undefined;
  /** Of an earlier life, by offset. */
  known: Map<number, KnownRecord> | undefined;
  observations: Observation[] | undefined;
  /** The final log has other offsets than it must, so what was told of offsets can't be held against it. */
  isBroken = false;

  constructor(topic: Topic, partition: number) {
    this.topic = topic;
    this.partition = partition;
  }

  get name(): string {
    return `${this.topic.name}/${this.partition}`;
  }

  at(offset: number): string {
    return `${this.name} at offset ${offset}`;
  }
}

/**
 * A time in which no deletion of the topic was under way, so that it was the same topic all along. What was asked and
 * answered within it is certain to be about that topic.
 */
export class Life {
  readonly from: number;
  readonly to: number;
  /** The one whose records the final log has. */
  readonly isLast: boolean;
  readonly lanes = new Map<number, Lane>();
  /** Of an earlier life, the records whose offsets are known. */
  known: Map<SentRecord, KnownRecord> | undefined;
  private readonly topic: Topic;

  constructor(topic: Topic, from: number, to: number, isLast: boolean) {
    this.topic = topic;
    this.from = from;
    this.to = to;
    this.isLast = isLast;
  }

  lane(partition: number): Lane {
    let lane = this.lanes.get(partition);
    if (lane === undefined) {
      lane = new Lane(this.topic, partition);
      this.lanes.set(partition, lane);
    }
    return lane;
  }
}

export interface Deletion {
  readonly invokedAt: number;
  /** Infinite unless it ended `ok`: it may take effect at any later time. */
  readonly endedAt: number;
}

const NO_DELETIONS: readonly Deletion[] = [];

export class Topic {
  readonly name: string;
  /** The deletions in the order of their ends, each with the latest beginning of it and those before. */
  private readonly byEnd: readonly Deletion[];
  /** In order, with the last one, which a deletion without an end never lets begin. */
  readonly lives: readonly Life[];
  readonly last: Life;

  /** `deletions` in the order of their invocations, without those that failed. */
  constructor(name: string, deletions: readonly Deletion[] = NO_DELETIONS) {
    this.name = name;
    const lives: Life[] = [];
    let from = -1;
    for (const { invokedAt, endedAt } of deletions) {
      // Between deletions that overlap there is a life without time, which no request fits.
      lives.push(new Life(this, from, invokedAt, false));
      from = Math.max(from, endedAt);
    }
    this.last = new Life(this, from, Number.POSITIVE_INFINITY, true);
    lives.push(this.last);
    this.lives = lives;
    let begunAt = -1;
    this.byEnd = deletions
      .slice()
      .sort((a, b) => a.endedAt - b.endedAt)
      .map(({ invokedAt, endedAt }) => {
        begunAt = Math.max(begunAt, invokedAt);
        return { invokedAt: begunAt, endedAt };
      });
  }

  /** The life that a request was answered in, if that is certain. */
  lifeOf(invokedAt: number, completedAt: number): Life | undefined {
    const later = firstIndex(this.lives, (life) => life.from >= invokedAt);
    const life = this.lives[later - 1];
    return life !== undefined && completedAt < life.to ? life : undefined;
  }

  /** Whatever was settled before this is gone for whoever asks at `at` or later; -1 where nothing was deleted. */
  goneBefore(at: number): number {
    return this.byEnd[firstIndex(this.byEnd, ({ endedAt }) => endedAt >= at) - 1]?.invokedAt ?? -1;
  }
}

/** Where `holds` begins to be true; it is false for a beginning of the list and true for the rest. */
function firstIndex<T>(list: readonly T[], holds: (element: T) => boolean): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(list[middle] as T)) high = middle;
    else low = middle + 1;
  }
  return low;
}

export function headOf(partition: number): number {
  return Math.floor(partition / PARTITIONS_PER_HEAD_DEFAULT);
}

const NO_HEADERS: Readonly<Record<string, string>> = {};

/** But for the value. An absent timestamp agrees with any: whoever did not give or tell it can't be held to it. */
export function isSameContent(a: RecordContent, b: RecordContent): boolean {
  if (a.key !== b.key) return false;
  if (a.timestampMs !== b.timestampMs && a.timestampMs !== undefined && b.timestampMs !== undefined) return false;
  if (a.headers === b.headers) return true;
  const headers = a.headers ?? NO_HEADERS;
  const others = b.headers ?? NO_HEADERS;
  let surplus = 0;
  for (const _ in others) surplus++;
  for (const name in headers) {
    if (headers[name] !== others[name]) return false;
    surplus--;
  }
  return surplus === 0;
}

const VALUE_SHOWN_MAX = 40;

export function shown(value: string): string {
  return JSON.stringify(value.length > VALUE_SHOWN_MAX ? `${value.slice(0, VALUE_SHOWN_MAX)}…` : value);
}
