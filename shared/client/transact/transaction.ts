import type { LogRecord } from '../../log/batch/record.ts';
import { BATCH_HEADER_BYTES, recordBytesBound } from '../../log/batch/write-batch.ts';
import { EventLogError } from '../../log/errors.ts';
import { partitionForKey } from '../../log/topic/partitioner.ts';
import { type Plain, plain, type Topic } from '../codec.ts';
import type { ConsumedBatch } from '../consume/consumer.ts';
import { asEventLogError } from '../in-time.ts';
import type { TransactionName } from '../log-api.ts';
import { encodeRecord, type ProducedRecord, type RecordToProduce } from '../produce/pending-record.ts';
import { repeated } from './repeated.ts';
import type { TopicToWrite, TransactContext } from './settings.ts';

/** What a transaction holds, for the function that was given to `EventLog.transaction`. */
export interface Transaction {
  /**
   * Appends a record in the transaction. Readers see it once the transaction is committed. Records are sent together: resolves
   * when this one is sent and has its place. Nobody has to wait for it, since the commit does.
   * @throws EventLogError `invalid_request`, and whatever a codec throws, at once; or why the transaction has failed
   */
  produce(topic: string, record: RecordToProduce<Plain, Plain>): Promise<ProducedRecord>;
  produce<V, K>(topic: Topic<V, K>, record: RecordToProduce<V, K>): Promise<ProducedRecord>;

  /**
   * Commits, with the transaction, that the batch of a consumer is processed. If the member has lost a partition of it
   * meanwhile, the transaction is aborted.
   */
  commitOffsets(batch: Pick<ConsumedBatch<unknown, unknown>, 'position'>): Promise<void>;

  /** Aborted when the transaction has failed, or the caller's signal is aborted. */
  readonly signal: AbortSignal;
}

interface Waiting {
  readonly topic: string;
  readonly record: LogRecord;
  readonly partition: number | undefined;
  readonly bytes: number;
  readonly settle: PromiseWithResolvers<ProducedRecord>;
}

interface Lot {
  readonly topic: string;
  readonly partition: number;
  readonly baseSequence: number;
  readonly records: Waiting[];
  bytes: number;
}

/**
 * A request has at most as many bytes for a partition as so many full batches. The log cuts them into at most five, since two
 * batches in a row have more than fits into one: of more than five it could not repeat its answer (`PRODUCER_BATCHES_KEPT`).
 */
const LOT_BATCHES = 3;

/** One attempt of a transaction. It sends one request at a time, so that records keep their order. */
export class OpenTransaction implements Transaction {
  readonly #context: TransactContext;
  readonly #name: TransactionName;
  readonly #failed = new AbortController();
  #failure: { readonly error: unknown } | undefined;
  #isUsed = false;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #isTimed = false;
  #isOver = false;
  /** By topic and partition, how many records were sent there. */
  readonly #sequences = new Map<string, number>();
  /** The end of all requests so far. */
  #sending: Promise<void> = Promise.resolve();

  constructor(context: TransactContext, name: TransactionName, stop: AbortSignal | undefined) {
    this.#context = context;
    this.#name = name;
    const onAbort = (): void => this.#fail(stop?.reason);
    if (stop?.aborted) onAbort();
    stop?.addEventListener('abort', onAbort, { signal: this.#failed.signal });
  }

  get signal(): AbortSignal {
    return this.#failed.signal;
  }

  /** Why it cannot be committed. */
  get failure(): unknown {
    return this.#failure?.error;
  }

  /** Whether something was sent, so that there is something to commit. */
  get isUsed(): boolean {
    return this.#isUsed;
  }

  produce(topic: string | Topic<unknown, unknown>, given: RecordToProduce<unknown, unknown>): Promise<ProducedRecord> {
    return this.#settled(async () => {
      this.#mustBeOpen();
      const typed = typeof topic === 'string' ? ({ name: topic, key: plain, value: plain } as PlainTopic) : topic;
      const encoded = encodeRecord(typed, given, this.#context.clock.nowMs());
      const waiting = {
        topic: typed.name,
        record: encoded,
        partition: given.partition,
        bytes: recordBytesBound(encoded),
        settle: Promise.withResolvers<ProducedRecord>(),
      };
      this.#waiting.push(waiting);
      this.#waitingBytes += waiting.bytes;
      const { requestBytes, requestRecords, bufferBytes } = this.#context.settings;
      if (this.#waitingBytes >= requestBytes || this.#waiting.length >= requestRecords) void this.#send();
      else this.#sendSoon();
      // A function that does not wait for its records is held back here.
      if (this.#waitingBytes > bufferBytes) await this.#sending;
      return waiting.settle.promise;
    });
  }

  commitOffsets({ position }: Pick<ConsumedBatch<unknown, unknown>, 'position'>): Promise<void> {
    return this.#settled(async () => {
      this.#mustBeOpen();
      const { group, token } = position;
      await this.#inTurn(async (repeat) => {
        const { log } = this.#context;
        const outcomes = await repeat((signal) =>
          log.commitOffsetsInTransaction({ ...this.#name, group, after: token, signal }),
        );
        for (const outcome of outcomes) if (!outcome.ok) throw outcome.error;
      });
    });
  }

  /** Sends what is left. After that nothing is accepted any more. @throws EventLogError why it has failed */
  async close(): Promise<void> {
    this.#isOver = true;
    await this.#send();
    await this.#sending;
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** What the function has left undone is given up. */
  giveUp(): void {
    this.#isOver = true;
    this.#fail(new EventLogError('invalid_transaction_state', 'The transaction was aborted.'));
  }

  /** Whoever does not wait for the promise learns of the failure from the transaction, which cannot be committed without it. */
  #settled<T>(run: () => Promise<T>): Promise<T> {
    const settled = run();
    settled.catch((error) => this.#fail(error));
    return settled;
  }

  #mustBeOpen(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
    if (this.#isOver)
      throw new EventLogError('invalid_transaction_state', 'The function of the transaction has returned.');
  }

  #sendSoon(): void {
    if (this.#isTimed) return;
    this.#isTimed = true;
    void this.#context.clock.sleep(this.#context.settings.lingerMs, this.#failed.signal).then(() => {
      this.#isTimed = false;
      void this.#send();
    });
  }

