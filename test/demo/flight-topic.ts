import type { Broker } from '../../shared/broker/broker.ts';
import type { SegmentDescription } from '../../shared/broker/read/list-segments.ts';
import type { StoredRecord } from '../../shared/log/batch/record.ts';
import { PAGE_LIMIT_MAX } from '../../shared/log/limits.ts';
import { readAll, text } from '../support/memory-broker.ts';
import { type Flight, timeOf } from './flights.ts';
import { type DrawnPartition, drawSegments } from './segment-picture.ts';
import { count } from './terminal.ts';

interface Appended {
  readonly key: string;
  readonly value: string;
  readonly timestampMs: number;
}

export interface TopicLook {
  /** The picture of its segments. */
  readonly lines: readonly string[];
  readonly verdict: string;
}

/**
 * A topic with flights, and what its partitions must hold. This follows from what was appended and what the jobs promise, and
 * not from what is stored.
 */
export class FlightTopic {
  readonly name: string;
  readonly #broker: Broker;
  /** By partition and offset. */
  readonly #appended: Appended[][];
  /** By partition: the records that must be there. */
  readonly #expected: Map<number, Appended>[];
  /** By partition: below this offset everything is in segments. */
  readonly #mergedBelow: number[] = [];
  readonly #deletedBelow: number[] = [];

  private constructor(broker: Broker, name: string, partitions: number) {
    this.#broker = broker;
    this.name = name;
    this.#appended = Array.from({ length: partitions }, () => []);
    this.#expected = this.#appended.map(() => new Map());
  }

  static async make(
    broker: Broker,
    name: string,
    partitions: number,
    config: Readonly<Record<string, unknown>>,
  ): Promise<FlightTopic> {
    await broker.putTopic({ name, partitions, config });
    return new FlightTopic(broker, name, partitions);
  }

  async append(flights: readonly Flight[]): Promise<void> {
    const encode = new TextEncoder();
    const records = flights.map((flight) => ({
      key: flight.origin,
      value: JSON.stringify(flight),
      timestampMs: timeOf(flight),
    }));
    const outcomes = await this.#broker.appendRecords({
      topic: this.name,
      records: records.map(({ key, value, timestampMs }) => ({
        key: encode.encode(key),
        value: encode.encode(value),
        headers: [],
        timestampMs,
      })),
    });
    for (const [i, outcome] of outcomes.entries()) {
      if (!outcome.ok) throw outcome.error;
      const { partition, offset } = outcome;
      const before = this.#appended[partition] as Appended[];
      if (offset !== before.length)
        throw new Error(`A record got the offset ${offset} after ${before.length} records.`);
      before.push(records[i] as Appended);
      this.#expected[partition]?.set(offset, records[i] as Appended);
    }
  }

  endOf(partition: number): number {
    return (this.#appended[partition] as Appended[]).length;
  }

  /** From now on everything that is in segments can be compacted. */
  async noteMerged(): Promise<void> {
    for (const { partition, storage, endOffset } of await this.#places())
      if (storage === 'segment') this.#mergedBelow[partition] = endOffset;
  }

  noteDeleted(partition: number, below: number): void {
    this.#deletedBelow[partition] = below;
  }

  /**
   * Retention drops whole segments of at most `segmentMs`, which only it decides. So nothing younger than `cutoffMs` may be
   * gone, and everything that is older by `segmentMs` must be.
   * @throws Error if that is not so
   */
  async noteExpired(cutoffMs: number, segmentMs: number): Promise<void> {
    for (const { partition, logStartOffset } of await this.#broker.describePartitions(this.name)) {
      const appended = this.#appended[partition] as Appended[];
      const firstFrom = (ms: number): number => appended.findIndex(({ timestampMs }) => timestampMs >= ms);
      const deletedBelow = this.#deletedBelow[partition] ?? 0;
      const from = Math.max(deletedBelow, firstFrom(cutoffMs - segmentMs));
      const to = Math.max(deletedBelow, firstFrom(cutoffMs));
      if (logStartOffset < from || logStartOffset > to)
        throw new Error(`Partition ${partition} begins at ${logStartOffset}, not between ${from} and ${to}.`);
      const expected = this.#expected[partition] as Map<number, Appended>;
      for (const offset of expected.keys()) if (offset < logStartOffset) expected.delete(offset);
    }
  }

  /** Of each key only the latest record in a segment is left. */
  noteCompacted(): void {
    for (const [partition, expected] of this.#expected.entries()) {
      const below = this.#mergedBelow[partition] ?? 0;
      const latest = new Map<string, number>();
      for (const [offset, { key }] of expected) if (offset < below) latest.set(key, offset);
      for (const [offset, { key }] of expected)
        if (offset < below && latest.get(key) !== offset) expected.delete(offset);
    }
  }

  /** Reads everything. @throws Error if it is not exactly what must be there */
  async look(width: number): Promise<TopicLook> {
    const places = await this.#places();
    const drawn: DrawnPartition[] = [];
    let records = 0;
    for (const { partition, logStartOffset, highWatermark } of await this.#broker.describePartitions(this.name)) {
      const read = await readAll(this.#broker, this.name, partition, { from: logStartOffset });
      this.#compare(partition, read);
      records += read.length;
      drawn.push({
        partition,
        logStartOffset,
        highWatermark,
        places: places.flatMap(({ storage, ...place }) =>
          // The topic has no transactions, so it has no markers.
          place.partition === partition && storage !== 'marker' ? { ...place, storage } : [],
        ),
        offsets: read.map(({ offset }) => offset),
      });
    }
    return { lines: drawSegments(drawn, width), verdict: `${count(records)} records read, exactly those expected` };
  }

  #compare(partition: number, read: readonly StoredRecord[]): void {
    const expected = [...(this.#expected[partition] as Map<number, Appended>)];
    for (let i = 0; i < Math.max(read.length, expected.length); i++) {
      const [offset, record] = expected[i] ?? [];
      const one = read[i];
      const same =
        one?.offset === offset &&
        one?.timestampMs === record?.timestampMs &&
        text(one?.key ?? null) === record?.key &&
        text(one?.value ?? null) === record?.value;
      if (!same)
        throw new Error(
          `Partition ${partition} of ${this.name} has the offset ${one?.offset} where ${offset} is expected, or another record there.`,
        );
    }
  }

  async #places(): Promise<readonly SegmentDescription[]> {
    const all: SegmentDescription[] = [];
    for (let pageToken: string | undefined, more = true; more; more = pageToken !== undefined) {
      const page = await this.#broker.listSegments(this.name, {
        limit: PAGE_LIMIT_MAX,
        ...(pageToken === undefined ? {} : { pageToken }),
      });
      all.push(...page.items);
      pageToken = page.nextPageToken;
    }
    return all;
  }
}
