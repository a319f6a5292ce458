import { readSegmentList, updateSegmentList } from '../../../shared/broker/segments/segment-list-store.ts';
import { DEFAULT_SETTINGS } from '../../../shared/broker/settings.ts';
import { EventLogError } from '../../../shared/log/errors.ts';
import type { SlotTotals } from '../../../shared/log/head/head.ts';
import { TAIL_NODE_ENTRIES } from '../../../shared/log/head/head.ts';
import type { Segment } from '../../../shared/log/segment/segment.ts';
import {
  type Announcement,
  type AnnouncedName,
  nameText,
  type SegmentList,
} from '../../../shared/log/segment/segment-list.ts';
import type { ItemStore } from '../../../shared/storage/ports.ts';
import { MemoryItemStore } from '../../../shared/storage/memory/item-store.ts';
import { faultyStores, type Fault } from '../../support/faulty-stores.ts';
import { SeededRandom } from '../../support/memory-broker.ts';
import { MemoryObjectStore } from '../../../shared/storage/memory/object-store.ts';
import { SimulatedClock } from '../../support/simulated-clock.ts';
import * as listChanges from '../../../shared/log/segment/list-changes.ts';

/** The changes of a list, as they are or with a flaw in one of them. */
export type ListChanges = Pick<
  typeof listChanges,
  'announce' | 'dropDeadAnnouncements' | 'commitMerge' | 'replaceSegments' | 'dropBelow' | 'dueGarbage' | 'removeGarbage'
>;

/**
 * A random model of the jobs of one head, over the real store of its segment list and the real changes. Several
 * processes merge, coalesce, drop and sweep at once. They are killed or stand still between any two requests, and their
 * updates are lost, late or sent twice. Objects are modelled by their names and the offsets that they hold.
 */

const HEAD = { topicId: 'model', headNumber: 0 };
const SLOTS = 2;
/** Entry e has one record in slot e mod 2. */
const ENTRIES_MAX = 64 * TAIL_NODE_ENTRIES;
export const GRACE_MS = 30 * 60_000;
const ANNOUNCED_MS = 60_000;
/** An update that is late arrives at most this much later: AWS rejects older signatures. */
const LATE_MS_MAX = 9 * 60_000;
/** A signed URL, or a read that has begun, uses a list that was read up to this long ago. */
const READER_MS = 20 * 60_000;

/** The clocks of two processes differ by up to twice this. */
const SKEW_MS_MAX = 2 * 60_000;

type Job = (nowMs: () => number) => Promise<void>;

class Killed extends Error {}

interface StoredObject {
  readonly startOffset: number;
  readonly endOffset: number;
}

export interface RunOutcome {
  readonly problems: readonly string[];
  readonly marks: ReadonlySet<string>;
}

