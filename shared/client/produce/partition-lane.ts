import { BATCH_HEADER_BYTES } from '../../log/batch/write-batch.ts';
import { EventLogError } from '../../log/errors.ts';
import { addSequence } from '../../log/head/producer.ts';
import { PRODUCER_EPOCH_MAX, RECORDS_PER_BATCH_MAX } from '../../log/limits.ts';
import { asEventLogError, inTime } from '../in-time.ts';
import type { BatchOutcome } from '../log-api.ts';
import { encodeProducedBatch } from './compress.ts';
import { backOff, type LaneContext, tooLate } from './lane-context.ts';
import type { PendingRecord } from './pending-record.ts';

/**
 * The records of one partition on their way, in order, each exactly once.
 *
 * Batches get consecutive sequences, and up to five are in flight. One that is not answered is sent again, byte for byte,
 * until its fate is certain: the log knows it by its sequence. One that arrives before its predecessor is rejected
 * (`out_of_order_sequence`), and is sent again once the predecessor has ended.
 *
 * When a batch fails, its sequences are missing, so the log rejects the batches behind it. The lane then starts no batch
 * until all that are in flight have ended, and numbers the records that were rejected from 0 in the partition's next epoch.
 * This epoch shuts out late attempts of the old one. A batch is numbered again only if no attempt under the old number can
 * be applied any more; otherwise its records are rejected with the outcome `unknown` (docs/design/0009-client.md).
 */
export class PartitionLane {
  readonly partition: number;
  readonly #context: LaneContext;
  readonly #topic: string;
  readonly #options: LaneOptions;
  /** In order. Some may be settled already, because they were withdrawn. */
  #waiting: PendingRecord[] = [];
  #waitingBytes = 0;
  /** The records in `#waiting` need not wait for others. */
  #isDue = false;
  #lingerRound = 0;
  readonly #inFlight: SealedBatch[] = [];
  /** Batches so far. */
  #sealed = 0;
  #aside: SealedBatch[] = [];
  #identity: Identity | undefined;
  /** Set from the first failure until nothing is in flight. `inDoubt`: a batch that failed may still be applied. */
  #broken: { inDoubt: boolean } | undefined;
  /** An id that the partition can no longer use. */
  #lostId: number | undefined;
  #lastAckMs = Number.NEGATIVE_INFINITY;
  /** Epochs begun in a row without an acknowledged batch. */
  #restarts = 0;
  #smallerBytesMax = Number.POSITIVE_INFINITY;
  /** Batches are encoded one after the other, so that they are sent in the order of their sequences. */
  #encoded: Promise<unknown> = Promise.resolve();

  constructor(context: LaneContext, topic: string, partition: number, options: LaneOptions) {
    this.#context = context;
    this.#topic = topic;
    this.partition = partition;
    this.#options = options;
  }

  add(record: PendingRecord): void {
    this.#waiting.push(record);
    this.#waitingBytes += record.bytes;
    if (this.#waiting.length === 1) this.#linger();
    if (this.#isFull()) this.start();
  }

  /** Sends what can be sent now. */
  start(): void {
    while (this.#mayStart()) {
      const records = this.#take();
      if (records.length > 0) this.#send(new SealedBatch(this.#sealed++, records));
    }
  }

  #linger(): void {
    const round = ++this.#lingerRound;
    const { clock, settings, stop } = this.#context;
    // Even without a linger time, records that are produced in one go share a batch.
    const over =
      settings.lingerMs > 0 && !this.#context.isUrgent() ? clock.sleep(settings.lingerMs, stop) : Promise.resolve();
    void over.then(() => {
      if (round !== this.#lingerRound) return;
      this.#isDue = true;
      this.start();
    });
  }

  #mayStart(): boolean {
    if (this.#waiting.length === 0 || this.#broken !== undefined) return false;
    // Counted from the oldest batch without an answer, also over those that have theirs: the log knows only the last five.
    const oldest = this.#inFlight[0]?.order ?? this.#sealed;
    if (this.#sealed - oldest >= this.#inFlightMax()) return false;
    return this.#isDue || this.#isFull() || this.#context.isUrgent();
  }

  #isFull(): boolean {
    return BATCH_HEADER_BYTES + this.#waitingBytes >= this.#limit() || this.#waiting.length >= RECORDS_PER_BATCH_MAX;
  }

  #limit(): number {
    return Math.min(this.#options.bytesMax(), this.#smallerBytesMax);
  }

  /**
   * One batch, until the partition has just acknowledged one. A partition that does not know an old producer id (it never
   * saw it, or has forgotten it) accepts any sequence, so a second batch could overtake the first.
   */
  #inFlightMax(): number {
    const isKnown = this.#context.clock.nowMs() - this.#lastAckMs < KNOWN_MS;
    return isKnown && this.#identity !== undefined ? this.#context.settings.inFlightMax : 1;
  }

  /** The records of the next batch, without those that were withdrawn or are too late. */
  #take(): PendingRecord[] {
    const nowMs = this.#context.clock.nowMs();
    const bytesMax = this.#limit();
    const taken: PendingRecord[] = [];
    let bytes = BATCH_HEADER_BYTES;
    let count = 0;
    for (const record of this.#waiting) {
      const isFirst = taken.length === 0;
      if (!record.isSettled && record.deadlineMs <= nowMs) record.reject(tooLate(undefined, false));
      if (!record.isSettled) {
        if (!isFirst && (bytes + record.bytes > bytesMax || taken.length === RECORDS_PER_BATCH_MAX)) break;
        taken.push(record);
        bytes += record.bytes;
      }
      this.#waitingBytes -= record.bytes;
      count++;
    }
    this.#waiting.splice(0, count);
    if (this.#waiting.length === 0) {
      this.#isDue = false;
      this.#lingerRound++;
    }
    return taken;
  }

