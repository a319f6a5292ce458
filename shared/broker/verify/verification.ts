import type { StoredBatch } from '../../log/batch/stored-batch.ts';
import { recordsOf } from '../../log/batch/stored-batch.ts';
import { EventLogError } from '../../log/errors.ts';
import type { Head } from '../../log/head/head.ts';
import type { SegmentList } from '../../log/segment/segment-list.ts';
import { addHashes, batchHash } from '../../log/segment/set-hash.ts';
import { headOf, type Topic } from '../../log/topic/topic.ts';
import { choiceSetting } from '../../log/topic/topic-config.ts';
import { headKey, segmentListKey } from '../../storage/keys.ts';
import type { ItemKey, Stores } from '../../storage/ports.ts';
import type { BrokerContext } from '../context.ts';
import { type Ask, type HeadName, headFromAttributes } from '../heads/items.ts';
import { readSegmentList } from '../heads/segment-list-store.ts';
import { unknownTopic } from '../memory/topic-cache.ts';
import { retrying } from '../retry.ts';
import type { Position } from './position.ts';
import type { Problem } from './report.ts';

/** A head and its segment list. The list was read first, so whatever it says of the head had happened when the head was read. */
export interface View {
  readonly list: SegmentList;
  readonly head: Head;
}

/** How much one call does. */
export interface Limits {
  readonly bytesMax: number;
  /** The time by which the call begins nothing more. */
  readonly endMs: number;
  readonly signal: AbortSignal | undefined;
}

/** A head or list that cannot be read: what it names cannot be verified. */
export class UnreadableHead extends Error {
  override readonly name = 'UnreadableHead';
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.message);
    this.problem = problem;
  }
}

/** So many problems end a call: the next one goes on. */
const PROBLEMS_MAX = 100;

/**
 * The state of one call. Jobs run meanwhile, so something that is missing or damaged is a problem only if the list that is read
 * afterwards still names it: a list names an object before it is used, and no longer before it is deleted.
 */
export class Verification {
  readonly context: BrokerContext;
  readonly stores: Stores;
  readonly position: Position;
  readonly problems: Problem[] = [];
  readonly ask: Ask;
  readonly #isDeep: boolean;
  readonly #limits: Limits;
  #topic: Topic;
  #spent = 0;

  constructor(context: BrokerContext, topic: Topic, position: Position, limits: Limits, isDeep: boolean) {
    this.context = context;
    this.stores = context.usage.of(topic.name, 'admin');
    this.position = position;
    this.ask = (request) => retrying(context, 'not_applied', request);
    this.#isDeep = isDeep;
    this.#limits = limits;
    this.#topic = topic;
  }

  get topic(): Topic {
    return this.#topic;
  }

  get name(): HeadName {
    return { topicId: this.topic.topicId, headNumber: this.#place.headNumber };
  }

  get slot(): number {
    return this.#place.slot;
  }

  get #place(): { readonly headNumber: number; readonly slot: number } {
    return headOf(this.topic, this.position.partition);
  }

  /** Counts what was read, in bytes. */
  spend(bytes: number): void {
    this.#spent += bytes;
  }

  /** Whether the call must end. Each call does something, whatever its limits. */
  isOver(): boolean {
    const { bytesMax, endMs, signal } = this.#limits;
    if (this.#spent === 0) return false;
    return (
      this.#spent >= bytesMax ||
      signal?.aborted === true ||
      this.context.clock.nowMs() >= endMs ||
      this.problems.length >= PROBLEMS_MAX
    );
  }

  /** 2 GetItems. @throws UnreadableHead; EventLogError `unknown_topic` if the topic has been deleted */
  async look(): Promise<View> {
    const { items } = this.stores;
    const { topicId, headNumber } = this.name;
    const list = await this.#readable('damaged_list', segmentListKey(topicId, headNumber), () =>
      this.ask(() => readSegmentList(items, this.name)),
    );
    const key = headKey(topicId, headNumber);
    const { attributes } = await this.ask(() => items.get(key));
    const head = await this.#readable('damaged_head', key, async () => headFromAttributes(attributes));
    if (head.closed) throw unknownTopic(this.topic.name);
    return { list, head };
  }

