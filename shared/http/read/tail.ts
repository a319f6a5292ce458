import type { Broker } from '../../broker/broker.ts';
import type { FollowedTopic, Follower, FollowStep } from '../../broker/read/follow.ts';
import type { Isolation } from '../../broker/read/isolation.ts';
import { recordsOf } from '../../log/batch/stored-batch.ts';
import { EventLogError, invalidField } from '../../log/errors.ts';
import type { Clock } from '../../storage/ports.ts';
import { asEventLogError, toProblem } from '../answer/problem.ts';
import { eventText, retryText } from '../answer/sse.ts';
import type { Encoding } from '../records/contract.ts';
import { jsonOfRecord, recordHasText } from '../records/json-values.ts';
import type { TailGap } from './contract.ts';
import { eventId } from './event-id.ts';
import type { TailFrom } from './tail-from.ts';

/**
 * The live tail: the records of some or all partitions of a topic as server-sent events, for as long as someone listens.
 *
 * A follower of the broker finds the records; the tail writes them as events. It keeps nothing but the next offset of each
 * partition, and every event's id has these, so any server can go on where another one stopped. Work is done only when the
 * listener takes the next piece: a slow one holds one batch in memory, and none is fetched for it meanwhile.
 */
export interface TailComponents {
  readonly broker: Pick<Broker, 'follow'>;
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
  /** How long a client should wait before it connects again. */
  readonly reconnectMs: number;
}

export interface TailRequest {
  readonly topic: string;
  /** `undefined` for all, also those that are added later. */
  readonly partition: number | undefined;
  readonly from: TailFrom;
  readonly filter: string | undefined;
  readonly isolation?: Isolation | undefined;
  readonly encoding: Encoding;
}

/** A read for one turn; a part is never cut, so it may be up to 1 MiB. */
const TURN_BYTES = 256 * 1024;
const PIECE_LENGTH = 64 * 1024;
/** With more partitions the id of every event would outweigh its record. */
const PARTITIONS_WITH_ALL_IDS = 64;
const UTF8 = new TextEncoder();

/**
 * Opens the tail: resolves when it is known where every partition begins, so that no record appended afterwards is missed.
 * The events end when `stop` is aborted, after `tailMaxMs`, or after an `error` event, and abort `stop` when they end.
 * Costs what following costs.
 * @throws EventLogError `unknown_topic`, `unknown_partition`, `offset_out_of_range`, `invalid_request`
 */
export async function openTail(
  components: TailComponents,
  request: TailRequest,
  stop: AbortController,
): Promise<AsyncGenerator<Uint8Array>> {
  const { topic, partition, from } = request;
  try {
    const follower = await components.broker.follow({
      topics: [{ topic, partitions: partition === undefined ? 'all' : [partition], ...from }],
      turnBytes: TURN_BYTES,
      isolation: request.isolation,
      lookMs: components.settings.lookMs,
      signal: stop.signal,
    });
    return new Tail(components, request, follower, stop).events();
  } catch (error) {
    throw from.offsets === undefined ? error : wrongPosition(error, from.field);
  }
}

/** Offsets beyond the end were not given out by this topic: the request is wrong, not only too early. */
function wrongPosition(error: unknown, field: string): unknown {
  if (!(error instanceof EventLogError) || error.code !== 'offset_out_of_range') return error;
  const { partition, offset, highWatermark } = error.details;
  return invalidField(
    field,
    `Partition ${partition} ends at offset ${highWatermark}, and ${field} goes on at ${offset}. It is of another topic, or of an earlier one of this name. Begin with earliest or latest.`,
  );
}

class Tail {
  readonly #components: TailComponents;
  readonly #request: TailRequest;
  readonly #follower: Follower;
  readonly #stop: AbortController;
  readonly #topic: FollowedTopic;
  /** The next offset by partition: the follower's, but for what was sent of its present step. */
  readonly #positions = new Map<number, number>();
  #sentAtMs = 0;

