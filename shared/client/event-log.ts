import type { Clock, Random } from '../storage/ports.ts';
import { systemClock } from '../storage/system/clock.ts';
import { webRandom } from '../storage/system/web-random.ts';
import { type Plain, plain, type Topic } from './codec.ts';
import { type ConsumedBatch, Consumer } from './consume/consumer.ts';
import type { AnyTopic, ConsumeOptions } from './consume/options.ts';
import { type ConsumedRecord, decoded } from './decode.ts';
import { HttpLog, type HttpLogOptions } from './http-log.ts';
import type { LogApi, ReadFrom } from './log-api.ts';
import { checkOptionNames } from './option-names.ts';
import type { ProducedRecord, RecordToProduce } from './produce/pending-record.ts';
import { type CloseOptions, type ProduceOptions, Producer } from './produce/producer.ts';
import type { ProducerOptions } from './produce/settings.ts';
import { TRANSACT_SETTINGS, type TransactionOptions } from './transact/settings.ts';
import type { Transaction } from './transact/transaction.ts';
import { Transactions } from './transact/transactions.ts';

export interface EventLogOptions {
  /** The settings of the producer behind `produce`. */
  readonly producer?: ProducerOptions;
  /** Default: the machine's. */
  readonly clock?: Clock;
  /** Default: Web Crypto. */
  readonly random?: Random;
}

export interface ReadOptions {
  readonly partition: number;
  /** Default: the log start offset. */
  readonly from?: ReadFrom | undefined;
  /** Default 500, at most 100,000. */
  readonly maxRecords?: number | undefined;
  /** Default 1 MiB, at most 64 MiB; at least one record comes. */
  readonly maxBytes?: number | undefined;
  /** At the end of the partition, wait so long for records; default 0, at most 20,000. */
  readonly waitMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface RecordPage<V, K> {
  readonly records: readonly ConsumedRecord<V, K>[];
  /** Where the next read goes on. It can be further on although no records came: dropped offsets are passed over. */
  readonly nextOffset: number;
  readonly logStartOffset: number;
  readonly highWatermark: number;
}

/**
 * The log for programs, wherever it is: `new EventLog(broker)` with the broker of `startTailrace` or `openEventLog`, or
 * `connect({ url })` over HTTP. All three behave alike and throw the same errors.
 */
export class EventLog {
  readonly #log: LogApi;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #options: EventLogOptions;
  /** Those that were made here and are not closed. */
  readonly #producers = new Set<Producer>();
  #own: Producer | undefined;
  readonly #transactions: Transactions;

  constructor(log: LogApi, options: EventLogOptions = {}) {
    this.#log = log;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? webRandom;
    this.#options = options;
    const settings = TRANSACT_SETTINGS;
    this.#transactions = new Transactions({ log, clock: this.#clock, random: this.#random, settings });
  }

