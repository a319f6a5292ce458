import { EventLogError, invalidField } from '../../log/errors.ts';
import type { Clock, Random } from '../../storage/ports.ts';
import { type ConsumedRecord, decoded } from '../decode.ts';
import { asEventLogError, inTime } from '../in-time.ts';
import type { GroupPoll, LogApi } from '../log-api.ts';
import { backOff } from '../produce/lane-context.ts';
import type { PartitionName } from './options.ts';
import { type AnyTopic, type CheckedOptions, type ConsumeOptions, checkOptions, codecsOf } from './options.ts';

export interface ConsumedPartition<V, K> extends PartitionName {
  /** In the order of their offsets. */
  readonly records: readonly ConsumedRecord<V, K>[];
  readonly nextOffset: number;
  readonly highWatermark: number;
}

/** What one poll read. */
export interface ConsumedBatch<V, K> {
  /** Only partitions of which something was read. */
  readonly partitions: readonly ConsumedPartition<V, K>[];
  /** The records of all `partitions`. */
  readonly records: readonly (ConsumedRecord<V, K> & { readonly topic: string })[];
  /** Offsets that retention dropped before they were read; `to` is exclusive. */
  readonly gaps: GroupPoll['gaps'];
  /** What `Transaction.commitOffsets` takes. */
  readonly position: { readonly group: string; readonly token: string };
  /**
   * Commits this batch and all before it, while its loop body runs. The records must be processed.
   * @throws EventLogError `invalid_request` if the loop has gone on; or as the log does
   */
  commit(): Promise<void>;
}

export interface ConsumerContext {
  readonly log: LogApi;
  readonly clock: Clock;
  readonly random: Random;
}

const WAIT_MS = 15_000;
const REQUEST_TIMEOUT_MS = 30_000;
/** The end of a consumer takes no longer than this for each of its requests: after that the lease decides. */
const LEAVE_TIMEOUT_MS = 5_000;
const BACKOFF = { retryBackoffMs: 100, retryBackoffMaxMs: 1_000 };

/** A member of a group, for one `for await`. See `EventLog.consume`. */
export class Consumer<V, K> implements AsyncIterable<ConsumedBatch<V, K>> {
  readonly memberId: string;
  readonly #context: ConsumerContext;
  readonly #options: CheckedOptions;
  readonly #stop = new AbortController();
  readonly #paused = new Map<string, { all: boolean; readonly partitions: Set<number> }>();
  #waiting = new AbortController();
  #polling: Promise<unknown> | undefined;
  #committing: Promise<void> | undefined;
  #token: string | undefined;
  #assignment: GroupPoll['assignment'] = [];
  #unknownTopics: readonly string[] = [];
  /** The batch whose loop body runs, or has run last, with what it would lose. */
  #given: { readonly places: readonly PartitionName[]; isCommitted: boolean } | undefined;
  #running: Promise<void> | undefined;
  #ended = (): void => {};

  /** @throws EventLogError `invalid_request` naming the option */
  constructor(context: ConsumerContext, options: ConsumeOptions<AnyTopic>) {
    this.#context = context;
    this.#options = checkOptions(options);
    this.memberId = options.memberId ?? hexOf(context.random.bytes(16));
    const { signal } = options;
    if (signal?.aborted) this.#stop.abort();
    const onAbort = (): void => this.#stop.abort();
    signal?.addEventListener('abort', onAbort, { signal: this.#stop.signal });
  }

  /** The partitions that the member had at its last poll. */
  get assignment(): GroupPoll['assignment'] {
    return this.#assignment;
  }

  /** Those of `topics` that did not exist when the member joined: misspelt, or still to be made. */
  get unknownTopics(): readonly string[] {
    return this.#unknownTopics;
  }

  /** Reads no more of a topic, or of one partition, until `resume`. The member keeps it. Holds from the next batch on. */
  pause(topic: string, partition?: number): void {
    const known = this.#paused.get(topic) ?? { all: false, partitions: new Set() };
    this.#paused.set(topic, known);
    if (partition === undefined) known.all = true;
    else known.partitions.add(partition);
    this.#waiting.abort();
  }

  /** Reads on where `pause` stopped. Without a partition, resumes all of the topic. */
  resume(topic: string, partition?: number): void {
    const known = this.#paused.get(topic);
    if (partition === undefined) this.#paused.delete(topic);
    else if (known?.all)
      throw invalidField('partition', `All of '${topic}' is paused: resume the topic, not one partition.`);
    else known?.partitions.delete(partition);
    this.#waiting.abort();
  }

  /**
   * Ends the iteration after the present loop body, and resolves when the member has left. Do not wait for it in the loop
   * body, which it waits for.
   */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** @throws EventLogError `invalid_request` if it is iterated twice */
  [Symbol.asyncIterator](): AsyncGenerator<ConsumedBatch<V, K>, void, undefined> {
    return this.#batches();
  }

  async *#batches(): AsyncGenerator<ConsumedBatch<V, K>, void, undefined> {
    if (this.#running !== undefined)
      throw new EventLogError('invalid_request', 'A consumer is iterated once. Make another one.');
    this.#running = new Promise((resolve) => {
      this.#ended = resolve;
    });
    let isProcessed = false;
    try {
      for (;;) {
        const polled = await this.#poll();
        if (polled === undefined) return;
        isProcessed = false;
        if (polled.partitions.length === 0 && polled.gaps.length === 0) continue;
        const batch = this.#batchOf(polled);
        const bodyEnd = new AbortController();
        void this.#keepLease(polled.token, bodyEnd.signal);
        try {
          yield batch;
          isProcessed = true;
        } finally {
          bodyEnd.abort();
        }
      }
    } finally {
      await this.#leave(isProcessed && this.#options.autoCommit);
      this.#ended();
    }
  }

