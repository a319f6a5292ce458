import type { Broker } from '../../broker/broker.ts';
import type { ReadFrom, ReadResult } from '../../broker/read/read.ts';
import type { TopicWatch } from '../../broker/read/watch-topic.ts';
import { decodeRecords } from '../../log/batch/record-batch.ts';
import { EventLogError, invalidField } from '../../log/errors.ts';
import { OFFSET_MAX } from '../../log/limits.ts';
import type { Clock } from '../../storage/ports.ts';
import { asEventLogError, toProblem } from '../answer/problem.ts';
import { eventText, retryText } from '../answer/sse.ts';
import type { Encoding } from '../records/contract.ts';
import { jsonOfRecord, recordHasText } from '../records/json-values.ts';
import { TAIL_PARTITIONS_MAX } from './contract.ts';

/**
 * The live tail: the records of some or all partitions of a topic as server-sent events, for as long as someone listens.
 *
 * It keeps nothing but the next offset of each partition, and these are in every event's id, so that any server can go on
 * where another one stopped. Work is done only when the listener takes the next piece: a slow one holds one batch in memory
 * and none is fetched for it meanwhile. It looks where the partitions end, reads those that have more in turns, and then
 * waits: for an append of this process, or for the next look, which finds appends of others, and new partitions.
 */
export interface TailComponents {
  readonly broker: Pick<Broker, 'watchTopic' | 'describePartitions' | 'read'>;
  readonly clock: Clock;
  readonly settings: TailSettings;
  readonly onError: (error: unknown) => void;
}

export interface TailSettings {
  /** Something is sent at least this often, so that proxies keep the connection. */
  readonly heartbeatMs: number;
  /** How often to look for appends of other processes and for new partitions. */
  readonly lookMs: number;
  /** The stream is ended after this long, and the client connects again; `undefined` for never. */
  readonly tailMaxMs: number | undefined;
  /** What a client is told to wait before it connects again. */
  readonly reconnectMs: number;
}

export interface TailRequest {
  readonly topic: string;
  /** `undefined` for all, also those that are added later. */
  readonly partition: number | undefined;
  readonly from: TailFrom;
  readonly filter: string | undefined;
  readonly encoding: Encoding;
}

export type TailFrom =
  | { readonly type: 'latest' }
  | { readonly type: 'earliest' }
  /** Each partition where a read would begin. */
  | { readonly type: 'read'; readonly from: ReadFrom }
  /** Partitions that are not named begin at their log start offset: they were added since. */
  | { readonly type: 'offsets'; readonly offsets: ReadonlyMap<number, number> };

/** A read for one turn; a part is never cut, so it may be up to 1 MiB. */
const TURN_BYTES = 256 * 1024;
const PIECE_LENGTH = 64 * 1024;
/** With more partitions the id of every event would outweigh its record. */
const PARTITIONS_WITH_ALL_IDS = 64;
const UTF8 = new TextEncoder();

/** @throws EventLogError `invalid_request` for text that is not a beginning. */
export function parseTailFrom(text: string, field: string): TailFrom {
  if (text === 'latest' || text === 'earliest') return { type: text };
  const timestamp = /^ts:(\d{1,16})$/.exec(text)?.[1];
  if (timestamp !== undefined && Number(timestamp) <= OFFSET_MAX)
    return { type: 'read', from: { timestampMs: Number(timestamp) } };
  const offsets = new Map<number, number>();
  for (const pair of text.split(',')) {
    const match = /^(\d{1,10}):(\d{1,16})$/.exec(pair);
    const offset = Number(match?.[2]);
    if (match === null || offset > OFFSET_MAX || offsets.has(Number(match[1]))) {
      throw invalidField(
        field,
        `${field} takes latest, earliest, ts:<milliseconds>, or the id of an event, such as 0:17,1:4.`,
      );
    }
    offsets.set(Number(match[1]), offset);
  }
  return { type: 'offsets', offsets };
}

