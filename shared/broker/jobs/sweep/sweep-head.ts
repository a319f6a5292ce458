import { type Entry, nextEntry, TAIL_NODE_ENTRIES, type TailNode } from '../../../log/head/head.ts';
import {
  dropDeadAnnouncements,
  dueGarbage,
  removeGarbage,
  schedule,
  scheduleBy,
  scheduleCleaning,
} from '../../../log/segment/list-changes.ts';
import {
  cleanedUpTo,
  droppedUpTo,
  entriesToDrop,
  ORPHAN_AGE_MS,
  sweepDueAtMs,
} from '../../../log/segment/list-cleanup.ts';
import type { Garbage, SegmentList } from '../../../log/segment/segment-list.ts';
import { headPartition, type Topic } from '../../../log/topic/topic.ts';
import { segmentObjectKey, segmentPageKey } from '../../../storage/keys.ts';
import type { ItemKey, Stores } from '../../../storage/ports.ts';
import { abortedKey, abortedPartitionKey } from '../../../storage/transaction-keys.ts';
import type { BrokerContext } from '../../context.ts';
import {
  type Ask,
  type HeadName,
  MissingNodeError,
  nodeKey,
  nodesBetween,
  queryNodes,
  readHead,
} from '../../heads/items.ts';
import { readSegmentList, updateSegmentList } from '../../heads/segment-list-store.ts';
import { retrying } from '../../retry.ts';
import { eachOf } from '../../topics/each-head.ts';
import { GRACE_MS } from '../grace.ts';
import type { HeadJobOptions, HeadJobResult } from '../head-job.ts';
import { deleteDataOf } from './delete-data.ts';
import { sweepInlineOrphans } from './inline-orphans.ts';

export interface SweptHead extends HeadJobResult {
  /** Objects and pages that were garbage. */
  readonly garbageDeleted: number;
  readonly nodesDeleted: number;
  /** Inline batches whose commit never came. */
  readonly orphansDeleted: number;
}

function hasAbortMarker({ entries }: TailNode): boolean {
  return entries.some(({ markers = [] }) => markers.some(({ outcome }) => outcome === 'aborted'));
}

/** So much is deleted between two updates of the list, or two looks at the signal. */
const NODES_PER_STEP = 256;
const NAMES_PER_STEP = 256;
const ENTRIES_PER_STEP = 256;

/**
 * Deletes what a head's list says may be deleted by now, and once a day looks for inline batches without an entry. Whatever
 * it deletes goes before the list says so, and nodes go after it: so a sweep that died leaves only what the next one finds.
 *
 * Costs 1 GetItem and one `updateSegmentList`; 1 request for each name of garbage and one `updateSegmentList` for all of
 * them; for each 256 nodes 1 Query, 1 request for each of their entries and nodes, and one `updateSegmentList`. Once a day
 * the cost of `sweepInlineOrphans` and 2 Queries.
 * @throws EventLogError `corrupt_data` if a node is missing, also one of an unmerged entry that was merged and swept meanwhile
 */
export async function sweepHead(
  context: BrokerContext,
  topic: Topic,
  headNumber: number,
  { signal }: HeadJobOptions = {},
): Promise<SweptHead> {
  const stores = context.usage.of(topic.name, 'maintain');
  const name = { topicId: topic.topicId, headNumber };
  const sweep = new HeadSweep(context, topic, name, stores, signal);
  const list = await sweep.ask(() => readSegmentList(stores.items, name));
  if (list.version === 0) return sweep.result(list, undefined);
  const swept = await sweep.drop(await sweep.clean(await sweep.garbage(list)));
  return sweep.finish(swept, await sweep.daily(swept));
}

class HeadSweep {
  readonly ask: Ask;
  readonly #context: BrokerContext;
  readonly #topic: Topic;
  readonly #name: HeadName;
  readonly #stores: Stores;
  readonly #signal: AbortSignal | undefined;
  readonly #nowMs: number;
  #garbageDeleted = 0;
  #nodesDeleted = 0;
  #orphansDeleted = 0;

