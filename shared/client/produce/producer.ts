import { EventLogError } from '../../log/errors.ts';
import type { Clock, Random } from '../../storage/ports.ts';
import { type Plain, plain, type Topic } from '../codec.ts';
import { stoppedError } from '../in-time.ts';
import type { LogApi } from '../log-api.ts';
import { type LaneContext, ProducerIds } from './lane-context.ts';
import { encodeRecord, PendingRecord, type ProducedRecord, type RecordToProduce } from './pending-record.ts';
import { type ProducerOptions, type ProducerSettings, producerSettings } from './settings.ts';
import { TopicLanes } from './topic-lanes.ts';

export interface ProducerComponents {
  readonly log: LogApi;
  readonly clock: Clock;
  readonly random: Random;
}

export interface ProduceOptions {
  /** Withdraws the record if it has not been sent: the promise is then rejected with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

export interface CloseOptions {
  /** After so many milliseconds what is not settled is given up. Default: it takes as long as the delivery timeout lets it. */
  readonly timeoutMs?: number;
}

/**
 * Appends records to any number of topics, in batches, each record exactly once and those of a partition in the order of
 * the calls. It has its own producer id, which it asks for when it is first needed. For each partition that it has written
 * to it keeps a few hundred bytes; `bufferBytes` bounds the records. Make one and share it.
 */
export class Producer {
  readonly #context: LaneContext;
  readonly #settings: ProducerSettings;
  readonly #topics = new Map<string, TopicLanes>();
  readonly #ids = new ProducerIds();
  readonly #stop = new AbortController();
  /** Records that wait for room, in order, with the times when they stop. */
  readonly #blocked = new Map<PendingRecord, { readonly untilMs: number }>();
  #isWatchingBlocked = false;
  /** Callers of `ready`. */
  #readyWaiters: (() => void)[] = [];
  /** Bytes of the records that are accepted and not settled. */
  #bufferedBytes = 0;
  /** Every record that is not settled. */
  readonly #open = new Set<PendingRecord>();
  readonly #flushes = new Set<Flush>();
  #closing: Promise<void> | undefined;

