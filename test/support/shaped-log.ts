import type { Broker } from '../../shared/broker/broker.ts';
import { readHead } from '../../shared/broker/heads/items.ts';
import { readSegmentList, updateSegmentList } from '../../shared/broker/heads/segment-list-store.ts';
import { DEFAULT_SETTINGS } from '../../shared/broker/settings.ts';
import type { PartitionReport, Problem } from '../../shared/broker/verify/report.ts';
import type { VerifyRequest } from '../../shared/broker/verify/verify-topic.ts';
import { invariant } from '../../shared/log/errors.ts';
import type { Segment } from '../../shared/log/segment/segment.ts';
import { packSegmentList, type SegmentList } from '../../shared/log/segment/segment-list.ts';
import { HEAD, headKey, SEGMENT_LIST, segmentListKey, segmentObjectKey } from '../../shared/storage/keys.ts';
import type { Attributes, ItemKey } from '../../shared/storage/ports.ts';
import { type MemoryStores, memoryBroker, memoryStores, record, SeededRandom } from './memory-broker.ts';
import { MergedLog } from './merged-log.ts';

const LARGE = 20_000;
export const TOPIC = 't';

export interface ShapedLog {
  readonly stores: MemoryStores;
  readonly broker: Broker;
  readonly topicId: string;
}

/**
 * A topic of 18 partitions and two heads that has its records in every shape: in a page, in joined and small segments, in
 * tail nodes and in the tail; and there inline, in hot objects and in objects that both heads share. The log start of
 * partition 1 is in the middle of a segment.
 */
export async function shapedLog(stores: MemoryStores = memoryStores()): Promise<ShapedLog> {
  const broker = memoryBroker(stores, {}, new SeededRandom(9));
  const { topic } = await broker.putTopic({ name: TOPIC, partitions: 18 });
  const log = { stores, broker, topicId: topic.topicId };
  const merged = new MergedLog(stores, topic.topicId);
  // Eight segments that are joined, and then a page of the joined one and the next.
  for (let i = 0; i < 9; i++) {
    await appendShapes(broker, 8);
    await mergeAll(log);
  }
  await merged.spill(0, 2);
  for (let i = 0; i < 3; i++) {
    await appendShapes(broker, 8);
    await mergeAll(log);
  }
  const [first, second] = (await merged.list()).slots[1]?.segments ?? [];
  invariant(first !== undefined && second !== undefined, 'there are segments below the log start');
  await raiseStart(log, 1, second.startOffset + 1);
  await merged.drop(1, second.startOffset + 1);
  await merged.clean();
  await appendShapes(broker, 8 + 8 + 5);
  return log;
}

/** Commits to the first head, in turn one that is inline, one that is hot, and one that both heads share. */
export async function appendShapes(broker: Broker, commits: number): Promise<void> {
  for (let i = 0; i < commits; i++) {
    const size = i % 3 === 0 ? 10 : LARGE;
    const value = `${i}`.padEnd(size, '.');
    const records = [record(value, { partition: 0 }), record(value, { partition: 1 }), record('x', { partition: 1 })];
    if (i % 3 === 2) records.push(record(value, { partition: 16 }));
    for (const outcome of await broker.appendRecords({ topic: TOPIC, records })) if (!outcome.ok) throw outcome.error;
  }
  await broker.idle();
}

export async function mergeAll({ broker, topicId }: ShapedLog): Promise<void> {
  for (const headNumber of [0, 1]) await broker.mergeHead(topicId, headNumber, { force: true });
}

export async function raiseStart({ stores, topicId }: ShapedLog, slot: number, offset: number): Promise<void> {
  await stores.items.update(headKey(topicId, 0), [{ do: 'set', name: HEAD.start(slot), value: offset }]);
}

const CALLS_MAX = 5_000;

