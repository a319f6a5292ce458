import type { AppendRecordsRequest, RecordOutcome } from '../../../shared/broker/append/outcomes.ts';
import type { Broker } from '../../../shared/broker/broker.ts';
import type { TopicDescription } from '../../../shared/broker/topics/describe.ts';
import type { ErrorCode, EventLogError } from '../../../shared/log/errors.ts';
import type {
  AppendedRecord,
  Completion,
  Invocation,
  ReadAnswer,
  RecordFate,
  TopicAnswer,
} from '../../history/history.ts';
import { toRecord } from '../../history/history-records.ts';
import { Chance } from '../world/chance.ts';
import type { RequestFault } from '../world/faults.ts';
import { EPOCH_MS, STREAM } from '../world/simulated-process.ts';
import { PARTITION_COUNT, type Reply, type World } from '../world/world.ts';
import { readOnce } from './read-records.ts';

/** An append as a client asks for it; the content of a record follows from its value. */
export interface ClientAppend {
  readonly topic: string;
  readonly records: readonly { readonly value: string; readonly partition?: number }[];
  readonly atomic?: boolean;
  readonly idempotencyKey?: string;
  readonly producer?: { readonly id: number; readonly epoch: number; readonly sequence: number };
  readonly expectedOffset?: number;
}

/** What came of an append: as in the history, and what the client goes on by. */
export interface Appended {
  readonly type: 'ok' | 'fail' | 'info';
  readonly codes: readonly ErrorCode[];
  readonly nextOffset: number | undefined;
  /** Behind the last record, if all of them were acknowledged. */
  readonly endOffset?: number | undefined;
  /** The process that answered. */
  readonly process?: number | undefined;
}

export type Judged = Appended & { readonly outcomes?: readonly RecordFate[] };

/**
 * Appends to one partition, one by one, over stores of which nothing fails but that no tail node can be written: so a run
 * begins with a long tail.
 */
export async function ageTail(world: World, broker: Broker, partition: number, appends: number): Promise<void> {
  for (let i = 0; i < appends; i++) {
    await recordBefore(world, broker, partition, `before-${partition}-${i}`);
  }
}

/** Appends one record before the run begins: with a key, more than a day before, so that its note has expired. */
export async function recordBefore(
  world: World,
  broker: Broker,
  partition: number,
  value: string,
  idempotencyKey?: string,
): Promise<void> {
  const { timestampMs, ...others } = contentOf(value);
  // Long ago the time of the run is too far ahead.
  const content = idempotencyKey === undefined ? { ...others, timestampMs } : others;
  const asked = idempotencyKey === undefined ? {} : { idempotencyKey };
  const time = idempotencyKey === undefined ? 0 : -LONG_AGO_MS;
  const facts = { op: world.nextOp(), process: 'before', time, topic: LASTING_TOPIC };
  world.history.push({ ...facts, type: 'invoke', f: 'append', records: [{ ...content, partition }], ...asked });
  const records = [toRecord({ ...content, partition })];
  const [outcome] = await broker.appendRecords({ topic: LASTING_TOPIC, records, ...asked });
  if (outcome?.ok !== true) throw new Error('An append failed before anything could.', { cause: outcome?.error });
  const { offset } = outcome;
  world.history.push({ ...facts, type: 'ok', f: 'append', outcomes: [{ type: 'ok', partition, offset }] });
}

/** Asks for things, and writes down what it asked and what it was told. */
export class Client {
  readonly name: string;
  readonly chance: Chance;
  readonly world: World;
  private readonly id: number;
  private readonly switchRate: number;
  private connected: number;
  private requests = 0;
  private lanes = 0;
  private readonly tracking = new Set<Promise<void>>();

  constructor(world: World, id: number, name: string) {
    this.world = world;
    this.id = id;
    this.name = name;
    this.chance = new Chance(world.seed, STREAM.client, id);
    // Some stay with one process, as with a connection, some change now and then, and some meet another each time.
    this.switchRate = this.chance.pick([0, 0.1, 1]);
    this.connected = this.chance.below(world.slotCount);
  }

  get partitions(): readonly number[] {
    return this.world.conditions.partitions;
  }

  /** All processes that serve at the same time. */
  get slots(): readonly number[] {
    return Array.from({ length: this.world.slotCount }, (_, slot) => slot);
  }

