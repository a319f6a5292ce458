import type { AbortedRange } from '../../shared/log/segment/aborted.ts';
import type { Topic } from '../../shared/log/topic/topic.ts';
import type { SeededRandom } from './memory-broker.ts';
import { appendBatch, type LogProcess, mark } from './transactional-log.ts';

/** What the log must have at an offset of a partition. */
export interface HistoryRecord {
  readonly value: string;
  readonly producerId: number;
  /** Absent: a plain record. */
  readonly transaction?: number;
}

interface Open {
  readonly transaction: number;
  /** Partition -> first offset. */
  readonly firstOffsets: Map<number, number>;
}

/**
 * Writes transactions of a few producers to the topic `t`, one thing at a time, and knows what the log must have: which
 * records of which transaction, where their markers are, and what was committed and aborted. All partitions are in one head.
 */
export class TransactionalHistory {
  readonly topic: Topic;
  readonly partitions: number;
  /** By partition and offset; a marker is its outcome. */
  readonly offsets: (HistoryRecord | 'committed' | 'aborted')[][];
  readonly aborted: AbortedRange[][];
  readonly committed: AbortedRange[][];
  readonly #open = new Map<number, Open>();
  readonly #transactions = new Map<number, number>();
  readonly #epochs = new Map<number, number>();
  readonly #sequences = new Map<string, number>();
  #values = 0;

  constructor(topic: Topic) {
    this.topic = topic;
    this.partitions = topic.partitions;
    const lists = <T>(): T[][] => Array.from({ length: topic.partitions }, () => []);
    this.offsets = lists();
    this.aborted = lists();
    this.committed = lists();
  }

  /** Appends one batch in the producer's open transaction, or begins one. */
  async write(process: LogProcess, producerId: number, partition: number, records = 1, keys?: string[]): Promise<void> {
    const open = this.#open.get(producerId) ?? {
      transaction: this.#transactions.get(producerId) ?? 0,
      firstOffsets: new Map<number, number>(),
    };
    this.#open.set(producerId, open);
    const offset = await this.#append(process, producerId, partition, records, open.transaction, keys);
    if (!open.firstOffsets.has(partition)) open.firstOffsets.set(partition, offset);
  }

  /** Appends one batch outside of any transaction. */
  async writePlain(process: LogProcess, partition: number, records = 1, keys?: string[]): Promise<void> {
    await this.#append(process, 1_000 + partition, partition, records, undefined, keys);
  }

  async end(process: LogProcess, producerId: number, outcome: 'committed' | 'aborted'): Promise<void> {
    const transaction = this.#open.get(producerId)?.transaction ?? this.#transactions.get(producerId) ?? 0;
    const producerEpoch = (this.#epochs.get(producerId) ?? 0) + 1;
    this.#epochs.set(producerId, producerEpoch);
    await mark(process, this.topic, 0, { producerId, producerEpoch, transaction, outcome });
    for (const [partition, firstOffset] of this.#open.get(producerId)?.firstOffsets ?? []) {
      const lastOffset = this.next(partition);
      this.offsets[partition]?.push(outcome);
      this[outcome][partition]?.push({ producerId, firstOffset, lastOffset });
      this.#sequences.delete(`${producerId}/${partition}`);
    }
    this.#open.delete(producerId);
    this.#transactions.set(producerId, transaction + 1);
  }

  get openProducers(): readonly number[] {
    return [...this.#open.keys()];
  }

  next(partition: number): number {
    return this.offsets[partition]?.length ?? 0;
  }

  lastStableOffset(partition: number): number {
    const firsts = [...this.#open.values()].map(({ firstOffsets }) => firstOffsets.get(partition));
    return Math.min(this.next(partition), ...firsts.filter((first) => first !== undefined));
  }

  isAborted(partition: number, offset: number): boolean {
    const record = this.offsets[partition]?.[offset];
    if (record === undefined || typeof record === 'string' || record.transaction === undefined) return false;
    return (this.aborted[partition] ?? []).some(
      (one) => one.producerId === record.producerId && one.firstOffset <= offset && offset < one.lastOffset,
    );
  }

  /** The values that a reader of committed records gets from a partition. */
  committedValues(partition: number, from = 0): string[] {
    const values: string[] = [];
    for (let offset = from; offset < this.lastStableOffset(partition); offset++) {
      const record = this.offsets[partition]?.[offset] as HistoryRecord | string;
      if (typeof record !== 'string' && !this.isAborted(partition, offset)) values.push(record.value);
    }
    return values;
  }

  /** Does something at random: mostly a batch, sometimes the end of a transaction. */
  async step(process: LogProcess, random: SeededRandom, producers = 4): Promise<void> {
    const open = this.openProducers;
    if (open.length > 0 && random.below(4) === 0) {
      const producerId = open[random.below(open.length)] as number;
      await this.end(process, producerId, random.below(2) === 0 ? 'committed' : 'aborted');
      return;
    }
    const [partition, records] = [random.below(this.partitions), 1 + random.below(3)];
    if (random.below(4) === 0) await this.writePlain(process, partition, records);
    else await this.write(process, 1 + random.below(producers), partition, records);
  }

  async #append(
    process: LogProcess,
    producerId: number,
    partition: number,
    records: number,
    transaction: number | undefined,
    keys: readonly string[] | undefined,
  ): Promise<number> {
    const offset = this.next(partition);
    const slot = `${producerId}/${partition}`;
    const baseSequence = this.#sequences.get(slot) ?? 0;
    this.#sequences.set(slot, baseSequence + records);
    const values = Array.from({ length: records }, () => `v${this.#values++}`);
    const outcome = await appendBatch(process, {
      partition,
      producerId,
      producerEpoch: this.#epochs.get(producerId) ?? 0,
      baseSequence,
      values,
      keys,
      transaction,
    });
    if (!outcome.ok) throw outcome.error;
    if (outcome.baseOffset !== offset) throw new Error(`Appended at ${outcome.baseOffset} instead of ${offset}.`);
    for (const value of values)
      this.offsets[partition]?.push({ value, producerId, ...(transaction === undefined ? {} : { transaction }) });
    return offset;
  }
}