/** A whole verification, by as many calls as it takes. */
export async function verifyAll(
  broker: Broker,
  request: VerifyRequest = {},
  topic = TOPIC,
): Promise<{ partitions: PartitionReport[]; problems: Problem[]; calls: number }> {
  const partitions: PartitionReport[] = [];
  const problems: Problem[] = [];
  for (let calls = 1, pageToken = request.pageToken; ; calls++) {
    const page = await broker.verifyTopic(topic, { ...request, pageToken });
    partitions.push(...page.partitions);
    problems.push(...page.problems);
    pageToken = page.nextPageToken;
    if (pageToken === undefined) return { partitions, problems, calls };
    invariant(calls < CALLS_MAX, 'each call does something');
  }
}

/** A log whose stored bytes can be changed in ways that no part of Tailrace would. */
export class DamagedLog {
  readonly #log: ShapedLog;

  constructor(log: ShapedLog) {
    this.#log = log;
  }

  list(headNumber = 0): Promise<SegmentList> {
    return readSegmentList(this.#log.stores.items, { topicId: this.#log.topicId, headNumber });
  }

  head(headNumber = 0) {
    return readHead(this.#log.stores.items, { topicId: this.#log.topicId, headNumber });
  }

  /** The last segment of a partition of the first head. */
  async lastSegment(partition = 0): Promise<Segment & { readonly key: string }> {
    const segment = (await this.list()).slots[partition]?.segments.at(-1);
    invariant(segment !== undefined, 'the partition has a segment');
    return { ...segment, key: segmentObjectKey(this.#log.topicId, partition, segment.startOffset, segment.version) };
  }

  async object(key: string): Promise<Uint8Array> {
    const bytes = await this.#log.stores.objects.get(key, { start: 0, end: 1e9 });
    invariant(bytes !== undefined, `the object ${key} is there`);
    return bytes.slice();
  }

  async changeObject(key: string, change: (bytes: Uint8Array) => Uint8Array | undefined): Promise<void> {
    const changed = change(await this.object(key));
    await this.#log.stores.objects.delete(key);
    if (changed !== undefined) await this.#log.stores.objects.put(key, [changed]);
  }

  async flip(key: string, position: number): Promise<void> {
    await this.changeObject(key, (bytes) => {
      bytes[position] = (bytes[position] as number) ^ 1;
      return bytes;
    });
  }

  async changeItem(key: ItemKey, change: (attributes: Attributes) => Attributes | undefined): Promise<void> {
    const { items } = this.#log.stores;
    const { attributes } = await items.get(key);
    invariant(attributes !== undefined, `the item ${key.pk} ${key.sk} is there`);
    const changed = change(attributes);
    if (changed === undefined) await items.delete(key);
    else await items.put(key, changed);
  }

  /** Changes the list as a writer would that checks nothing. */
  async changeList(change: (list: SegmentList) => SegmentList): Promise<void> {
    const list = packSegmentList(change(await this.list()));
    await this.changeItem(segmentListKey(this.#log.topicId, 0), (attributes) => ({
      ...attributes,
      [SEGMENT_LIST.list]: list,
    }));
  }

  async changeLastSegment(change: (segment: Segment) => Partial<Segment>, partition = 0): Promise<void> {
    await this.changeList((list) => ({
      ...list,
      slots: list.slots.map((slot, i) =>
        i === partition
          ? {
              ...slot,
              segments: slot.segments.map((one, at) =>
                at === slot.segments.length - 1 ? { ...one, ...change(one) } : one,
              ),
            }
          : slot,
      ),
    }));
  }

  /** A regular update of the list, as a job makes it. */
  async updateList(change: (list: SegmentList) => SegmentList): Promise<void> {
    const { stores, topicId } = this.#log;
    const context = { clock: stores.clock, random: new SeededRandom(3), settings: DEFAULT_SETTINGS };
    const update = (list: SegmentList) => ({ list: change(list), result: undefined });
    await updateSegmentList(context, stores.items, { topicId, headNumber: 0 }, update);
  }
}