/**
 * Opens the tail: resolves when it is known where every partition begins, so that no record appended afterwards is missed.
 * The events end when `stop` is aborted, after `tailMaxMs`, or after an `error` event, and abort `stop` when they end.
 * Costs, for each look, 1 GetItem for every 16 partitions; for records, what reads of them cost.
 * @throws EventLogError `unknown_topic`, `unknown_partition`, `invalid_request`
 */
export async function openTail(
  parts: TailComponents,
  request: TailRequest,
  stop: AbortController,
): Promise<AsyncGenerator<Uint8Array>> {
  const tail = new Tail(parts, request, stop);
  await tail.open();
  return tail.events();
}

class Tail {
  private readonly parts: TailComponents;
  private readonly request: TailRequest;
  private readonly stop: AbortController;
  /** Partition -> the next offset to send. */
  private readonly positions = new Map<number, number>();
  private topicId = '';
  private sentAtMs = 0;

  constructor(parts: TailComponents, request: TailRequest, stop: AbortController) {
    this.parts = parts;
    this.request = request;
    this.stop = stop;
  }

  async open(): Promise<void> {
    const { broker } = this.parts;
    const { topic, from } = this.request;
    const lookOver = new AbortController();
    try {
      const watch = await broker.watchTopic(topic, lookOver.signal);
      this.checkSize(watch);
      this.topicId = watch.topicId;
      for (const state of await this.look()) {
        this.positions.set(state.partition, await this.begin(from, state));
      }
    } finally {
      lookOver.abort();
    }
  }

  private async begin(from: TailFrom, { partition, logStartOffset, highWatermark }: PartitionEnds): Promise<number> {
    switch (from.type) {
      case 'latest':
        return highWatermark;
      case 'earliest':
        return logStartOffset;
      case 'read': {
        const { topic } = this.request;
        return (await this.parts.broker.read({ topic, partition, from: from.from })).offset;
      }
      case 'offsets': {
        const offset = from.offsets.get(partition) ?? logStartOffset;
        if (offset <= highWatermark) return offset;
        throw invalidField(
          'from',
          `Partition ${partition} ends at offset ${highWatermark}, and this id goes on at ${offset}: it is of another topic, or of one that was deleted since.`,
        );
      }
    }
  }

  async *events(): AsyncGenerator<Uint8Array> {
    const { clock, settings } = this.parts;
    const endMs = settings.tailMaxMs === undefined ? Number.POSITIVE_INFINITY : clock.nowMs() + settings.tailMaxMs;
    try {
      yield this.send(retryText(settings.reconnectMs) + this.heartbeat());
      while (!this.stop.signal.aborted && clock.nowMs() < endMs) yield* this.round(endMs);
    } catch (error) {
      if (this.stop.signal.aborted) return;
      const known = asEventLogError(error);
      if (known.code === 'internal') this.parts.onError(error);
      yield this.send(eventText({ event: 'error', data: JSON.stringify(toProblem(known)) }));
    } finally {
      this.stop.abort();
    }
  }

  /** One look at the partitions, the records that it finds, and where it finds none the wait for more. */
  private async *round(endMs: number): AsyncGenerator<Uint8Array> {
    const { broker, clock, settings } = this.parts;
    const over = new AbortController();
    const abort = (): void => over.abort();
    this.stop.signal.addEventListener('abort', abort);
    try {
      // Before the look, so that no append falls between the look and the wait.
      const watch = await broker.watchTopic(this.request.topic, over.signal);
      if (watch.topicId !== this.topicId) throw this.recreated();
      this.checkSize(watch);
      let found = false;
      for (const state of await this.look()) {
        const position = this.positions.get(state.partition) ?? state.logStartOffset;
        this.positions.set(state.partition, position);
        if (position < state.logStartOffset) {
          found = true;
          yield this.send(this.gap(state.partition, position, state.logStartOffset));
        }
        if ((this.positions.get(state.partition) as number) < state.highWatermark) {
          found = true;
          yield* this.turn(state.partition);
        }
        if (this.stop.signal.aborted) return;
      }
      const nowMs = clock.nowMs();
      const dueMs = Math.min(this.sentAtMs + settings.heartbeatMs, endMs);
      if (found) {
        // Everything may have come from memory: let others run before the next round.
        await clock.sleep(0);
      } else if (nowMs < dueMs) {
        await Promise.race([watch.appended, clock.sleep(Math.min(settings.lookMs, dueMs - nowMs), over.signal)]);
      }
      if (clock.nowMs() >= this.sentAtMs + settings.heartbeatMs) yield this.send(this.heartbeat());
    } finally {
      this.stop.signal.removeEventListener('abort', abort);
      over.abort();
    }
  }