  #send(batch: SealedBatch): void {
    for (const record of batch.records) record.isSent = true;
    this.#inFlight.push(batch);
    this.#options.onSealed();
    const encoded = this.#encoded.then(() => this.#encode(batch));
    this.#encoded = encoded.catch(() => {});
    void this.#deliver(batch, encoded)
      .catch((error: unknown) => this.#fail(batch, asEventLogError(error)))
      .finally(() => this.#ended(batch));
  }

  async #encode(batch: SealedBatch): Promise<Uint8Array> {
    // There is no second batch in flight before the first one has an identity.
    this.#identity ??= {
      producerId: await this.#context.producerId(batch.deadlineMs, this.#lostId),
      producerEpoch: 0,
      nextSequence: 0,
    };
    const { producerId, producerEpoch, nextSequence } = this.#identity;
    this.#identity.nextSequence = addSequence(nextSequence, batch.records.length);
    const records = batch.records.map(({ record }) => record);
    const producer = { producerId, producerEpoch, baseSequence: nextSequence };
    return encodeProducedBatch(records, producer, this.#context.settings.compression);
  }

  async #deliver(batch: SealedBatch, encoded: Promise<Uint8Array>): Promise<void> {
    const bytes = await encoded;
    let last: EventLogError | undefined;
    for (let failures = 0; ; ) {
      // What was never applied is numbered again, rather than sent to be rejected.
      if (this.#broken !== undefined && !batch.inDoubt) return this.#setAside(batch);
      if (this.#context.clock.nowMs() >= batch.deadlineMs) return this.#fail(batch, tooLate(last, batch.inDoubt));
      const outcome = await this.#attempt(batch, bytes);
      if (outcome.ok) return this.#acknowledge(batch, outcome);
      last = outcome.error;
      if (last.outcome !== 'not_applied') batch.inDoubt = true;
      if (last.code === 'out_of_order_sequence') {
        const earlier = this.#inFlight[this.#inFlight.indexOf(batch) - 1];
        if (earlier === undefined) return this.#rejectedInTurn(batch, last);
        await earlier.end;
      } else if (last.retry !== 'as_is' || this.#context.stop.aborted) {
        return this.#fail(batch, last);
      } else {
        failures++;
        await backOff(this.#context, last, failures, batch.deadlineMs);
      }
    }
  }

  async #attempt(batch: SealedBatch, bytes: Uint8Array): Promise<BatchOutcome> {
    const { clock, log, settings, stop } = this.#context;
    const timeoutMs = Math.min(settings.requestTimeoutMs, batch.deadlineMs - clock.nowMs());
    try {
      const [outcome] = await inTime(clock, timeoutMs, stop, (signal) =>
        log.append({ batches: [{ topic: this.#topic, partition: this.partition, batch: bytes }], signal }),
      );
      if (outcome?.ok === true && outcome.records !== batch.records.length)
        throw new EventLogError('internal', `${outcome.records} of ${batch.records.length} records were acknowledged.`);
      return outcome ?? { ok: false, error: new EventLogError('internal', 'An append was not answered.') };
    } catch (error) {
      return { ok: false, error: asEventLogError(error) };
    }
  }

  #acknowledge(batch: SealedBatch, { baseOffset, logAppendTimeMs }: BatchOutcome & { readonly ok: true }): void {
    this.#lastAckMs = this.#context.clock.nowMs();
    this.#restarts = 0;
    batch.records.forEach((each, i) => {
      const timestamp = logAppendTimeMs ?? each.record.timestampMs;
      each.resolve({ partition: this.partition, offset: baseOffset + i, timestamp });
    });
  }

  /**
   * No earlier batch is in flight, so the log misses one that it had acknowledged (its topic was made again), or one that
   * failed. In the first case the batch was never appended, nor can it be: its predecessor will not come.
   */
  async #rejectedInTurn(batch: SealedBatch, error: EventLogError): Promise<void> {
    this.#broken ??= { inDoubt: false };
    if (this.#broken.inDoubt && batch.inDoubt) return this.#fail(batch, error);
    // The first batch of an epoch is not rejected by a log that works. If it is, this must not become a busy loop.
    if (this.#restarts > 1) await backOff(this.#context, error, this.#restarts, batch.deadlineMs);
    this.#setAside(batch);
  }

  #setAside(batch: SealedBatch): void {
    this.#broken ??= { inDoubt: false };
    this.#aside.push(batch);
  }

  #fail(batch: SealedBatch, error: EventLogError): void {
    const { records, inDoubt } = batch;
    this.#options.onRejected();
    if (!inDoubt && error.outcome === 'not_applied' && this.#canGoOnWithout(batch, error)) {
      this.#setAside(batch);
      return;
    }
    this.#broken ??= { inDoubt: false };
    if (inDoubt) this.#broken.inDoubt = true;
    if (error.code === 'producer_fenced') this.#lostId = this.#identity?.producerId;
    const final = inDoubt && error.outcome === 'not_applied' ? doubted(error) : error;
    for (const record of records) record.reject(final);
  }

  /** Whether the batch failed as a batch: it is too large, or one record is wrong, which is rejected here. */
  #canGoOnWithout({ records }: SealedBatch, error: EventLogError): boolean {
    if (records.length === 1) return false;
    if (error.code === 'record_too_large' || error.code === 'request_too_large') {
      const bytes = records.reduce((sum, record) => sum + record.bytes, BATCH_HEADER_BYTES);
      this.#smallerBytesMax = Math.ceil(bytes / 2);
      return true;
    }
    const place = /^records\[(\d+)\]/.exec(String(error.details.field))?.[1];
    const wrong = place === undefined ? undefined : records[Number(place)];
    wrong?.reject(error);
    return wrong !== undefined;
  }

  #ended(batch: SealedBatch): void {
    this.#inFlight.splice(this.#inFlight.indexOf(batch), 1);
    batch.markEnded();
    if (this.#broken !== undefined && this.#inFlight.length === 0) this.#restart();
    this.start();
  }

  /** Puts the records that were set aside before the others, to be numbered in the next epoch. */
  #restart(): void {
    this.#broken = undefined;
    this.#restarts++;
    this.#lastAckMs = Number.NEGATIVE_INFINITY;
    const id = this.#identity;
    const isUsable = id !== undefined && id.producerId !== this.#lostId && id.producerEpoch < PRODUCER_EPOCH_MAX;
    if (!isUsable && id !== undefined) this.#lostId = id.producerId;
    this.#identity = isUsable
      ? { producerId: id.producerId, producerEpoch: id.producerEpoch + 1, nextSequence: 0 }
      : undefined;
    const inOrder = this.#aside.sort((a, b) => a.order - b.order);
    const again = inOrder.flatMap(({ records }) => records).filter(({ isSettled }) => !isSettled);
    this.#aside = [];
    if (again.length === 0) return;
    for (const record of again) record.isSent = false;
    this.#waiting = [...again, ...this.#waiting];
    this.#waitingBytes += again.reduce((sum, { bytes }) => sum + bytes, 0);
    this.#isDue = true;
  }
}

export interface LaneOptions {
  /** The size that a batch may have, uncompressed. */
  readonly bytesMax: () => number;
  /** A batch is complete: keyless records may go to another partition. */
  readonly onSealed: () => void;
  /** The log rejected a batch: the topic may have changed. */
  readonly onRejected: () => void;
}

/** How long the log surely remembers a producer in a partition that has acknowledged a batch. It keeps it for days. */
const KNOWN_MS = 60_000;

interface Identity {
  readonly producerId: number;
  readonly producerEpoch: number;
  nextSequence: number;
}

/** Records that share a batch, until they are settled or set aside. */
class SealedBatch {
  readonly order: number;
  readonly records: readonly PendingRecord[];
  /** When the first of its records has to be settled. */
  readonly deadlineMs: number;
  /** An attempt may have been applied, or may still be. */
  inDoubt = false;
  readonly end: Promise<void>;
  markEnded: () => void = () => {};

  constructor(order: number, records: readonly PendingRecord[]) {
    this.order = order;
    this.records = records;
    this.deadlineMs = (records[0] as PendingRecord).deadlineMs;
    this.end = new Promise((resolve) => {
      this.markEnded = resolve;
    });
  }
}

/** The last attempt was rejected, but an earlier one may have been applied. */
function doubted(error: EventLogError): EventLogError {
  return new EventLogError(error.code, `${error.message} An earlier attempt may have been applied.`, {
    outcome: 'unknown',
    retry: 'after_refresh',
    details: error.details,
    cause: error,
  });
}
