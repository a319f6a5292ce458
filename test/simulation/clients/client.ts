import type { AppendRecordsRequest, RecordOutcome } from '../../../shared/broker/append/outcomes.ts';
import type { Broker } from '../../../shared/broker/broker.ts';
import type { ErrorCode, EventLogError } from '../../../shared/log/errors.ts';
import type {
  AppendedRecord,
  Completion,
  Invocation,
  ReadAnswer,
  ReadRecord,
  RecordFate,
} from '../../history/history.ts';
import { readRecords, toRecord } from '../../history/history-records.ts';
import { Chance } from '../world/chance.ts';
import { EPOCH_MS, STREAM } from '../world/simulated-process.ts';
import type { Reply, World } from '../world/world.ts';

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
}

/**
 * Appends to one partition, one by one, over stores of which nothing fails but that no tail node can be written: so a run
 * begins with a long tail.
 */
export async function ageTail(world: World, broker: Broker, partition: number, appends: number): Promise<void> {
  for (let i = 0; i < appends; i++) {
    const content = contentOf(`before-${partition}-${i}`);
    const facts = { op: world.nextOp(), process: 'before', time: 0, topic: LASTING_TOPIC };
    world.history.push({ ...facts, type: 'invoke', f: 'append', records: [{ ...content, partition }] });
    const records = [toRecord({ ...content, partition })];
    const [outcome] = await broker.appendRecords({ topic: LASTING_TOPIC, records });
    if (outcome?.ok !== true) throw new Error('An append failed before anything could.', { cause: outcome?.error });
    const { offset } = outcome;
    world.history.push({ ...facts, type: 'ok', f: 'append', outcomes: [{ type: 'ok', partition, offset }] });
  }
}

/** Asks for things, and writes down what it asked and what it was told. */
export class Client {
  readonly name: string;
  readonly chance: Chance;
  private readonly world: World;
  private readonly id: number;
  private readonly switchRate: number;
  private connected: number;
  private requests = 0;
  private lanes = 0;

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

  /** A value that no one else uses; some are too large to be kept in the table. */
  value(): string {
    const value = `${this.name}-${this.requests}-${this.lanes++}`;
    return this.chance.chance(0.1) ? value.padEnd(600, '.') : value;
  }