export async function runSeed(seed: number, changes: ListChanges = listChanges): Promise<RunOutcome> {
  const random = new SeededRandom(seed);
  const clock = new SimulatedClock();
  const bare = new MemoryItemStore();
  const objects = new Map<string, StoredObject>();
  const problems: string[] = [];
  const marks = new Set<string>();
  const start = new Array<number>(SLOTS).fill(0);
  const rates = { fault: [0, 0.1, 0.3][random.below(3)] as number, kill: [0, 0.03, 0.1][random.below(3)] as number };
  /** Lists that readers may still use, with the time when they were read. */
  const views: { readonly atMs: number; readonly list: SegmentList; readonly start: readonly number[] }[] = [];
  let healed = false;

  const faults: readonly Fault[] = ['throttled', 'lost_request', 'lost_reply', 'late', 'repeated'];
  const { items } = faultyStores({ objects: new MemoryObjectStore(), items: bare as ItemStore, clock }, () => ({
    delayMs: 1 + random.below(50),
    ...(healed || random.next() >= rates.fault
      ? {}
      : { fault: faults[random.below(faults.length)], lateMs: Math.floor(random.next() ** 3 * LATE_MS_MAX) }),
  }));
  const context = { clock, random, settings: DEFAULT_SETTINGS };

  /** Between two steps of a job: time passes, and the process may stand still for long or be killed. */
  const step = async (): Promise<void> => {
    await clock.sleep(random.below(2_000));
    if (healed) return;
    if (random.next() < rates.kill) throw new Killed();
    if (random.next() < 0.05) await clock.sleep(random.below(20 * 60_000));
  };
  const update = async <R>(change: (list: SegmentList) => { list: SegmentList | undefined; result: R }): Promise<R> => {
    const { list, result } = await updateSegmentList(context, items, HEAD, (before) => {
      const changed = change(before);
      return { ...changed, list: changed.list };
    });
    look(list);
    return result;
  };

  /** What every reader relies on: the listed segments are there, and no offset is between two of them or in both. */
  const look = (list: SegmentList): void => {
    list.slots.forEach((slot, number) => {
      let end: number | undefined;
      for (const segment of slot.segments) {
        const name = nameText({ what: 'segment', slot: number, ...segment });
        const object = objects.get(name);
        if (object === undefined) problems.push(`the list names ${name}, which is not there`);
        else if (object.startOffset !== segment.startOffset || object.endOffset !== segment.endOffset)
          problems.push(`${name} holds other offsets than the list says`);
        if (end !== undefined && segment.startOffset !== end) problems.push(`a gap before ${name}`);
        end = segment.endOffset;
      }
      const merged = list.totals[number]?.nextOffset ?? 0;
      if (end !== undefined && end !== merged) problems.push(`slot ${number} ends at ${end}, merged to ${merged}`);
      const first = slot.segments[0]?.startOffset ?? merged;
      if (first > (start[number] as number)) problems.push(`slot ${number} lost the offsets below ${first}`);
    });
    views.push({ atMs: clock.nowMs(), list, start: start.slice() });
    while ((views[0]?.atMs ?? Number.POSITIVE_INFINITY) < clock.nowMs() - READER_MS) views.shift();
  };

  const remove = (name: AnnouncedName): void => {
    const text = nameText(name);
    if (!objects.delete(text)) return;
    marks.add('object deleted');
    for (const { list, atMs, start: from } of views) {
      if (atMs < clock.nowMs() - READER_MS) continue;
      const segment = list.slots[name.slot]?.segments.find((one) => one.version === name.version && one.startOffset === name.startOffset);
      if (segment !== undefined && segment.endOffset > (from[name.slot] as number))
        problems.push(`${text} was deleted ${clock.nowMs() - atMs} ms after a reader saw it`);
    }
  };

  const withoutDead = (list: SegmentList, nowMs: number): SegmentList => {
    const alive = changes.dropDeadAnnouncements(list, nowMs, GRACE_MS);
    if (alive !== undefined) marks.add('announcement died');
    return alive ?? list;
  };
  const announce = (
    job: Announcement['job'],
    nowMs: () => number,
    names: (list: SegmentList) => Omit<AnnouncedName, 'version'>[] | undefined,
  ) =>
    update((before) => {
      const list = withoutDead(before, nowMs());
      const wanted = names(list);
      if (wanted === undefined || list.announcements.some((one) => one.job === job))
        return { list: undefined, result: undefined };
      const announced = changes.announce(list, job, wanted, nowMs() + ANNOUNCED_MS);
      return { list: announced?.list, result: announced?.announcement };
    });

  const write = async (segments: readonly { slot: number; segment: Segment }[]): Promise<void> => {
    for (const { slot, segment } of segments) {
      await step();
      objects.set(nameText({ what: 'segment', slot, ...segment }), segment);
      await step();
    }
  };
  const segmentOf = (startOffset: number, endOffset: number, version: number): Segment => ({
    startOffset, endOffset, version, bytes: (endOffset - startOffset) * 100, indexBytes: 40,
    maxTimestampMs: endOffset, writtenAtMs: startOffset, setHash: BigInt(endOffset - startOffset),
  });

  const jobs: readonly Job[] = [
    async function merge(nowMs) {
      const nodes = 1 + random.below(3);
      let from = 0;
      let to = 0;
      const ends = (list: SegmentList): SlotTotals[] =>
        Array.from({ length: SLOTS }, () => ({ nextOffset: to / 2, maxTimestampMs: to / 2, bytes: (to / 2) * 100 }));
      const announced = await announce('merge', nowMs, (list) => {
        from = list.mergedEntry;
        to = Math.min(ENTRIES_MAX, from + nodes * TAIL_NODE_ENTRIES);
        return to > from ? Array.from({ length: SLOTS }, (_, slot) => ({ what: 'segment' as const, slot, startOffset: from / 2 })) : undefined;
      });
      if (announced === undefined) return;
      const made = Array.from({ length: SLOTS }, (_, slot) => ({ slot, segment: segmentOf(from / 2, to / 2, announced.id) }));
      await write(made);
      const segments = new Map(made.map(({ slot, segment }) => [slot, segment]));
      await update((before) => {
        const list = changes.commitMerge(before, {
          id: announced.id, fromEntry: from, toEntry: to, totals: ends(before), segments, nowMs: nowMs(), graceMs: GRACE_MS,
        });
        marks.add(list === undefined ? 'merge came too late' : 'merged');
        return { list, result: undefined };
      });
    },
    async function coalesce(nowMs) {
      let slot = 0;
      let sources: readonly Segment[] = [];
      const announced = await announce('coalesce', nowMs, (list) => {
        slot = random.below(SLOTS);
        const segments = list.slots[slot]?.segments ?? [];
        const count = 2 + random.below(3);
        const first = random.below(Math.max(1, segments.length - count + 1));
        sources = segments.slice(first, first + count);
        return sources.length > 1 ? [{ what: 'segment' as const, slot, startOffset: (sources[0] as Segment).startOffset }] : undefined;
      });
      if (announced === undefined) return;
      const by = segmentOf((sources[0] as Segment).startOffset, (sources.at(-1) as Segment).endOffset, announced.id);
      await write([{ slot, segment: by }]);
      await update((before) => {
        const list = changes.replaceSegments(before, { id: announced.id, slot, sources, by: [by], nowMs: nowMs(), graceMs: GRACE_MS });
        marks.add(list === undefined ? 'coalesce came too late' : 'coalesced');
        return { list, result: undefined };
      });
    },
    async function expire(nowMs) {
      const list = await readSegmentList(bare, HEAD);
      const slot = random.below(SLOTS);
      const segment = list.slots[slot]?.segments[0];
      if (segment === undefined || random.next() < 0.5) return;
      start[slot] = Math.max(start[slot] as number, segment.endOffset);
      await step();
      await update((before) => {
        const dropped = changes.dropBelow(before, { slot, startOffset: start[slot] as number, pageSegments: () => undefined, nowMs: nowMs(), graceMs: GRACE_MS });
        if (dropped !== undefined) marks.add('dropped');
        return { list: dropped, result: undefined };
      });
    },
    async function sweep(nowMs) {
      const due = changes.dueGarbage(await readSegmentList(items, HEAD), nowMs());
      for (const name of due) {
        await step();
        remove(name);
      }
      await step();
      await update((before) => {
        const alive = withoutDead(before, nowMs());
        const list = changes.removeGarbage(alive, due) ?? alive;
        return { list: list === before ? undefined : list, result: undefined };
      });
    },
  ];
  const weights = [0, 0, 0, 1, 1, 2, 3, 3];
  const process = async (rounds: number): Promise<void> => {
    const skewMs = Math.floor((random.next() * 2 - 1) * SKEW_MS_MAX);
    const nowMs = (): number => clock.nowMs() + skewMs;
    for (let round = 0; round < rounds; round++) {
      try {
        await (jobs[weights[random.below(weights.length)] as number] as Job)(nowMs);
      } catch (error) {
        if (!(error instanceof Killed) && !(error instanceof EventLogError && error.code !== 'internal'))
          problems.push(`a job threw ${error instanceof Error ? error.message : String(error)}`);
      }
      await clock.sleep(random.below(random.next() < 0.2 ? 40 * 60_000 : 60_000));
    }
  };
  await clock.run(() => Promise.all([process(12), process(12), process(12)]));
  healed = true;
  // What is late arrives, then two sweeps with a grace between them find everything that was left.
  for (let sweeps = 0; sweeps < 3; sweeps++) {
    await clock.advance(2 * GRACE_MS);
    await clock.run(() => (jobs[3] as Job)(() => clock.nowMs()));
  }
  const list = await readSegmentList(bare, HEAD);
  look(list);
  const listed = new Set(list.slots.flatMap(({ segments }, slot) => segments.map((one) => nameText({ what: 'segment', slot, ...one }))));
  for (const name of objects.keys()) if (!listed.has(name)) problems.push(`${name} is left over`);
  if (list.garbage.length + list.announcements.length > 0) problems.push('garbage or an announcement is left over');
  return { problems, marks };
}