  /** How many partitions the topic has that comes and goes. */
  get passingPartitions(): number {
    return this.world.conditions.passingPartitions;
  }

  /** A value that no one else uses; some are too large to be kept in the table. */
  value(isLarge = this.chance.chance(0.1)): string {
    const value = `${this.name}-${this.requests}-${this.lanes++}`;
    return isLarge ? value.padEnd(600, '.') : value;
  }

  /** The text of a number that no one else uses. */
  uniqueNumber(): string {
    return String(UNIQUE_FROM + this.id * UNIQUE_PER_CLIENT + this.lanes++);
  }

  /** A producer id that was given out days ago; once. */
  takeOldId(): number | undefined {
    return this.world.oldIds.get(this.name);
  }

  /** Goes on with something beside what comes next. */
  tracks(work: Promise<void>): void {
    const tracked: Promise<void> = work.finally(() => this.tracking.delete(tracked));
    this.tracking.add(tracked);
  }

  /** Once all that went on beside is over. */
  async tracked(): Promise<void> {
    while (this.tracking.size > 0) await Promise.all(this.tracking);
  }

  rest(): Promise<void> {
    const { usualMs } = this.world.conditions.latency;
    const long = this.chance.chance(0.05) && !this.world.fates.healed;
    if (long && this.world.conditions.jobs !== undefined) return this.world.pause(this.chance.next() * RETRY_MS_MAX);
    return this.world.loop.sleep(this.chance.next() * usualMs * (long ? 1_000 : 4));
  }

  /** Simulated time. */
  get nowMs(): number {
    return this.world.loop.nowMs;
  }

  /** Ends all faults, where they have kept a client waiting for too long. */
  healAll(): void {
    this.world.heal();
  }

  /** In runs with jobs hours may pass here; in others nothing happens. */
  async pause(): Promise<void> {
    const { jobs } = this.world.conditions;
    if (jobs !== undefined) await this.world.pause(this.chance.next() ** 2 * jobs.pauseMs);
  }

  sleep(ms: number): Promise<void> {
    return this.world.loop.sleep(ms);
  }

  mark(name: string): void {
    this.world.watch.mark(name);
  }

  surprise(what: string): void {
    this.world.surprises.push(`${this.name}: ${what}`);
  }

  /** By the process that serves the client, or that of `slot`. */
  async append(append: ClientAppend, slot = this.slot()): Promise<Appended> {
    const repeatable = append.producer !== undefined || append.idempotencyKey !== undefined;
    const fault = this.world.fates.ofClientRequest(this.id, this.requests++);
    if (fault === 'delivered_twice' && repeatable) {
      this.mark('delivered twice');
      const afterMs = this.chance.chance(0.5) ? 0 : this.chance.next() * SECOND_DELIVERY_MS_MAX;
      this.world.loop.at(afterMs, () => {
        void this.appendOnce(append, `${this.name}'`, this.slot(), undefined);
      });
    }
    return this.appendOnce(append, this.name, slot, fault);
  }

  private async appendOnce(
    append: ClientAppend,
    name: string,
    slot: number,
    fault: Parameters<World['request']>[2],
  ): Promise<Appended> {
    const { op, request } = this.begin(append, name);
    const reply = await this.world.request(slot, (broker) => broker.appendRecords(request), fault);
    return this.finish(op, append, name, this.judgeReply(append, reply));
  }

  /** Gives one process all of them at once, in their order. */
  async appendInARow(appends: readonly ClientAppend[]): Promise<void> {
    const fault = this.world.fates.ofClientRequest(this.id, this.requests++);
    const begun: { readonly op: number; readonly append: ClientAppend; readonly request: AppendRecordsRequest }[] = [];
    for (const append of appends) begun.push({ append, ...this.begin(append, this.name, begun.at(-1)?.op) });
    const run = (broker: Broker): Promise<PromiseSettledResult<RecordOutcome[]>[]> =>
      Promise.allSettled(begun.map(({ request }) => broker.appendRecords(request)));
    const reply = await this.world.request(this.slot(), run, fault);
    for (const [i, { op, append }] of begun.entries()) {
      const result = reply.type === 'answer' ? reply.value[i] : undefined;
      const own: Reply<RecordOutcome[]> =
        result === undefined
          ? { type: 'nothing' }
          : result.status === 'fulfilled'
            ? { type: 'answer', value: result.value, process: -1 }
            : { type: 'error', error: result.reason as EventLogError, process: -1 };
      this.finish(op, append, this.name, this.judgeReply(append, own));
    }
  }