  constructor(components: TailComponents, request: TailRequest, follower: Follower, stop: AbortController) {
    this.#components = components;
    this.#request = request;
    this.#follower = follower;
    this.#stop = stop;
    this.#topic = follower.topics[0] as FollowedTopic;
    this.#takePositions();
  }

  async *events(): AsyncGenerator<Uint8Array> {
    const { clock, settings } = this.#components;
    const endMs = settings.tailMaxMs === undefined ? Number.POSITIVE_INFINITY : clock.nowMs() + settings.tailMaxMs;
    try {
      yield this.#send(retryText(settings.reconnectMs) + this.#opening());
      while (!this.#stop.signal.aborted && clock.nowMs() < endMs) {
        const step = await this.#follower.next(Math.min(this.#sentAtMs + settings.heartbeatMs, endMs));
        if (this.#stop.signal.aborted) return;
        this.#takePositions();
        yield* this.#write(step);
        if (clock.nowMs() >= this.#sentAtMs + settings.heartbeatMs) yield this.#send(this.#heartbeat());
      }
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      const known = asEventLogError(error);
      if (known.code === 'internal') this.#components.onError(error);
      yield this.#send(eventText({ event: 'error', data: JSON.stringify(toProblem(known)) }));
    } finally {
      this.#stop.abort();
    }
  }

  /** The follower may have found new partitions. */
  #takePositions(): void {
    for (const [partition, offset] of this.#topic.positions) this.#positions.set(partition, offset);
  }

  async *#write(step: FollowStep): AsyncGenerator<Uint8Array> {
    if (step.type === 'gap') {
      const { partition, from, to } = step;
      this.#positions.set(partition, to);
      yield this.#send(this.#gap({ reason: 'retention', partition, from, to }));
    } else if (step.type === 'records') {
      yield* this.#records(step);
    }
  }

  async *#records({ partition, result }: FollowStep & { readonly type: 'records' }): AsyncGenerator<Uint8Array> {
    const { filter, encoding } = this.#request;
    for await (const batch of result.batches) {
      let text = '';
      let held: string | undefined;
      for (const record of batch.header.control ? [] : recordsOf(batch)) {
        if (record.offset < result.offset || (filter !== undefined && !recordHasText(record, filter))) continue;
        // The last record of a piece always has an id, so one is held back until it is known whether it is the last.
        if (held !== undefined) text += this.#recordText(held, false);
        this.#positions.set(partition, record.offset + 1);
        held = jsonOfRecord(record, encoding, partition);
        if (text.length + held.length < PIECE_LENGTH) continue;
        yield this.#send(text + this.#recordText(held, true));
        text = '';
        held = undefined;
        if (this.#stop.signal.aborted) return;
      }
      this.#positions.set(partition, batch.endOffset);
      if (held !== undefined) yield this.#send(text + this.#recordText(held, true));
      if (this.#stop.signal.aborted) return;
    }
    this.#positions.set(partition, result.nextOffset);
  }

  #recordText(data: string, last: boolean): string {
    const id = last || this.#positions.size <= PARTITIONS_WITH_ALL_IDS ? this.#id() : undefined;
    return eventText({ event: 'record', id, data });
  }

  /**
   * A client with an id of an earlier topic of this name gets the gap first: the id of any other event would already be of
   * this topic.
   */
  #opening(): string {
    const { isMadeAgain, topicId } = this.#topic;
    return isMadeAgain
      ? this.#gap({ reason: 'topic_recreated', topicId, continuesFrom: 'earliest' })
      : this.#heartbeat();
  }

  #gap(data: TailGap): string {
    return eventText({ event: 'gap', id: this.#id(), data: JSON.stringify(data) });
  }

  #heartbeat(): string {
    const timestamp = this.#components.clock.nowMs();
    return eventText({ event: 'heartbeat', id: this.#id(), data: JSON.stringify({ timestamp }) });
  }

  #id(): string {
    return eventId(this.#topic.topicId, this.#positions);
  }

  #send(text: string): Uint8Array {
    this.#sentAtMs = this.#components.clock.nowMs();
    return UTF8.encode(text);
  }
}