  constructor({ log, clock, random }: ProducerComponents, options: ProducerOptions = {}) {
    this.#settings = producerSettings(options);
    this.#context = {
      log,
      clock,
      random,
      settings: this.#settings,
      stop: this.#stop.signal,
      producerId: (deadlineMs, instead) => this.#ids.get(this.#context, deadlineMs, instead),
      isUrgent: () => this.#flushes.size > 0 || this.#closing !== undefined || this.#blocked.size > 0,
    };
  }

  /**
   * Resolves when the record is durable, with its place. Rejects if it was not appended (`outcome` is `not_applied`), or if
   * nobody knows (`unknown`): then produce it again only if a second copy does no harm. Other records are not affected.
   * While the buffer is full, the record waits for room, up to `maxBlockMs`; await `ready` before each call to wait there.
   * Every promise has to be awaited or caught, as for any promise: an error that nobody looks at ends a Node process.
   * @throws EventLogError `invalid_request`, `unknown_topic`, `unknown_partition`, `record_too_large`, `access_denied`,
   * `unauthenticated`; `throttled` if there was no room in time; `shutting_down` after `close`; `storage_unavailable` and
   * `storage_full` after the delivery timeout
   */
  produce(topic: string, record: RecordToProduce<Plain, Plain>, options?: ProduceOptions): Promise<ProducedRecord>;
  produce<V, K>(topic: Topic<V, K>, record: RecordToProduce<V, K>, options?: ProduceOptions): Promise<ProducedRecord>;
  produce(
    topic: string | Topic<unknown, unknown>,
    record: RecordToProduce<unknown, unknown>,
    { signal }: ProduceOptions = {},
  ): Promise<ProducedRecord> {
    return new Promise((resolve, reject) => {
      if (this.#closing !== undefined) throw stoppedError('not_applied');
      signal?.throwIfAborted();
      const given = typeof topic === 'string' ? { name: topic, value: plain, key: plain } : topic;
      const encoded = encodeRecord(given as Topic<unknown, unknown>, record, this.#context.clock.nowMs());
      const withdraw = (): void => {
        if (!pending.isSent) pending.reject(signal?.reason);
      };
      const pending = new PendingRecord(given.name, encoded, record.partition, (settled, end) => {
        signal?.removeEventListener('abort', withdraw);
        if ('place' in end) resolve(end.place);
        else reject(end.error);
        this.#settled(settled);
      });
      if (pending.bytes > this.#settings.bufferBytes) throw largerThanBuffer(pending.bytes, this.#settings.bufferBytes);
      signal?.addEventListener('abort', withdraw);
      this.#open.add(pending);
      this.#admit(pending);
    });
  }

  /** Resolves when the buffer has room, at once if it has. Never rejects. */
  async ready(): Promise<void> {
    while (this.#isFull()) {
      await new Promise<void>((resolve) => {
        this.#readyWaiters.push(resolve);
      });
    }
  }

  /** Sends everything at once, and resolves when all records of calls before this one are settled, however they end. */
  async flush(): Promise<void> {
    if (this.#open.size === 0) return;
    await new Promise<void>((resolve) => {
      this.#flushes.add({ left: new Set(this.#open), resolve });
      this.#start();
    });
  }

  /**
   * Accepts no more records and resolves when all others are settled. Those that are given up after `timeoutMs` are
   * rejected with `shutting_down`; the outcome of those that were sent is `unknown`. Every call waits for the same end.
   */
  close(options: CloseOptions = {}): Promise<void> {
    const { timeoutMs } = options;
    if (timeoutMs !== undefined) {
      void this.#context.clock.sleep(timeoutMs, this.#stop.signal).then(() => this.#stop.abort());
    }
    this.#closing ??= this.flush().then(() => this.#stop.abort());
    return this.#closing;
  }

  #isFull(): boolean {
    return this.#blocked.size > 0 || this.#bufferedBytes >= this.#settings.bufferBytes;
  }

  /** Accepts a record, or lets it wait behind those that wait already. */
  #admit(record: PendingRecord): void {
    const untilMs = this.#context.clock.nowMs() + this.#settings.maxBlockMs;
    if (this.#blocked.size === 0 && this.#hasRoom(record)) {
      this.#accept(record, untilMs);
      return;
    }
    this.#blocked.set(record, { untilMs });
    if (!this.#isWatchingBlocked) void this.#watchBlocked();
    // Full or not, batches have to go: only what is settled makes room.
    if (this.#blocked.size === 1) this.#start();
  }

  #hasRoom({ bytes }: PendingRecord): boolean {
    return this.#bufferedBytes + bytes <= this.#settings.bufferBytes;
  }

  #accept(record: PendingRecord, untilMs: number): void {
    this.#bufferedBytes += record.bytes;
    record.isAccepted = true;
    record.deadlineMs = this.#context.clock.nowMs() + this.#settings.deliveryTimeoutMs;
    let lanes = this.#topics.get(record.topic);
    if (lanes === undefined) {
      lanes = new TopicLanes(this.#context, record.topic, () => this.#topics.delete(record.topic));
      this.#topics.set(record.topic, lanes);
    }
    lanes.add(record, untilMs);
  }

  /** Rejects the records that have waited for room too long. */
  async #watchBlocked(): Promise<void> {
    const { clock, settings } = this.#context;
    this.#isWatchingBlocked = true;
    for (;;) {
      const [first] = this.#blocked.values();
      if (first === undefined) break;
      await clock.sleep(Math.max(0, Math.min(settings.maxBlockMs, first.untilMs - clock.nowMs())), this.#stop.signal);
      const isStopped = this.#stop.signal.aborted;
      for (const [record, { untilMs }] of this.#blocked) {
        if (isStopped) record.reject(stoppedError('not_applied'));
        else if (untilMs <= clock.nowMs()) record.reject(noRoom(settings.bufferBytes, settings.maxBlockMs));
        else break;
      }
    }
    this.#isWatchingBlocked = false;
  }

  #settled(record: PendingRecord): void {
    this.#open.delete(record);
    this.#blocked.delete(record);
    if (record.isAccepted) this.#bufferedBytes -= record.bytes;
    for (const flush of this.#flushes) {
      if (!flush.left.delete(record) || flush.left.size > 0) continue;
      this.#flushes.delete(flush);
      flush.resolve();
    }
    this.#admitBlocked();
  }

  #admitBlocked(): void {
    for (const [record, { untilMs }] of this.#blocked) {
      if (!this.#hasRoom(record)) break;
      this.#blocked.delete(record);
      this.#accept(record, untilMs);
    }
    if (this.#isFull()) return;
    const waiters = this.#readyWaiters;
    this.#readyWaiters = [];
    for (const resolve of waiters) resolve();
  }

  #start(): void {
    for (const topic of this.#topics.values()) topic.start();
  }
}

/** A call of `flush`, and the records that it waits for. */
interface Flush {
  readonly left: Set<PendingRecord>;
  readonly resolve: () => void;
}

function largerThanBuffer(bytes: number, bufferBytes: number): EventLogError {
  return new EventLogError(
    'record_too_large',
    `The record takes up to ${bytes} bytes; the producer's bufferBytes is ${bufferBytes}.`,
    { details: { bytes, bufferBytes } },
  );
}

function noRoom(bufferBytes: number, maxBlockMs: number): EventLogError {
  return new EventLogError(
    'throttled',
    `The producer's buffer of ${bufferBytes} bytes had no room for ${maxBlockMs} ms. Await ready() before each record.`,
    { details: { bufferBytes, maxBlockMs } },
  );
}