  /** For how long the client waits for an answer. */
  get patienceMs(): number {
    return this.world.patienceMs;
  }

  /** What strikes the next request of the client. */
  nextFault(): RequestFault | undefined {
    return this.world.fates.ofClientRequest(this.id, this.requests++);
  }

  /** Notes that an append begins, and answers what it asks the broker for. */
  begin(
    append: ClientAppend,
    name: string,
    after?: number,
  ): { readonly op: number; readonly request: AppendRecordsRequest } {
    const { topic, atomic, idempotencyKey, producer, expectedOffset } = append;
    const records = append.records.map(({ value, partition }): AppendedRecord => {
      const content = contentOf(value);
      return partition === undefined ? content : { ...content, partition };
    });
    const op = this.world.nextOp();
    const asked = {
      ...(atomic === undefined ? {} : { atomic }),
      ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
      ...(expectedOffset === undefined ? {} : { expectedOffset }),
    };
    this.note({
      ...this.facts(op, name, topic),
      type: 'invoke',
      f: 'append',
      records,
      ...asked,
      ...(producer === undefined ? {} : { producer }),
      ...(after === undefined ? {} : { after }),
    });
    const request: AppendRecordsRequest = {
      topic,
      records: records.map(toRecord),
      ...asked,
      ...(producer === undefined
        ? {}
        : { producer: { producerId: producer.id, producerEpoch: producer.epoch, baseSequence: producer.sequence } }),
    };
    return { op, request };
  }

  /** Notes how it ended. */
  finish(op: number, append: ClientAppend, name: string, judged: Judged): Appended {
    const { outcomes, ...appended } = judged;
    this.note({
      ...this.facts(op, name, append.topic),
      type: appended.type,
      f: 'append',
      ...(outcomes === undefined ? {} : { outcomes }),
      ...(outcomes === undefined && appended.codes[0] !== undefined ? { error: appended.codes[0] } : {}),
      ...(appended.nextOffset === undefined ? {} : { nextOffset: appended.nextOffset }),
    });
    return appended;
  }

  /** Reads whole batches from an offset on; takes its time over them where `slow`. */
  async read(
    topic: string,
    partition: number,
    from: number,
    how: { maxBytes?: number; waitMs?: number; slow?: boolean; slot?: number } = {},
  ): Promise<ReadAnswer | undefined> {
    const op = this.world.nextOp();
    this.note({ ...this.facts(op, this.name, topic), type: 'invoke', f: 'read', partition, offset: from });
    const fault = this.world.fates.ofClientRequest(this.id, this.requests++);
    const pause = how.slow === true ? () => this.rest() : undefined;
    const reply = await this.world.request(
      how.slot ?? this.slot(),
      (broker) => readOnce(broker, topic, partition, from, how, pause),
      fault,
      how.waitMs,
    );
    const error = reply.type === 'error' ? this.expected(topic, reply.error).code : undefined;
    this.note({
      ...this.facts(op, this.name, topic),
      type: reply.type === 'answer' ? 'ok' : 'fail',
      f: 'read',
      ...(reply.type === 'answer' ? reply.value : {}),
      ...(error === undefined ? {} : { error }),
    });
    return reply.type === 'answer' ? reply.value : undefined;
  }

  /** The high watermark of a partition; as `slot` tells it, where that is given. */
  async end(topic: string, partition: number, slot = this.slot()): Promise<number | undefined> {
    const op = this.world.nextOp();
    // Several may be asked at the same time, each as if by a process of its own.
    const name = `${this.name}/${slot}`;
    this.note({ ...this.facts(op, name, topic), type: 'invoke', f: 'end', partition });
    const fault = this.world.fates.ofClientRequest(this.id, this.requests++);
    const reply = await this.world.request(slot, (broker) => broker.describePartitions(topic), fault);
    const error = reply.type === 'error' ? this.expected(topic, reply.error).code : undefined;
    const highWatermark = reply.type === 'answer' ? reply.value[partition]?.highWatermark : undefined;
    this.note({
      ...this.facts(op, name, topic),
      type: highWatermark === undefined ? 'fail' : 'ok',
      f: 'end',
      ...(highWatermark === undefined ? {} : { highWatermark }),
      ...(error === undefined ? {} : { error }),
    });
    return highWatermark;
  }