  async #readable<T>(kind: Problem['kind'], key: ItemKey, read: () => Promise<T>): Promise<T> {
    try {
      return await read();
    } catch (error) {
      if (!isDamage(error)) throw error;
      const { headNumber } = this.name;
      throw new UnreadableHead({ kind, headNumber, storedAs: storedAs(key), message: causeText(error) });
    }
  }

  /** A problem of the partition that is being verified. */
  report(problem: Omit<Problem, 'headNumber' | 'partition'>): void {
    const { partition, counts } = this.position;
    this.problems.push({ headNumber: this.name.headNumber, partition, ...problem });
    if (problem.kind === 'orphan') counts.orphans++;
    else counts.problems++;
  }

  /** A problem of the whole head. */
  reportHead(problem: Omit<Problem, 'headNumber' | 'partition'>): void {
    this.problems.push({ headNumber: this.name.headNumber, ...problem });
  }

  /**
   * Counts a batch that was found whole, unless it was counted before. What lies between it and the batch before is a gap.
   * `isMerged`: compaction may have been there.
   */
  async count(view: View, batch: StoredBatch, where: { storedAs: string; isMerged: boolean }): Promise<void> {
    const { position } = this;
    const { header, baseOffset, endOffset } = batch;
    if (endOffset <= position.offset || baseOffset >= (position.end ?? 0)) return;
    await this.reachOffset(view, baseOffset, where.isMerged);
    if (this.#isDeep) this.#decode(batch, where.storedAs);
    position.offset = endOffset;
    position.setHash = addHashes(position.setHash, batchHash(header, baseOffset));
    if (header.control) position.counts.markers++;
    else position.counts.records += header.recordCount;
    position.counts.batches++;
    position.counts.bytes += header.bytes;
  }

  #decode(batch: StoredBatch, storedAs: string): void {
    try {
      recordsOf(batch);
    } catch (error) {
      if (!(error instanceof EventLogError)) throw error;
      const { baseOffset } = batch;
      const message = `The records of the batch at offset ${baseOffset} cannot be decoded: ${error.message}`;
      this.report({
        kind: storedAs.startsWith('segments/') ? 'damaged_segment' : 'damaged_data',
        storedAs,
        offset: baseOffset,
        message,
      });
    }
  }

  /** Goes on at `offset`. What was passed over is a gap, unless compaction may have dropped it. */
  async reachOffset(view: View, offset: number, isMerged: boolean): Promise<void> {
    const { position, slot } = this;
    const compactedOffset = isMerged ? (view.list.slots[slot]?.compactedOffset ?? 0) : 0;
    const from = Math.max(position.offset, compactedOffset);
    const to = Math.min(offset, position.end ?? 0);
    if (offset > position.offset) Object.assign(position, { offset, crossing: undefined });
    if (from >= to || (isMerged && (await this.mayBeCompacted(view)))) return;
    this.report({
      kind: 'gap',
      offset: from,
      message: `The offsets ${from} to ${to - 1} are stored nowhere.`,
    });
  }

  /** `compactedOffset` moves at the end of a compaction: until then batches may be gone above it. */
  async mayBeCompacted({ list }: View): Promise<boolean> {
    if (list.due.compact !== undefined) return true;
    const topic = await this.ask(() => this.context.topics.refresh(this.topic.name));
    if (topic.topicId !== this.topic.topicId) throw unknownTopic(topic.name);
    this.#topic = topic;
    return choiceSetting(topic.config, 'cleanup.policy').split(',').includes('compact');
  }
}

/** Whether the error says that something stored is damaged, and not that the storage failed. */
export function isDamage(error: unknown): error is EventLogError {
  return error instanceof EventLogError && (error.code === 'corrupt_data' || error.code === 'internal');
}

/** The error's message, and that of its cause if the cause says more. */
export function causeText(error: EventLogError): string {
  const { cause } = error;
  return cause instanceof Error && !error.message.includes(cause.message)
    ? `${error.message} ${cause.message}`
    : error.message;
}

export function storedAs({ pk, sk }: ItemKey): string {
  return `${pk}/${sk}`;
}
