import { expect } from 'vitest';
import { readHead } from '../../shared/broker/heads/items.ts';
import { readSegmentList, updateSegmentList } from '../../shared/broker/heads/segment-list-store.ts';
import { DEFAULT_SETTINGS } from '../../shared/broker/settings.ts';
import type { Problem } from '../../shared/broker/verify/report.ts';
import { invariant } from '../../shared/log/errors.ts';
import type { Segment } from '../../shared/log/segment/segment.ts';
import { packSegmentList, type SegmentList } from '../../shared/log/segment/segment-list.ts';
import { SEGMENT_LIST, segmentListKey, segmentObjectKey } from '../../shared/storage/keys.ts';
import type { Attributes, ItemKey } from '../../shared/storage/ports.ts';
import { SeededRandom } from './memory-broker.ts';
import { type ShapedLog, shapedLog, verifyAll } from './shaped-log.ts';

/** A damage that is planted in a whole log, and must be found with its kind and place. */
export interface Damage {
  readonly name: string;
  readonly plant: (log: ShapedLog, damaged: DamagedLog) => Promise<readonly Partial<Problem>[]>;
}

/** Plants the damage and verifies the log. What every problem must be like is checked here. */
export async function findPlanted(plant: Damage['plant']) {
  const log = await shapedLog();
  const expected = await plant(log, new DamagedLog(log));
  const { problems, partitions } = await verifyAll(log.broker);
  for (const problem of problems) expect(problem.message).toMatch(/^[A-Z].*\.$/);
  const ofPartitions = problems.filter(({ kind, partition }) => kind !== 'orphan' && partition !== undefined);
  expect(partitions.reduce((sum, one) => sum + one.problems, 0)).toBe(ofPartitions.length);
  // Also in small steps.
  expect((await verifyAll(log.broker, { maxBytes: 1 })).problems).toEqual(problems);
  return { expected, problems };
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
