import { EventLogError } from '../../log/errors.ts';
import { type Head, nextEntry } from '../../log/head/head.ts';
import type { AppendUnit, LaidOutPart, PartOutcome, UnitPart } from '../../log/head/plan-commit.ts';
import type { Topic } from '../../log/topic/topic.ts';
import type { HeadName } from './items.ts';
import { HeadProducers } from './producers.ts';

export interface WaitingUnit {
  readonly unit: AppendUnit;
  readonly settle: (outcome: PartOutcome[] | 'head_closed') => void;
}

/** One head as this process knows it, and the appends to it. */
export class HeadQueue {
  readonly topic: Topic;
  readonly headNumber: number;
  readonly name: HeadName;
  readonly waiting: WaitingUnit[] = [];
  waitingBytes = 0;
  readonly producers = new HeadProducers();
  head: Head | undefined;
  observedAtMs = Number.NEGATIVE_INFINITY;
  /** The last group's end: groups of a head commit one after the other. */
  last: Promise<void> = Promise.resolve();
  depth = 0;
  moving = false;

  constructor(topic: Topic, headNumber: number) {
    this.topic = topic;
    this.headNumber = headNumber;
    this.name = { topicId: topic.topicId, headNumber };
  }

  /** Remembers the newest state seen, as of when its request was sent, and answers it. */
  see(head: Head, atMs: number): Head {
    const newer =
      this.head === undefined ||
      nextEntry(head) > nextEntry(this.head) ||
      (nextEntry(head) === nextEntry(this.head) && (head.firstEntry >= this.head.firstEntry || head.closed));
    if (newer) this.head = head;
    this.observedAtMs = Math.max(this.observedAtMs, atMs);
    return this.head as Head;
  }
}

/** The units of one head in a group, with their data laid out by slot, so that batches of a partition lie together. */
export class HeadBatch {
  readonly queue: HeadQueue;
  readonly bytes: number;
  layout: LaidOutPart[] = [];
  private readonly settles: Map<AppendUnit, WaitingUnit['settle']>;
  private start = 0;

  constructor(queue: HeadQueue, waiting: readonly WaitingUnit[]) {
    this.queue = queue;
    this.bytes = waiting.reduce((sum, { unit }) => sum + unit.bytes, 0);
    this.settles = new Map(waiting.map(({ unit, settle }) => [unit, settle]));
  }

  get unsettled(): AppendUnit[] {
    return [...this.settles.keys()];
  }

  layOut(start: number): void {
    this.start = start;
    const parts = this.unsettled.flatMap((unit) => unit.parts.map((part, index) => ({ unit, index, part })));
    parts.sort((a, b) => a.part.slot - b.part.slot);
    let position = start;
    this.layout = parts.map(({ unit, index, part }) => {
      const laidOut = { unit, index, position };
      position += part.data.length;
      return laidOut;
    });
  }

  chunks(): Uint8Array[] {
    return this.layout.map(({ unit, index }) => (unit.parts[index] as UnitPart).data);
  }

  data(): Uint8Array {
    return this.slice(this.start, this.bytes);
  }

  /** A copy of a range of the data; positions count as in the object. */
  slice(position: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (const { unit, index, position: at } of this.layout) {
      const { data } = unit.parts[index] as UnitPart;
      if (at >= position && at + data.length <= position + length) bytes.set(data, at - position);
    }
    return bytes;
  }

  settle(unit: AppendUnit, outcomes: PartOutcome[] | 'head_closed'): void {
    this.settles.get(unit)?.(outcomes);
    this.settles.delete(unit);
  }

  settleAll(outcome: 'head_closed'): void {
    for (const unit of this.unsettled) this.settle(unit, outcome);
  }

  fail(cause: unknown): void {
    const error =
      cause instanceof EventLogError
        ? cause
        : new EventLogError('internal', 'The append met an error that it should not.', { cause });
    for (const unit of this.unsettled) {
      this.settle(
        unit,
        unit.parts.map(() => ({ type: 'failed', error })),
      );
    }
  }
}