  /** A producer of its own, with its own id, buffer and settings. Makes no request. @throws EventLogError `invalid_request` */
  producer(options: ProducerOptions = {}): Producer {
    const producer = new Producer({ log: this.#log, clock: this.#clock, random: this.#random }, options);
    this.#producers.add(producer);
    return producer;
  }

  /** Appends a record by a producer that all calls share. See `Producer.produce`. */
  produce(topic: string, record: RecordToProduce<Plain, Plain>, options?: ProduceOptions): Promise<ProducedRecord>;
  produce<V, K>(topic: Topic<V, K>, record: RecordToProduce<V, K>, options?: ProduceOptions): Promise<ProducedRecord>;
  async produce(
    topic: string | Topic<unknown, unknown>,
    record: RecordToProduce<unknown, unknown>,
    options?: ProduceOptions,
  ): Promise<ProducedRecord> {
    this.#own ??= this.producer(this.#options.producer);
    return this.#own.produce(topic as Topic<unknown, unknown>, record, options);
  }

  /**
   * Reads records of one partition, without a group.
   * @throws EventLogError `unknown_topic`, `unknown_partition`, `offset_out_of_range` with both ends, `invalid_request`;
   * whatever a codec throws
   */
  read(topic: string, options: ReadOptions): Promise<RecordPage<Plain, Plain>>;
  read<V, K>(topic: Topic<V, K>, options: ReadOptions): Promise<RecordPage<V, K>>;
  async read(topic: string | Topic<unknown, unknown>, options: ReadOptions): Promise<RecordPage<unknown, unknown>> {
    const { name, key, value } =
      typeof topic === 'string' ? ({ name: topic, key: plain, value: plain } as Topic<unknown, unknown>) : topic;
    checkOptionNames(options, READ_OPTION_NAMES, 'A read');
    const { partition, from = FROM_START, ...more } = options;
    const { records, ...ends } = await this.#log.readRecords({ topic: name, partition, from, ...more });
    return { ...ends, records: records.map((record) => decoded(record, partition, { key, value })) };
  }

  /**
   * Reads as a member of a group: `for await (const batch of log.consume({ group, topics }))`. Each record comes at least once
   * in the group, in order within its partition. A batch is committed when its loop body has ended. Whoever leaves the loop
   * within a body, by `break` or an error, has not processed that batch, unless `batch.commit()` was called. At the end the
   * member leaves, so that others get its partitions at once. Failures that pass are waited out.
   * @throws EventLogError `invalid_request`, `access_denied`, `instance_in_use`; whatever a codec throws
   */
  consume(options: ConsumeOptions<string>): AsyncIterable<ConsumedBatch<Plain, Plain>>;
  consume<V, K>(options: ConsumeOptions<Topic<V, K>>): AsyncIterable<ConsumedBatch<V, K>>;
  consume(options: ConsumeOptions<AnyTopic>): AsyncIterable<ConsumedBatch<unknown, unknown>> {
    return this.consumer(options as ConsumeOptions<Topic<unknown, unknown>>);
  }

  /** As `consume`, with the means to pause, resume and close. Makes no request. @throws EventLogError `invalid_request` */
  consumer(options: ConsumeOptions<string>): Consumer<Plain, Plain>;
  consumer<V, K>(options: ConsumeOptions<Topic<V, K>>): Consumer<V, K>;
  consumer(options: ConsumeOptions<AnyTopic>): Consumer<unknown, unknown> {
    return new Consumer({ log: this.#log, clock: this.#clock, random: this.#random }, options);
  }

  /**
   * Runs a function in a transaction, and commits when it has returned: its records, of any topics, and offsets of groups, all
   * or nothing. If the function throws, the transaction is aborted and the error thrown. After failures that pass, the whole is
   * tried again: so the function can run several times, and what it does elsewhere is done as often.
   *
   * A program that reads with `consume`, and commits each batch with `commitOffsets` in the transaction of what it makes of
   * it, has its effect on the log once for each record, whatever dies.
   * @throws EventLogError `invalid_request` naming the option; as the log. With the outcome `unknown` nobody knows whether the
   * transaction was committed; otherwise it was not
   */
  transaction<T>(work: (transaction: Transaction) => Promise<T>, options: TransactionOptions = {}): Promise<T> {
    return this.#transactions.run(work, options);
  }

  /** Sends at once what its producers hold, and resolves when the records of all calls before this one are settled. */
  async flush(): Promise<void> {
    await Promise.all([...this.#producers].map((producer) => producer.flush()));
  }

  /** Closes its producers. The log itself stays open: it belongs to the caller. See `Producer.close`. */
  async close(options?: CloseOptions): Promise<void> {
    await Promise.all([...this.#producers].map((producer) => producer.close(options)));
  }
}

const CONNECT_OPTION_NAMES: Readonly<Record<keyof (HttpLogOptions & EventLogOptions), true>> = {
  url: true,
  apiKey: true,
  token: true,
  headers: true,
  fetch: true,
  producer: true,
  clock: true,
  random: true,
};
const READ_OPTION_NAMES: Readonly<Record<keyof ReadOptions, true>> = {
  partition: true,
  from: true,
  maxRecords: true,
  maxBytes: true,
  waitMs: true,
  signal: true,
};

/** The tail of everything is everything. */
const FROM_START: ReadFrom = { tail: Number.MAX_SAFE_INTEGER };

/** The log over HTTP, with `fetch` alone. Makes no request. @throws EventLogError `invalid_request` naming the option */
export function connect(options: HttpLogOptions & EventLogOptions): EventLog {
  checkOptionNames(options, CONNECT_OPTION_NAMES, 'A log');
  return new EventLog(new HttpLog(options), options);
}