  private async look(): Promise<readonly PartitionEnds[]> {
    const { broker } = this.parts;
    const { topic, partition } = this.request;
    if (partition === undefined) return broker.describePartitions(topic);
    const { logStartOffset, highWatermark } = await broker.read({ topic, partition, from: { tail: 0 } });
    return [{ partition, logStartOffset, highWatermark }];
  }

  /** Some records of one partition: what one read gives. */
  private async *turn(partition: number): AsyncGenerator<Uint8Array> {
    const { topic, filter, encoding } = this.request;
    const position = this.positions.get(partition) as number;
    let result: ReadResult;
    try {
      result = await this.parts.broker.read({ topic, partition, from: { offset: position }, maxBytes: TURN_BYTES });
    } catch (error) {
      // Retention came between the look and the read: the next look tells the gap.
      if (error instanceof EventLogError && error.code === 'offset_out_of_range') return;
      throw error;
    }
    for await (const batch of result.batches) {
      let text = '';
      let held: string | undefined;
      for (const record of batch.header.control ? [] : decodeRecords(batch.bytes, 0, batch.header, batch.baseOffset)) {
        if (record.offset < position || (filter !== undefined && !recordHasText(record, filter))) continue;
        // The last record of a piece always has an id, so one is held back until it is known whether it is the last.
        if (held !== undefined) text += this.recordText(held, false);
        this.positions.set(partition, record.offset + 1);
        held = jsonOfRecord(record, encoding, partition);
        if (text.length + held.length < PIECE_LENGTH) continue;
        yield this.send(text + this.recordText(held, true));
        text = '';
        held = undefined;
        if (this.stop.signal.aborted) return;
      }
      this.positions.set(partition, batch.endOffset);
      if (held !== undefined) yield this.send(text + this.recordText(held, true));
      if (this.stop.signal.aborted) return;
    }
    this.positions.set(partition, result.nextOffset);
  }

  private recordText(data: string, last: boolean): string {
    const id = last || this.positions.size <= PARTITIONS_WITH_ALL_IDS ? this.id() : undefined;
    return eventText({ event: 'record', id, data });
  }

  private gap(partition: number, from: number, to: number): string {
    this.positions.set(partition, to);
    return eventText({ event: 'gap', id: this.id(), data: JSON.stringify({ partition, from, to }) });
  }

  private heartbeat(): string {
    return eventText({
      event: 'heartbeat',
      id: this.id(),
      data: JSON.stringify({ timestamp: this.parts.clock.nowMs() }),
    });
  }

  private id(): string {
    let id = '';
    for (const [partition, offset] of this.positions) id += `${id === '' ? '' : ','}${partition}:${offset}`;
    return id;
  }

  private send(text: string): Uint8Array {
    this.sentAtMs = this.parts.clock.nowMs();
    return UTF8.encode(text);
  }

  private checkSize({ partitions }: TopicWatch): void {
    if (this.request.partition !== undefined || partitions <= TAIL_PARTITIONS_MAX) return;
    throw invalidField(
      'topic',
      `A live tail follows at most ${TAIL_PARTITIONS_MAX} partitions, and topic '${this.request.topic}' has ${partitions}. Follow them singly.`,
      { partitionsMax: TAIL_PARTITIONS_MAX },
    );
  }

  private recreated(): EventLogError {
    const { topic } = this.request;
    return new EventLogError('unknown_topic', `Topic '${topic}' was deleted, and another was made under its name.`, {
      details: { topic },
    });
  }
}

interface PartitionEnds {
  readonly partition: number;
  readonly logStartOffset: number;
  readonly highWatermark: number;
}