  #batchOf(polled: GroupPoll): ConsumedBatch<V, K> {
    const partitions = polled.partitions.map(({ topic, partition, records, nextOffset, highWatermark }) => {
      const codecs = codecsOf(this.#options, topic);
      const typed = records.map((each) => decoded(each, partition, codecs) as ConsumedRecord<V, K>);
      return { topic, partition, records: typed, nextOffset, highWatermark };
    });
    const records = partitions.flatMap(({ topic, records }) => records.map((record) => ({ topic, ...record })));
    const places = partitions.map(({ topic, partition }) => ({ topic, partition }));
    // What was held back before is lost with the membership too.
    const held =
      this.#given === undefined || this.#given.isCommitted || this.#options.autoCommit ? [] : this.#given.places;
    const given = { places: distinct([...held, ...places]), isCommitted: false };
    this.#given = given;
    const commit = async (): Promise<void> => {
      if (this.#given !== given)
        throw new EventLogError('invalid_request', 'The loop has gone on: commit the present batch instead.');
      this.#committing ??= this.#commit(REQUEST_TIMEOUT_MS).finally(() => {
        this.#committing = undefined;
      });
      await this.#committing;
    };
    const position = { group: this.#options.group, token: polled.token };
    return { partitions, records, gaps: polled.gaps, position, commit };
  }

