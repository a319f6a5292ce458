import type { StoredBatch } from '../../log/batch/stored-batch.ts';
import { OTHER_TOPICS } from './usage-meter.ts';

/** What was appended to a topic and read from it by this process. */
export interface TrafficCounts {
  commits: number;
  recordsAppended: number;
  bytesAppended: number;
  recordsRead: number;
  bytesRead: number;
}

export interface TrafficRow {
  readonly topic: string;
  readonly counts: TrafficCounts;
}

/** Up to this many topics are counted separately; further topics are counted under `OTHER_TOPICS`. */
const TOPICS_COUNTED_MAX = 10_000;

/** Counts the records and bytes, in and out, of this process by topic, since it started. */
export class Traffic {
  readonly #byTopic = new Map<string, TrafficCounts>();

  committed(topic: string, records: number, bytes: number): void {
    const counts = this.#of(topic);
    counts.commits++;
    counts.recordsAppended += records;
    counts.bytesAppended += bytes;
  }

  /** The same batches; each is counted when it is taken. */
  async *counted(topic: string, batches: AsyncIterable<StoredBatch>): AsyncGenerator<StoredBatch> {
    for await (const batch of batches) {
      const counts = this.#of(topic);
      counts.recordsRead += batch.header.recordCount;
      counts.bytesRead += batch.bytes.length;
      yield batch;
    }
  }

  rows(): TrafficRow[] {
    return [...this.#byTopic].map(([topic, counts]) => ({ topic, counts: { ...counts } }));
  }

  #of(topic: string): TrafficCounts {
    const name = this.#byTopic.has(topic) || this.#byTopic.size < TOPICS_COUNTED_MAX ? topic : OTHER_TOPICS;
    let counts = this.#byTopic.get(name);
    if (counts === undefined) {
      counts = { commits: 0, recordsAppended: 0, bytesAppended: 0, recordsRead: 0, bytesRead: 0 };
      this.#byTopic.set(name, counts);
    }
    return counts;
  }
}