  /** Makes or changes a topic; answers which process has certainly done it. */
  async put(
    topic: string,
    asked: { readonly partitions?: number; readonly config?: Readonly<Record<string, string>> },
    slot = this.slot(),
  ): Promise<number | undefined> {
    const op = this.world.nextOp();
    this.note({ ...this.facts(op, this.name, topic), type: 'invoke', f: 'create_topic', ...asked });
    const fault = this.world.fates.ofClientRequest(this.id, this.requests++);
    const reply = await this.world.request(slot, (broker) => broker.putTopic({ name: topic, ...asked }), fault);
    const told = reply.type === 'answer' ? tellTopic(reply.value.topic) : this.failure(topic, reply);
    this.note({ ...this.facts(op, this.name, topic), type: 'ok', f: 'create_topic', ...told });
    return reply.type === 'answer' ? reply.process : undefined;
  }

  /** Deletes a topic; answers whether that is certain to be done. */
  async remove(topic: string): Promise<boolean> {
    const op = this.world.nextOp();
    this.note({ ...this.facts(op, this.name, topic), type: 'invoke', f: 'delete_topic' });
    const fault = this.world.fates.ofClientRequest(this.id, this.requests++);
    const reply = await this.world.request(this.slot(), (broker) => broker.deleteTopic(topic), fault);
    const told = reply.type === 'answer' ? {} : this.failure(topic, reply);
    this.note({ ...this.facts(op, this.name, topic), type: 'ok', f: 'delete_topic', ...told });
    return reply.type === 'answer';
  }

  async describe(topic: string, slot = this.slot()): Promise<TopicAnswer | undefined> {
    const op = this.world.nextOp();
    // Beside others that the client asks for at the same time.
    const name = `${this.name}?`;
    this.note({ ...this.facts(op, name, topic), type: 'invoke', f: 'describe_topic' });
    const fault = this.world.fates.ofClientRequest(this.id, this.requests++);
    const reply = await this.world.request(slot, (broker) => broker.describeTopic(topic), fault);
    const answer = reply.type === 'answer' ? tellTopic(reply.value) : undefined;
    const told = answer ?? this.failure(topic, reply);
    this.note({ ...this.facts(op, name, topic), type: 'ok', f: 'describe_topic', ...told });
    return answer;
  }

  /** How a request about a topic ended that was not answered. */
  private failure(topic: string, reply: Reply<unknown>): { readonly type: 'fail' | 'info'; readonly error?: string } {
    if (reply.type !== 'error') return { type: 'info' };
    const { code } = this.expected(topic, reply.error);
    // Of what else went wrong no one knows how far it came.
    return { type: code === 'unknown_topic' || code === 'topic_conflict' ? 'fail' : 'info', error: code };
  }

  /** Anything that has no place in the history; `undefined` where it failed. */
  async ask<T>(run: (broker: Broker) => Promise<T>, topic: string): Promise<T | undefined> {
    const reply = await this.send(run);
    if (reply.type === 'error') this.expected(topic, reply.error);
    return reply.type === 'answer' ? reply.value : undefined;
  }

  /** A request that neither is in the history nor is judged. */
  send<T>(run: (broker: Broker) => Promise<T>, slot = this.slot(), waitMs = 0): Promise<Reply<T>> {
    const fault = this.world.fates.ofClientRequest(this.id, this.requests++);
    return this.world.request(slot, run, fault, waitMs);
  }

  /** As `send`, of what may be delivered twice; nobody hears the second answer. */
  sendRepeatable<T>(run: (broker: Broker) => Promise<T>, secondAfterMsMax: number, waitMs = 0): Promise<Reply<T>> {
    const fault = this.world.fates.ofClientRequest(this.id, this.requests++);
    if (fault === 'delivered_twice') {
      this.mark('delivered twice');
      const slot = this.slot();
      const afterMs = this.chance.chance(0.5) ? 0 : this.chance.next() * secondAfterMsMax;
      this.world.loop.at(afterMs, () => void this.world.request(slot, run));
    }
    return this.world.request(this.slot(), run, fault, waitMs);
  }

