import { partitionForKey } from '../../log/topic/partitioner.ts';
import { asEventLogError, beforeAppend } from '../in-time.ts';
import type { TopicFacts } from '../log-api.ts';
import { type LaneContext, tooLate, untilAnswered } from './lane-context.ts';
import { PartitionLane } from './partition-lane.ts';
import type { PendingRecord } from './pending-record.ts';

/**
 * The records of one topic, given to the lanes of its partitions in the order in which they came. A key goes where Kafka's
 * clients put it. Records without a key stay in one partition until its batch is complete, and then go to the next.
 */
export class TopicLanes {
  readonly #context: LaneContext;
  readonly #name: string;
  readonly #forget: () => void;
  readonly #lanes = new Map<number, PartitionLane>();
  #facts: TopicFacts | undefined;
  #askedMs = Number.NEGATIVE_INFINITY;
  #isAsking = false;
  /** Records that came before the number of partitions was known, with the times when they stop waiting for it. */
  #held: { readonly record: PendingRecord; readonly untilMs: number }[] = [];
  #sticky: number | undefined;

  /** `forget`: called when nothing is known of the topic, and nothing waits for it. */
  constructor(context: LaneContext, name: string, forget: () => void) {
    this.#context = context;
    this.#forget = forget;
    this.#name = name;
  }

  /** `untilMs`: when the record stops waiting for what has to be known of the topic. */
  add(record: PendingRecord, untilMs: number): void {
    const facts = this.#facts;
    if (facts === undefined) {
      this.#held.push({ record, untilMs });
      if (!this.#isAsking) void this.#ask();
      return;
    }
    this.#laneOf(record, facts).add(record);
    const ageMs = Math.abs(this.#context.clock.nowMs() - this.#askedMs);
    if (!this.#isAsking && ageMs > this.#context.settings.topicMaxAgeMs) void this.#ask();
  }

  /** Sends what can be sent now. */
  start(): void {
    for (const lane of this.#lanes.values()) lane.start();
  }

  /** Learns the number of partitions. Never rejects: if it fails, the records that wait for it are rejected. */
  async #ask(): Promise<void> {
    const { clock, log, settings } = this.#context;
    this.#isAsking = true;
    const untilMs = this.#held[0]?.untilMs ?? clock.nowMs() + settings.requestTimeoutMs;
    try {
      this.#facts = await untilAnswered(this.#context, untilMs, (signal) => log.describeTopic(this.#name, { signal }));
      this.#askedMs = clock.nowMs();
      const { partitions } = this.#facts;
      if (this.#sticky === undefined || this.#sticky >= partitions) this.#sticky = this.#anyPartition(partitions);
      const facts = this.#facts;
      for (const { record } of this.#held.splice(0)) if (!record.isSettled) this.#laneOf(record, facts).add(record);
    } catch (thrown) {
      const error = asEventLogError(thrown);
      const nowMs = clock.nowMs();
      const isOver = error.retry !== 'as_is' || this.#context.stop.aborted;
      for (const each of this.#held) {
        if (isOver) each.record.reject(beforeAppend(error));
        else if (each.untilMs <= nowMs) each.record.reject(tooLate(error, false));
      }
      // What is known goes on being used, and is asked for again after its time.
      this.#askedMs = nowMs;
      this.#held = this.#held.filter(({ record }) => !record.isSettled);
    } finally {
      this.#isAsking = false;
    }
    if (this.#held.length > 0) void this.#ask();
    else if (this.#facts === undefined) this.#forget();
  }

  #anyPartition(partitions: number): number {
    return this.#context.random.bytes(4).reduce((sum, byte) => sum * 256 + byte, 0) % partitions;
  }

  #laneOf({ partition, record }: PendingRecord, { partitions }: TopicFacts): PartitionLane {
    const chosen = partition ?? (record.key === null ? (this.#sticky ?? 0) : partitionForKey(record.key, partitions));
    let lane = this.#lanes.get(chosen);
    if (lane === undefined) {
      lane = new PartitionLane(this.#context, this.#name, chosen, {
        bytesMax: () => this.#batchBytes(),
        onSealed: () => this.#sealed(chosen),
        onRejected: () => {
          this.#askedMs = Number.NEGATIVE_INFINITY;
        },
      });
      this.#lanes.set(chosen, lane);
    }
    return lane;
  }

  #batchBytes(): number {
    const bytesMax = Number(this.#facts?.config['max.message.bytes'].value);
    return Math.min(this.#context.settings.batchBytes, bytesMax || Number.POSITIVE_INFINITY);
  }

  #sealed(partition: number): void {
    if (partition === this.#sticky && this.#facts !== undefined)
      this.#sticky = (partition + 1) % this.#facts.partitions;
  }
}