  constructor(context: BrokerContext, topic: Topic, name: HeadName, stores: Stores, signal: AbortSignal | undefined) {
    this.ask = (request) => retrying(context, 'not_applied', request);
    this.#context = context;
    this.#topic = topic;
    this.#name = name;
    this.#stores = stores;
    this.#signal = signal;
    this.#nowMs = context.clock.nowMs();
  }

  /** Deletes the garbage that is due. The names of dead announcements become garbage. */
  async garbage(list: SegmentList): Promise<SegmentList> {
    const due = dueGarbage(list, this.#nowMs);
    let deleted = 0;
    while (deleted < due.length && !this.#signal?.aborted) {
      const step = due.slice(deleted, deleted + NAMES_PER_STEP);
      await eachOf(step, (garbage) => retrying(this.#context, 'from_error', () => this.#delete(garbage)));
      deleted += step.length;
    }
    this.#garbageDeleted = deleted;
    return this.#update(list, (now) => {
      const alive = dropDeadAnnouncements(now, this.#context.clock.nowMs(), GRACE_MS) ?? now;
      const left = removeGarbage(alive, due.slice(0, deleted)) ?? alive;
      return left === now ? undefined : left;
    });
  }

  async #delete({ what, slot, startOffset, version }: Garbage): Promise<void> {
    const { topicId, headNumber } = this.#name;
    if (what === 'page')
      await this.#stores.items.delete(segmentPageKey(topicId, headNumber, { slot, startOffset, version }));
    else {
      const partition = headPartition(this.#topic, headNumber, slot);
      await this.#stores.objects.delete(segmentObjectKey(topicId, partition, startOffset, version));
    }
  }

  /** Deletes merged nodes and the data of their entries. */
  async clean(from: SegmentList): Promise<SegmentList> {
    let list = from;
    while (list.cleanedEntry < list.cleanBelow && list.cleanAtMs <= this.#nowMs && !this.#signal?.aborted) {
      const { cleanedEntry, cleanBelow } = list;
      // From 0 on, since a sweep that died may have left nodes below `cleanedEntry`, or a late move of the tail.
      const nodes = await this.ask(() => queryNodes(this.#stores.items, this.#name, 0, cleanBelow, NODES_PER_STEP));
      const fresh = nodes.filter(({ firstEntry }) => firstEntry >= cleanedEntry);
      const missing = fresh.findIndex(({ firstEntry }, i) => firstEntry !== cleanedEntry + i * TAIL_NODE_ENTRIES);
      if (missing >= 0 || nodes.length === 0) {
        list = await this.ask(() => readSegmentList(this.#stores.items, this.#name));
        if (list.cleanedEntry > cleanedEntry) continue;
        throw new MissingNodeError(this.#name, cleanedEntry + Math.max(0, missing) * TAIL_NODE_ENTRIES);
      }
      await this.#deleteData(fresh.flatMap(({ entries }) => entries));
      const belowEntry = cleanedEntry + fresh.length * TAIL_NODE_ENTRIES;
      list = await this.#update(list, (now) => cleanedUpTo(now, belowEntry));
      await this.#deleteNodes(nodes);
    }
    return list;
  }

  /** Deletes the data of unmerged entries that retention has dropped. Their nodes and their places in the tail stay. */
  async drop(list: SegmentList): Promise<SegmentList> {
    const range = entriesToDrop(list, this.#nowMs);
    if (range === undefined || this.#signal?.aborted) return list;
    if (range.from < range.to) {
      const head = await this.ask(() => readHead(this.#stores.items, this.#name));
      let dropped: Entry[] = [];
      const take = async (entries: readonly Entry[], firstEntry: number): Promise<void> => {
        dropped.push(...entries.filter((_, i) => firstEntry + i >= range.from && firstEntry + i < range.to));
        if (dropped.length < ENTRIES_PER_STEP && firstEntry + entries.length < nextEntry(head)) return;
        await this.#deleteData(dropped);
        dropped = [];
      };
      const to = Math.min(range.to, head.firstEntry);
      for await (const { entries, firstEntry } of nodesBetween(
        this.#stores.items,
        this.#name,
        range.from,
        to,
        this.ask,
      ))
        await take(entries, firstEntry);
      await take(
        head.tail.map(({ entry }) => entry),
        head.firstEntry,
      );
    }
    // Retention may have found more that had to wait for this.
    return this.#update(list, (now) => {
      const done = droppedUpTo(now, range.to);
      return done && scheduleBy(done, 'expire', this.#nowMs);
    });
  }

  /** What crashes of others may have left. Whether it was looked at completely. */
  async daily(list: SegmentList): Promise<boolean> {
    if (list.orphansCheckedAtMs + ORPHAN_AGE_MS > this.#nowMs || this.#signal?.aborted) return false;
    const { items } = this.#stores;
    for (;;) {
      const nodes = await this.ask(() => queryNodes(items, this.#name, 0, list.cleanedEntry, NODES_PER_STEP));
      if (nodes.length === 0) break;
      await this.#deleteNodes(nodes);
      if (this.#signal?.aborted) return false;
    }
    await this.#deleteLateAborted(list.cleanedEntry);
    const { orphansDeleted, complete } = await sweepInlineOrphans(this.#context, items, this.#name, this.#signal);
    this.#orphansDeleted = orphansDeleted;
    return complete;
  }

  /** The list of aborted transactions that a mover wrote after its node had been deleted. */
  async #deleteLateAborted(belowEntry: number): Promise<void> {
    const { topicId, headNumber } = this.#name;
    const pk = abortedPartitionKey(topicId, headNumber);
    const to = abortedKey(topicId, headNumber, belowEntry).sk;
    for (let isMore = true; isMore && !this.#signal?.aborted; ) {
      const page = await this.ask(() => this.#stores.items.query({ pk, to, limit: NODES_PER_STEP }));
      await this.#deleteAborted(page.items.map(({ sk }) => ({ pk, sk })));
      isMore = page.more;
    }
  }

  async #deleteAborted(keys: readonly ItemKey[]): Promise<void> {
    await eachOf(keys, (key) => retrying(this.#context, 'from_error', () => this.#stores.items.delete(key)));
  }

  async finish(list: SegmentList, lookedDaily: boolean): Promise<SweptHead> {
    const finished = await this.#update(list, (now) => {
      // Their grace begins after they were merged, which can have been since this sweep began.
      const cleaning = scheduleCleaning(now, this.#context.clock.nowMs(), GRACE_MS) ?? now;
      // Retention looks too, in case a process died before it could schedule that.
      const looked = lookedDaily
        ? scheduleBy({ ...cleaning, orphansCheckedAtMs: this.#nowMs }, 'expire', this.#nowMs)
        : cleaning;
      const scheduled = schedule(looked, 'sweep', sweepDueAtMs(looked));
      return scheduled === now ? undefined : scheduled;
    });
    return this.result(finished, finished.due.sweep?.atMs);
  }

  result(list: SegmentList, nextAtMs: number | undefined): SweptHead {
    return {
      list,
      nextAtMs,
      garbageDeleted: this.#garbageDeleted,
      nodesDeleted: this.#nodesDeleted,
      orphansDeleted: this.#orphansDeleted,
    };
  }

  async #update(known: SegmentList, change: (list: SegmentList) => SegmentList | undefined): Promise<SegmentList> {
    const { list } = await updateSegmentList(
      this.#context,
      this.#stores.items,
      this.#name,
      (now) => ({ list: change(now), result: undefined }),
      known,
    );
    return list;
  }

  #deleteData(entries: readonly Entry[]): Promise<void> {
    return deleteDataOf(this.#context, this.#stores, this.#name, entries);
  }

  async #deleteNodes(nodes: readonly TailNode[]): Promise<void> {
    const { topicId, headNumber } = this.#name;
    await this.#deleteAborted(
      nodes.filter(hasAbortMarker).map(({ firstEntry }) => abortedKey(topicId, headNumber, firstEntry)),
    );
    await eachOf(nodes, ({ firstEntry }) =>
      retrying(this.#context, 'from_error', () => this.#stores.items.delete(nodeKey(this.#name, firstEntry))),
    );
    this.#nodesDeleted += nodes.length;
  }
}