  private judgeReply(append: ClientAppend, reply: Reply<RecordOutcome[]>): Judged {
    if (reply.type === 'nothing') return { type: 'info', codes: [], nextOffset: undefined };
    if (reply.type === 'error') {
      const { code, outcome } = this.expected(append.topic, reply.error, append);
      const type = outcome === 'not_applied' ? 'fail' : 'info';
      return { type, codes: [code], nextOffset: undefined, process: reply.process };
    }
    const codes: ErrorCode[] = [];
    let nextOffset: number | undefined;
    const outcomes = reply.value.map((outcome): RecordFate => {
      if (outcome.ok) {
        const { partition, offset, duplicate } = outcome;
        if (duplicate) this.mark('answered as a duplicate');
        return { type: 'ok', partition, offset, duplicate };
      }
      const { code, details } = this.expected(append.topic, outcome.error, append);
      codes.push(code);
      if (code === 'offset_mismatch') nextOffset = Number(details.nextOffset);
      return { type: outcome.error.outcome === 'not_applied' ? 'fail' : 'info', error: code };
    });
    const types = new Set(outcomes.map(({ type }) => type));
    const last = outcomes.at(-1);
    const endOffset = last?.type === 'ok' ? last.offset + 1 : undefined;
    const type = types.size === 1 ? (outcomes[0] as RecordFate).type : 'info';
    return { type, codes, nextOffset, outcomes, endOffset, process: reply.process };
  }

  /** Whatever faults and other clients do not account for is a bug of the log. */
  private expected(topic: string, error: EventLogError, append?: ClientAppend): EventLogError {
    const { code } = error;
    const isFine =
      code === 'throttled' ||
      code === 'storage_unavailable' ||
      (code === 'unknown_topic' && topic !== LASTING_TOPIC) ||
      (code === 'unknown_partition' && (topic !== LASTING_TOPIC || isAdded(append))) ||
      (code === 'topic_conflict' && append === undefined) ||
      (code === 'offset_mismatch' && append?.expectedOffset !== undefined) ||
      (code === 'idempotency_key_reused' && append?.idempotencyKey !== undefined) ||
      ((code === 'producer_fenced' || code === 'out_of_order_sequence') && append?.producer !== undefined);
    if (!isFine) this.surprise(`${code}: ${error.message}`);
    return error;
  }

  /** The process that serves the next request. */
  slot(): number {
    if (this.chance.chance(this.switchRate)) this.connected = this.chance.below(this.world.slotCount);
    return this.connected;
  }

  private facts(
    op: number,
    process: string,
    topic: string,
  ): { op: number; process: string; time: number; topic: string } {
    return { op, process, time: Math.floor(this.world.loop.nowMs), topic };
  }

  private note(event: Invocation | Completion): void {
    this.world.history.push(event);
    this.world.loop.note(`${event.f} ${event.type}`, this.id, event.topic);
  }
}

/** Whether the partition is one that was added to the topic in the run. */
function isAdded(append: ClientAppend | undefined): boolean {
  return (append?.records[0]?.partition ?? 0) >= PARTITION_COUNT;
}

/** The topic that is there from the beginning to the end; others may be deleted. */
export const LASTING_TOPIC = 't';
const SECOND_DELIVERY_MS_MAX = 120_000;
/** More than the notes of idempotency keys are kept, and than ids of producers count as young. */
export const LONG_AGO_MS = 75 * 3_600_000;
/** So seldom and short that all retries of an append end before the note of its idempotency key expires. */
const RETRY_MS_MAX = 40 * 60_000;
const UNIQUE_FROM = 1_000_000;
const UNIQUE_PER_CLIENT = 10_000;

/** Of its settings those that it has itself, as texts. */
function tellTopic({ partitions, config }: TopicDescription): TopicAnswer {
  const own = Object.entries(config).filter(([, { source }]) => source === 'topic');
  return { partitions, config: Object.fromEntries(own.map(([name, { value }]) => [name, String(value)])) };
}

/** Key, headers and timestamp of a record follow from its value, so that what is read back can be held against it. */
function contentOf(value: string): AppendedRecord & { readonly timestampMs: number } {
  const name = value.slice(0, 24);
  let hash = 7;
  for (let i = 0; i < name.length; i++) hash = (Math.imul(hash, 31) + name.charCodeAt(i)) >>> 0;
  return { value, key: `key ${hash % 5}`, headers: { of: name }, timestampMs: EPOCH_MS + (hash % 100_000) };
}
