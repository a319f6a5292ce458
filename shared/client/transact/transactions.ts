import { EventLogError } from '../../log/errors.ts';
import { asEventLogError } from '../in-time.ts';
import type { TransactionName } from '../log-api.ts';
import { backOff } from '../produce/lane-context.ts';
import { repeated } from './repeated.ts';
import {
  type CheckedTransactionOptions,
  checkTransactionOptions,
  type TopicToWrite,
  type TransactContext,
  type TransactionOptions,
} from './settings.ts';
import { OpenTransaction, type Transaction } from './transaction.ts';

/** A transactional id, and who goes on with it; `undefined`: that is not known. */
interface Lane {
  readonly transactionalId: string;
  /** The one that `producer` was initialised with. */
  timeoutMs: number;
  /** The id was given, so that other programs may use it. */
  readonly isShared: boolean;
  producer: TransactionName['producer'] | undefined;
  usedAtMs: number;
}

type Attempt<T> =
  | { readonly type: 'committed'; readonly result: T }
  /** `again`: nothing of it is committed, and the next attempt may succeed. */
  | { readonly type: 'again' | 'failed'; readonly error: unknown };

/** Transactional ids that nobody used for a week are retired. */
const KEPT_MS = 86_400_000;
const ID_BYTES = 16;
/** How the transactional ids begin that are made here. Scopes name them by it. */
const OWN_ID_PREFIX = 'tailrace.client.';
const NAMED_MAX = 1_000;
const TOPICS_MAX = 10_000;
const NEVER = new AbortController().signal;

/** Runs transactions, each as often as it takes. See `EventLog.transaction`. */
export class Transactions {
  readonly #context: TransactContext;
  /** Those of this `EventLog`'s own ids that are in no transaction. */
  readonly #idle: Lane[] = [];
  readonly #topics = new Map<string, TopicToWrite & { readonly askedMs: number }>();
  /** By given transactional id: the lane, and the end of all transactions so far. */
  readonly #named = new Map<string, { readonly lane: Lane; last: Promise<unknown> }>();

  constructor(components: Omit<TransactContext, 'topicOf'>) {
    this.#context = { ...components, topicOf: (name, signal) => this.#topicOf(name, signal) };
  }

  async run<T>(work: (transaction: Transaction) => Promise<T>, given: TransactionOptions): Promise<T> {
    const options = checkTransactionOptions(given);
    const { transactionalId, timeoutMs } = options;
    if (transactionalId === undefined) return this.#runOn(this.#takeIdle(timeoutMs), work, options);
    const { clock } = this.#context;
    const lane: Lane = { transactionalId, timeoutMs, isShared: true, producer: undefined, usedAtMs: clock.nowMs() };
    const named = this.#named.get(transactionalId) ?? { lane, last: Promise.resolve() };
    this.#named.set(transactionalId, named);
    const done = named.last.then(() => {
      if (named.lane.timeoutMs !== timeoutMs || isOld(named.lane, clock.nowMs())) named.lane.producer = undefined;
      named.lane.timeoutMs = timeoutMs;
      return this.#runOn(named.lane, work, options);
    });
    const last: Promise<void> = done.then(
      () => this.#forgetNamed(transactionalId, last),
      () => this.#forgetNamed(transactionalId, last),
    );
    named.last = last;
    return done;
  }

  /** A program with a new id each time must not fill the memory: an id that is forgotten is initialised again. */
  #forgetNamed(transactionalId: string, last: Promise<unknown>): void {
    if (this.#named.size > NAMED_MAX && this.#named.get(transactionalId)?.last === last)
      this.#named.delete(transactionalId);
  }

  #takeIdle(timeoutMs: number): Lane {
    const { clock, random } = this.#context;
    const found = this.#idle.findLastIndex((lane) => lane.timeoutMs === timeoutMs);
    const [idle] = found < 0 ? [] : this.#idle.splice(found, 1);
    if (idle !== undefined && !isOld(idle, clock.nowMs())) return idle;
    const id = [...random.bytes(ID_BYTES)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    return {
      transactionalId: `${OWN_ID_PREFIX}${id}`,
      timeoutMs,
      isShared: false,
      producer: undefined,
      usedAtMs: clock.nowMs(),
    };
  }