  rest(): Promise<void> {
    const { usualMs } = this.world.conditions.latency;
    const long = this.chance.chance(0.05) && !this.world.fates.healed;
    return this.world.loop.sleep(this.chance.next() * usualMs * (long ? 1_000 : 4));
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
    });
    const request: AppendRecordsRequest = {
      topic,
      records: records.map(toRecord),
      ...asked,
      ...(producer === undefined
        ? {}
        : { producer: { producerId: producer.id, producerEpoch: producer.epoch, baseSequence: producer.sequence } }),
    };
    const reply = await this.world.request(slot, (broker) => broker.appendRecords(request), fault);
    const { outcomes, ...appended } = this.judgeReply(append, reply);
    this.note({
      ...this.facts(op, name, topic),
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
    how: { maxBytes?: number; waitMs?: number; slow?: boolean } = {},
  ): Promise<ReadAnswer | undefined> {
    const op = this.world.nextOp();
    this.note({ ...this.facts(op, this.name, topic), type: 'invoke', f: 'read', partition, offset: from });
    const fault = this.world.fates.ofClientRequest(this.id, this.requests++);
    const pause = how.slow === true ? () => this.rest() : undefined;
    const reply = await this.world.request(
      this.slot(),
      (broker) => readOnce(broker, topic, partition, from, how, pause),
      fault,
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

  /** Creates or deletes a topic; answers whether that is certain to be done. */
  async change(f: 'create_topic' | 'delete_topic', topic: string, partitions?: number): Promise<boolean> {
    const op = this.world.nextOp();
    this.note({ ...this.facts(op, this.name, topic), type: 'invoke', f });
    const fault = this.world.fates.ofClientRequest(this.id, this.requests++);
    const run = (broker: Broker): Promise<unknown> =>
      f === 'create_topic' ? broker.putTopic({ name: topic, partitions }) : broker.deleteTopic(topic);
    const reply = await this.world.request(this.slot(), run, fault);
    const code = reply.type === 'error' ? this.expected(topic, reply.error).code : undefined;
    // Of what else went wrong no one knows how far it came.
    const type = reply.type === 'answer' ? 'ok' : code === 'unknown_topic' ? 'fail' : 'info';
    this.note({ ...this.facts(op, this.name, topic), type, f, ...(code === undefined ? {} : { error: code }) });
    return type === 'ok';
  }

  /** Anything that has no place in the history; `undefined` where it failed. */
  async ask<T>(run: (broker: Broker) => Promise<T>, topic: string): Promise<T | undefined> {
    const fault = this.world.fates.ofClientRequest(this.id, this.requests++);
    const reply = await this.world.request(this.slot(), run, fault);
    if (reply.type === 'error') this.expected(topic, reply.error);
    return reply.type === 'answer' ? reply.value : undefined;
  }

  private judgeReply(
    append: ClientAppend,
    reply: Reply<RecordOutcome[]>,
  ): Appended & { readonly outcomes?: readonly RecordFate[] } {
    if (reply.type === 'nothing') return { type: 'info', codes: [], nextOffset: undefined };
    if (reply.type === 'error') {
      const { code, outcome } = this.expected(append.topic, reply.error);
      return { type: outcome === 'not_applied' ? 'fail' : 'info', codes: [code], nextOffset: undefined };
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
    return { type: types.size === 1 ? (outcomes[0] as RecordFate).type : 'info', codes, nextOffset, outcomes };
  }

  /** Whatever faults and other clients do not account for is a bug of the log. */
  private expected(topic: string, error: EventLogError, append?: ClientAppend): EventLogError {
    const { code } = error;
    const isFine =
      code === 'throttled' ||
      code === 'storage_unavailable' ||
      (code === 'unknown_topic' && topic !== LASTING_TOPIC) ||
      (code === 'offset_mismatch' && append?.expectedOffset !== undefined) ||
      ((code === 'producer_fenced' || code === 'out_of_order_sequence') && append?.producer !== undefined);
    if (!isFine) this.surprise(`${code}: ${error.message}`);
    return error;
  }

  private slot(): number {
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

/** The topic that is there from the beginning to the end; others may be deleted. */
export const LASTING_TOPIC = 't';
const SECOND_DELIVERY_MS_MAX = 120_000;

async function readOnce(
  broker: Broker,
  topic: string,
  partition: number,
  offset: number,
  { maxBytes, waitMs }: { maxBytes?: number; waitMs?: number },
  pause?: () => Promise<void>,
): Promise<ReadAnswer> {
  const result = await broker.read({ topic, partition, from: { offset }, maxBytes, waitMs });
  const records: ReadRecord[] = [];
  for await (const batch of result.batches) {
    await pause?.();
    records.push(...readRecords(batch, offset));
  }
  const { highWatermark, logStartOffset, nextOffset } = result;
  return { highWatermark, logStartOffset, nextOffset, records };
}

/** All records of a partition, by as many reads as it takes. */
export async function readToEnd(broker: Broker, topic: string, partition: number): Promise<ReadRecord[]> {
  const records: ReadRecord[] = [];
  for (let from = 0; ; ) {
    const answer = await readOnce(broker, topic, partition, from, {});
    records.push(...answer.records);
    if (answer.nextOffset >= answer.highWatermark) return records;
    if (answer.nextOffset === from) throw new Error(`A read of partition ${partition} at ${from} got nowhere.`);
    from = answer.nextOffset;
  }
}

/** Key, headers and timestamp of a record follow from its value, so that what is read back can be held against it. */
function contentOf(value: string): AppendedRecord & { readonly timestampMs: number } {
  const name = value.slice(0, 24);
  let hash = 7;
  for (let i = 0; i < name.length; i++) hash = (Math.imul(hash, 31) + name.charCodeAt(i)) >>> 0;
  return { value, key: `key ${hash % 5}`, headers: { of: name }, timestampMs: EPOCH_MS + (hash % 100_000) };
}