  /** Sends what waits, one request after the other. */
  async #send(): Promise<void> {
    const { requestBytes, requestRecords } = this.#context.settings;
    while (this.#waiting.length > 0) {
      const sent: Waiting[] = [];
      let bytes = 0;
      for (const each of this.#waiting) {
        if (sent.length > 0 && (bytes + each.bytes > requestBytes || sent.length >= requestRecords)) break;
        sent.push(each);
        bytes += each.bytes;
      }
      this.#waiting = this.#waiting.slice(sent.length);
      this.#waitingBytes -= bytes;
      const append = async (repeat: Repeat): Promise<void> => {
        const topics = await repeat((signal) => this.#topicsOf(sent, signal));
        // A repeated request must be the same one.
        for (const lots of this.#requestsOf(sent, topics)) await repeat((signal) => this.#append(lots, signal));
      };
      await this.#inTurn(append).catch((error) => {
        for (const { settle } of sent) settle.reject(error);
      });
    }
  }

  async #append(lots: readonly Lot[], signal: AbortSignal): Promise<void> {
    const entries = lots.map(({ topic, partition, baseSequence, records }) => ({
      topic,
      baseSequence,
      records: records.map(({ record }) => ({ ...record, partition })),
    }));
    const appended = await this.#context.log.appendRecordsInTransaction({ ...this.#name, entries, signal });
    lots.forEach(({ records }, i) => {
      records.forEach(({ settle }, k) => {
        const place = appended[i]?.[k];
        if (place === undefined) settle.reject(new EventLogError('internal', 'An answer has no place for a record.'));
        else settle.resolve({ partition: place.partition, offset: place.offset, timestamp: place.timestampMs });
      });
    });
  }

  async #topicsOf(sent: readonly Waiting[], signal: AbortSignal): Promise<ReadonlyMap<string, TopicToWrite>> {
    const topics = new Map<string, TopicToWrite>();
    for (const { topic } of sent) if (!topics.has(topic)) topics.set(topic, await this.#context.topicOf(topic, signal));
    return topics;
  }

  /**
   * What is sent, by topic and partition, with how many records of the transaction are before them there. It is one request,
   * unless a partition gets more than a lot.
   */
  #requestsOf(sent: readonly Waiting[], topics: ReadonlyMap<string, TopicToWrite>): (readonly Lot[])[] {
    const sticky = new Map<string, number>();
    const requests: Lot[][] = [];
    let lots = new Map<string, Lot>();
    for (const waiting of sent) {
      const { topic, record, bytes } = waiting;
      const { partitions, batchBytesMax } = topics.get(topic) as TopicToWrite;
      const partition = waiting.partition ?? this.#partitionFor(topic, record.key, sticky, partitions);
      const name = `${topic}/${partition}`;
      let lot = lots.get(name);
      if (lot !== undefined && lot.bytes + bytes > LOT_BATCHES * (batchBytesMax - BATCH_HEADER_BYTES)) {
        requests.push([...lots.values()]);
        lots = new Map();
        lot = undefined;
      }
      lot ??= { topic, partition, baseSequence: this.#sequences.get(name) ?? 0, records: [], bytes: 0 };
      lots.set(name, lot);
      lot.records.push(waiting);
      lot.bytes += bytes;
      this.#sequences.set(name, lot.baseSequence + lot.records.length);
    }
    return [...requests, [...lots.values()]];
  }

  /** Where Kafka's clients put a key. The records of a request without one share a partition. */
  #partitionFor(topic: string, key: Uint8Array | null, sticky: Map<string, number>, partitions: number): number {
    const { random } = this.#context;
    if (key !== null) return partitionForKey(key, partitions);
    const chosen = sticky.get(topic) ?? random.bytes(4).reduce((sum, byte) => sum * 256 + byte, 0) % partitions;
    sticky.set(topic, chosen);
    return chosen;
  }

  /** Requests that come after all before them. Their failure is the transaction's. */
  #inTurn(run: (repeat: Repeat) => Promise<void>): Promise<void> {
    const repeating = { stop: this.#failed.signal, forMs: this.#context.settings.repeatMs };
    const done = this.#sending.then(async () => {
      if (this.#failure !== undefined) throw this.#failure.error;
      this.#isUsed = true;
      try {
        await run((request) => repeated(this.#context, repeating, request));
      } catch (thrown) {
        this.#fail(asEventLogError(thrown));
        throw this.failure;
      }
    });
    this.#sending = done.catch(() => {});
    return done;
  }

  #fail(error: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = { error };
    this.#failed.abort(error);
    for (const { settle } of this.#waiting) {
      settle.promise.catch(() => {});
      settle.reject(error);
    }
    this.#waiting = [];
    this.#waitingBytes = 0;
  }
}

type PlainTopic = Topic<unknown, unknown>;
type Repeat = <T>(request: (signal: AbortSignal) => Promise<T>) => Promise<T>;