  /** The next answer, however long it takes; `undefined` if the consumer is to end. */
  async #poll(): Promise<GroupPoll | undefined> {
    await this.#committing?.catch(() => {});
    for (let failures = 0; !this.#stop.signal.aborted; ) {
      const waiting = new AbortController();
      this.#waiting = waiting;
      const end = (): void => waiting.abort();
      this.#stop.signal.addEventListener('abort', end, { signal: waiting.signal });
      try {
        const polled = await this.#ask(WAIT_MS + REQUEST_TIMEOUT_MS, waiting.signal, {
          waitMs: WAIT_MS,
          maxRecords: this.#options.maxRecords,
          commitLater: !this.#options.autoCommit,
        });
        // What a poll read that was to stop is read again, from the same token.
        if (waiting.signal.aborted) continue;
        return polled;
      } catch (thrown) {
        if (waiting.signal.aborted) continue;
        const error = asEventLogError(thrown);
        if (this.#isOut(error)) {
          this.#forget();
        } else if (error.retry === 'as_is') {
          failures++;
          const { clock, random } = this.#context;
          const backing = { clock, random, settings: BACKOFF, stop: waiting.signal };
          await backOff(backing, error, failures, clock.nowMs() + REQUEST_TIMEOUT_MS);
        } else throw error;
      } finally {
        this.#stop.signal.removeEventListener('abort', end);
      }
    }
    return undefined;
  }

  /** One poll. Its token counts from then on. @throws EventLogError also if a commit has to be sent again */
  async #ask(
    ms: number,
    stop: AbortSignal | undefined,
    request: { readonly waitMs: number; readonly maxRecords: number | undefined; readonly commitLater: boolean },
  ): Promise<GroupPoll> {
    const { group, instanceId, subscription, startAt, maxBytes, leaseMs } = this.#options;
    const after = this.#token;
    const polled = await inTime(this.#context.clock, ms, stop, (signal) => {
      const polling = this.#context.log.pollRecords({
        group,
        memberId: this.memberId,
        instanceId,
        ...(after === undefined ? { subscription, leaseMs } : { after }),
        paused: this.#pausedNow(),
        startAt,
        maxBytes,
        ...request,
        // A poll that joins commits nothing anyway.
        commitLater: request.commitLater && after !== undefined,
        signal,
      });
      this.#polling = polling;
      return polling;
    });
    if (stop?.aborted) return polled;
    const refused = polled.commits.flatMap(({ outcome, ...place }) => (outcome.ok ? [] : [{ ...place, ...outcome }]));
    const again = refused.find(({ error }) => error.retry === 'as_is');
    if (again !== undefined) throw again.error;
    this.#token = polled.token;
    this.#assignment = polled.assignment;
    if (after === undefined) this.#unknownTopics = polled.unknownTopics ?? [];
    if (this.#given !== undefined && !request.commitLater) this.#given.isCommitted = true;
    this.#lost(refused.map(({ topic, partition }) => ({ topic, partition })));
    return polled;
  }

  async #commit(ms: number): Promise<void> {
    const { clock, random } = this.#context;
    const deadlineMs = clock.nowMs() + ms;
    for (let failures = 0; this.#token !== undefined; ) {
      try {
        const leftMs = Math.max(1, deadlineMs - clock.nowMs());
        await this.#ask(leftMs, undefined, { waitMs: 0, maxRecords: 0, commitLater: false });
        return;
      } catch (thrown) {
        const error = asEventLogError(thrown);
        if (this.#isOut(error)) return this.#forget();
        if (error.retry !== 'as_is' || clock.nowMs() >= deadlineMs) throw error;
        failures++;
        const never = new AbortController().signal;
        await backOff({ clock, random, settings: BACKOFF, stop: never }, error, failures, deadlineMs);
      }
    }
  }

  /** Extends the lease while a loop body runs. If the membership is over, the next poll finds that out. */
  async #keepLease(token: string, bodyEnd: AbortSignal): Promise<void> {
    const { clock, log } = this.#context;
    const { group, leaseMs } = this.#options;
    const { memberId } = this;
    for (let waitMs = leaseMs / 3; ; ) {
      await clock.sleep(waitMs, bodyEnd);
      if (bodyEnd.aborted) return;
      try {
        await inTime(clock, leaseMs / 3, bodyEnd, (signal) => log.extendLease({ group, memberId, token, signal }));
        waitMs = leaseMs / 3;
      } catch (error) {
        if (bodyEnd.aborted || this.#isOut(asEventLogError(error))) return;
        waitMs = leaseMs / 12;
      }
    }
  }

  /** Hands over. What fails here costs a lease and records that come again, so the loop's own error is not hidden. */
  async #leave(commits: boolean): Promise<void> {
    this.#stop.abort();
    const { clock, log } = this.#context;
    const { group, instanceId } = this.#options;
    const { memberId } = this;
    await this.#committing?.catch(() => {});
    // A poll that is still under way could join after the member has left.
    await inTime(clock, LEAVE_TIMEOUT_MS, undefined, async () => this.#polling).catch(() => {});
    if (commits) await this.#commit(LEAVE_TIMEOUT_MS).catch(() => {});
    if (this.#polling === undefined) return;
    await inTime(clock, LEAVE_TIMEOUT_MS, undefined, (signal) =>
      log.leaveGroup({
        group,
        memberId,
        instanceId,
        ...(instanceId === undefined ? {} : { willReturn: true }),
        signal,
      }),
    ).catch(() => {});
  }

  #isOut({ code }: EventLogError): boolean {
    return this.#token !== undefined && (code === 'unknown_member' || code === 'fenced_member_epoch');
  }

  /** The next poll joins again. */
  #forget(): void {
    this.#token = undefined;
    this.#assignment = [];
    if (this.#given?.isCommitted === false) this.#lost(this.#given.places);
    this.#given = undefined;
  }

  #lost(partitions: readonly PartitionName[]): void {
    if (partitions.length > 0) this.#options.onPartitionsLost?.(partitions);
  }

  #pausedNow(): { readonly topic: string; readonly partitions?: readonly number[] }[] {
    return [...this.#paused].flatMap(([topic, { all, partitions }]) => {
      if (all) return [{ topic }];
      return partitions.size === 0 ? [] : [{ topic, partitions: [...partitions] }];
    });
  }
}

function distinct(places: readonly PartitionName[]): PartitionName[] {
  return [...new Map(places.map((place) => [`${place.topic}/${place.partition}`, place])).values()];
}

function hexOf(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