  async #runOn<T>(
    lane: Lane,
    work: (transaction: Transaction) => Promise<T>,
    options: CheckedTransactionOptions,
  ): Promise<T> {
    const { clock } = this.#context;
    const deadlineMs = clock.nowMs() + options.retryMs;
    for (let failures = 1; ; failures++) {
      const attempt = await this.#attempt(lane, work, options);
      lane.usedAtMs = clock.nowMs();
      if (attempt.type === 'again' && clock.nowMs() < deadlineMs && !options.signal?.aborted) {
        const backing = { ...this.#context, stop: options.signal ?? NEVER };
        await backOff(backing, asEventLogError(attempt.error), failures, deadlineMs);
        continue;
      }
      if (!lane.isShared && lane.producer !== undefined) this.#idle.push(lane);
      if (attempt.type === 'committed') return attempt.result;
      throw attempt.error;
    }
  }

  async #attempt<T>(
    lane: Lane,
    work: (transaction: Transaction) => Promise<T>,
    { signal }: CheckedTransactionOptions,
  ): Promise<Attempt<T>> {
    let producer: TransactionName['producer'];
    try {
      producer = lane.producer ?? (await this.#begin(lane));
    } catch (thrown) {
      return refused(lane, asEventLogError(thrown));
    }
    lane.producer = undefined;
    const name = { transactionalId: lane.transactionalId, producer };
    const open = new OpenTransaction(this.#context, name, signal);
    try {
      const result = await work(open);
      await open.close();
      if (open.isUsed) return this.#commit(lane, name, result);
      lane.producer = producer;
      return { type: 'committed', result };
    } catch (thrown) {
      open.giveUp();
      lane.producer = open.isUsed ? await this.#abort(name) : producer;
      const isOfLog = thrown === open.failure && thrown instanceof EventLogError;
      return isOfLog ? refused(lane, thrown) : { type: 'failed', error: thrown };
    }
  }

  async #commit<T>(lane: Lane, name: TransactionName, result: T): Promise<Attempt<T>> {
    const { log, settings } = this.#context;
    const commit = { ...name, outcome: 'committed', raisesEpoch: true } as const;
    let isInDoubt = false;
    const noteDoubt = (): void => {
      isInDoubt = true;
    };
    try {
      const ending = { forMs: settings.endTimeoutMs, onDoubt: noteDoubt };
      lane.producer = await repeated(this.#context, ending, (signal) => log.endTransaction({ ...commit, signal }));
      return { type: 'committed', result };
    } catch (thrown) {
      const error = asEventLogError(thrown);
      return isInDoubt ? { type: 'failed', error: inDoubt(error) } : refused(lane, error);
    }
  }

  #begin({ transactionalId, timeoutMs }: Lane): Promise<TransactionName['producer']> {
    const { log, settings } = this.#context;
    return repeated(this.#context, { forMs: settings.endTimeoutMs }, (signal) =>
      log.initialiseProducer({ transactionalId, timeoutMs, signal }),
    );
  }

  /** Returns who goes on; `undefined` if that is not known: then the transactional id is initialised again. */
  async #abort(name: TransactionName): Promise<TransactionName['producer'] | undefined> {
    const { log, settings } = this.#context;
    const abort = { ...name, outcome: 'aborted', raisesEpoch: true } as const;
    return repeated(this.#context, { forMs: settings.endTimeoutMs }, (signal) =>
      log.endTransaction({ ...abort, signal }),
    ).catch(() => undefined);
  }

  async #topicOf(name: string, signal: AbortSignal): Promise<TopicToWrite> {
    const { clock, log, settings } = this.#context;
    const known = this.#topics.get(name);
    if (known !== undefined && Math.abs(clock.nowMs() - known.askedMs) < settings.topicMaxAgeMs) return known;
    const { partitions, config } = await log.describeTopic(name, { signal });
    const topic = { partitions, batchBytesMax: Number(config['max.message.bytes'].value), askedMs: clock.nowMs() };
    this.#topics.delete(name);
    this.#topics.set(name, topic);
    if (this.#topics.size > TOPICS_MAX) this.#topics.delete(this.#topics.keys().next().value as string);
    return topic;
  }
}

/** The log may have retired its transactional id. */
function isOld({ usedAtMs }: Lane, nowMs: number): boolean {
  return nowMs - usedAtMs >= KEPT_MS;
}

/** Nothing of the attempt is committed, so that the whole can be tried again if the failure passes. */
function refused({ isShared }: Lane, { code, message, details, retry, outcome, cause }: EventLogError): Attempt<never> {
  const isFenced =
    code === 'producer_fenced' || code === 'unknown_transactional_id' || code === 'invalid_transaction_state';
  const isRetired = code === 'unknown_transactional_id' && details.currentProducerId === undefined;
  // Under an id of its own only its time can be over. Under a shared one a newer instance may be at work, which must not be
  // fenced, unless the id is retired: then nobody has it.
  const mayPass = isFenced
    ? !isShared || isRetired
    : retry === 'as_is' || (outcome === 'unknown' && code !== 'internal');
  const error = new EventLogError(code, message, { details, retry, cause, outcome: 'not_applied' });
  return { type: mayPass ? 'again' : 'failed', error };
}

function inDoubt(error: EventLogError): EventLogError {
  const { code, message, details } = error;
  return new EventLogError(code, `Whether the transaction is committed is not known: ${message}`, {
    details,
    cause: error,
    retry: 'never',
    outcome: 'unknown',
  });
}
