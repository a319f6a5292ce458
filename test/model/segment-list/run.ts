import { readSegmentList, updateSegmentList } from '../../../shared/broker/heads/segment-list-store.ts';
import { DEFAULT_SETTINGS } from '../../../shared/broker/settings.ts';
import { EventLogError } from '../../../shared/log/errors.ts';
import type { SlotTotals } from '../../../shared/log/head/head.ts';
import { TAIL_NODE_ENTRIES } from '../../../shared/log/head/head.ts';
import * as listChanges from '../../../shared/log/segment/list-changes.ts';
import type { Segment } from '../../../shared/log/segment/segment.ts';
import {
  type AnnouncedName,
  type Announcement,
  nameText,
  type SegmentList,
} from '../../../shared/log/segment/segment-list.ts';
import { MemoryItemStore } from '../../../shared/storage/memory/item-store.ts';
import { MemoryObjectStore } from '../../../shared/storage/memory/object-store.ts';
import type { ItemStore } from '../../../shared/storage/ports.ts';
import { type Fault, faultyStores } from '../../support/faulty-stores.ts';
import { SeededRandom } from '../../support/memory-broker.ts';
import { SimulatedClock } from '../../support/simulated-clock.ts';

/** The changes of a list, as they are or with a flaw in one of them. */
export type ListChanges = Pick<
  typeof listChanges,
  | 'announce'
  | 'giveUp'
  | 'dropDeadAnnouncements'
  | 'commitMerge'
  | 'replaceSegments'
  | 'dropBelow'
  | 'dueGarbage'
  | 'removeGarbage'
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
/** Longer than anything is kept that is going to be deleted. */
const FREEZE_MS_MAX = 2 * GRACE_MS;
/** A signed URL, or a read that has begun, uses a list that was read up to this long ago. */
const READER_MS = 20 * 60_000;

/** The clocks of two processes differ by up to twice this. */
const SKEW_MS_MAX = 2 * 60_000;

/** `written` gets the names of what the job wrote after they had been deleted as those of a dead job. */
type Job = (nowMs: () => number, written: string[]) => Promise<void>;
type Commit = (list: SegmentList) => SegmentList | undefined;

class Killed extends Error {}

interface StoredObject {
  readonly startOffset: number;
  readonly endOffset: number;
}

export interface RunOutcome {
  readonly problems: readonly string[];
  readonly marks: ReadonlySet<string>;
}

/** Flaws: none of them by default. */
export interface RunOptions {
  readonly changes?: ListChanges;
  readonly dropsFirst?: boolean;
  readonly commitsFirst?: boolean;
  readonly forgetsFirst?: boolean;
  readonly isUnconditional?: boolean;
}

export async function runSeed(seed: number, options: RunOptions = {}): Promise<RunOutcome> {
  const { changes = listChanges } = options;
  const random = new SeededRandom(seed);
  const clock = new SimulatedClock();
  const bare = new MemoryItemStore();
  const objects = new Map<string, StoredObject>();
  const deleted = new Set<string>();
  const excused = new Set<string>();
  /** What was compacted: of the records below `endOffset` of the slot none is left, from that version of the list on. */
  const compactions: { readonly version: number; readonly slot: number; readonly endOffset: number }[] = [];
  const problems: string[] = [];
  const marks = new Set<string>();
  const start = new Array<number>(SLOTS).fill(0);
  const rates = { fault: [0, 0.1, 0.3][random.below(3)] as number, kill: [0, 0.03, 0.1][random.below(3)] as number };
  /** Lists that readers may still use, with the time when they were read. */
  const views: { readonly atMs: number; readonly list: SegmentList; readonly start: readonly number[] }[] = [];
  let healed = false;

  const faults: readonly Fault[] = ['throttled', 'lost_request', 'lost_reply', 'late', 'repeated'];
  const stored: ItemStore = options.isUnconditional ? withoutConditions(bare) : bare;
  const { items } = faultyStores({ objects: new MemoryObjectStore(), items: stored, clock }, () => ({
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
    if (random.next() < 0.05) await clock.sleep(random.below(random.next() < 0.5 ? 20 * 60_000 : FREEZE_MS_MAX));
  };
  const update = async <R>(change: (list: SegmentList) => { list: SegmentList | undefined; result: R }): Promise<R> => {
    const { list, result } = await updateSegmentList(context, items, HEAD, change);
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
      for (const { version, slot: of, endOffset } of compactions) {
        if (of !== number || version > list.version) continue;
        const back = slot.segments.find(
          (one) => one.setHash > Math.max(0, one.endOffset - Math.max(one.startOffset, endOffset)),
        );
        if (back !== undefined) problems.push(`records below ${endOffset} came back after they were compacted away`);
      }
      if (first > (start[number] as number)) problems.push(`slot ${number} lost the offsets below ${first}`);
    });
    views.push({ atMs: clock.nowMs(), list, start: start.slice() });
    while ((views[0]?.atMs ?? Number.POSITIVE_INFINITY) < clock.nowMs() - READER_MS) views.shift();
  };

  const remove = (name: AnnouncedName): void => {
    const text = nameText(name);
    deleted.add(text);
    if (!objects.delete(text)) return;
    marks.add('object deleted');
    for (const { list, atMs, start: from } of views) {
      if (atMs < clock.nowMs() - READER_MS) continue;
      const segment = list.slots[name.slot]?.segments.find(
        (one) => one.version === name.version && one.startOffset === name.startOffset,
      );
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
      // Only to save work: two jobs of a kind at once must do no harm.
      const isBusy = list.announcements.some((one) => one.job === job) && random.next() < 0.7;
      if (wanted === undefined || isBusy) return { list: undefined, result: undefined };
      const announced = changes.announce(list, job, wanted, nowMs() + ANNOUNCED_MS);
      return { list: announced?.list, result: announced?.announcement };
    });

  const write = async (segments: readonly { slot: number; segment: Segment }[], written: string[]): Promise<void> => {
    for (const { slot, segment } of segments) {
      await step();
      const name = nameText({ what: 'segment', slot, ...segment });
      if (deleted.has(name)) {
        marks.add('written after it was given up');
        written.push(name);
      }
      objects.set(name, segment);
      await step();
    }
  };
  /** Changes the list by the commit of a job, or tells the list what the job has written in vain. */
  const commit = async (announced: Announcement, nowMs: () => number, change: Commit): Promise<number | undefined> => {
    const version = await update((before) => {
      const list = change(before);
      return { list, result: list && before.version + 1 };
    });
    marks.add(version === undefined ? `${announced.job} came too late` : `${announced.job} committed`);
    if (version !== undefined) return version;
    await step();
    await update((before) => ({ list: changes.giveUp(before, announced, nowMs(), GRACE_MS), result: undefined }));
    return undefined;
  };
  const segmentOf = (startOffset: number, endOffset: number, version: number, records?: bigint): Segment => ({
    startOffset,
    endOffset,
    version,
    bytes: (endOffset - startOffset) * 100,
    indexBytes: 40,
    maxTimestampMs: endOffset,
    writtenAtMs: startOffset,
    aborted: 0,
    setHash: records ?? BigInt(endOffset - startOffset),
  });

  /** Joins a run of segments; as a compaction, the first ones, of whose records nothing is left. */
  const rewrite = async (job: 'coalesce' | 'compact', nowMs: () => number, written: string[]): Promise<void> => {
    const slot = random.below(SLOTS);
    let sources: readonly Segment[] = [];
    const announced = await announce(job, nowMs, (list) => {
      const segments = list.slots[slot]?.segments ?? [];
      const count = 2 + random.below(3);
      const first = job === 'compact' ? 0 : random.below(Math.max(1, segments.length - count + 1));
      sources = segments.slice(first, first + count);
      const [{ startOffset } = { startOffset: 0 }] = sources;
      return sources.length > 1 ? [{ what: 'segment' as const, slot, startOffset }] : undefined;
    });
    if (announced === undefined) return;
    const startOffset = (sources[0] as Segment).startOffset;
    const endOffset = (sources.at(-1) as Segment).endOffset;
    const records = job === 'compact' ? 0n : sources.reduce((sum, { setHash }) => sum + setHash, 0n);
    const by = segmentOf(startOffset, endOffset, versionOf(announced), records);
    await write([{ slot, segment: by }], written);
    const replacement = { id: announced.id, slot, sources, by: [by], graceMs: GRACE_MS };
    const version = await commit(announced, nowMs, (before) =>
      changes.replaceSegments(before, { ...replacement, nowMs: nowMs() }),
    );
    if (job === 'compact' && version !== undefined) compactions.push({ version, slot, endOffset });
  };
  const jobs: readonly Job[] = [
    async function merge(nowMs, written) {
      const nodes = 1 + random.below(3);
      let from = 0;
      let to = 0;
      const ends = (): SlotTotals[] =>
        Array.from({ length: SLOTS }, () => ({ nextOffset: to / 2, maxTimestampMs: to / 2, bytes: (to / 2) * 100 }));
      const announced = await announce('merge', nowMs, (list) => {
        from = list.mergedEntry;
        to = Math.min(ENTRIES_MAX, from + nodes * TAIL_NODE_ENTRIES);
        return to > from
          ? Array.from({ length: SLOTS }, (_, slot) => ({ what: 'segment' as const, slot, startOffset: from / 2 }))
          : undefined;
      });
      if (announced === undefined) return;
      const made = Array.from({ length: SLOTS }, (_, slot) => ({
        slot,
        segment: segmentOf(from / 2, to / 2, versionOf(announced)),
      }));
      if (!options.commitsFirst) await write(made, written);
      const segments = new Map(made.map(({ slot, segment }) => [slot, [segment]]));
      await commit(announced, nowMs, (before) =>
        changes.commitMerge(before, {
          id: announced.id,
          fromEntry: from,
          toEntry: to,
          totals: ends(),
          segments,
          nowMs: nowMs(),
          graceMs: GRACE_MS,
        }),
      );
      if (options.commitsFirst) await write(made, written);
    },
    (nowMs, written) => rewrite('coalesce', nowMs, written),
    (nowMs, written) => rewrite('compact', nowMs, written),
    async function expire(nowMs) {
      const list = await readSegmentList(bare, HEAD);
      const slot = random.below(SLOTS);
      const segment = list.slots[slot]?.segments[0];
      if (segment === undefined || random.next() < 0.5) return;
      const raise = (): void => {
        start[slot] = Math.max(start[slot] as number, segment.endOffset);
      };
      if (!options.dropsFirst) raise();
      await step();
      await update((before) => {
        const dropped = changes.dropBelow(before, {
          slot,
          startOffset: segment.endOffset,
          pageSegments: () => undefined,
          nowMs: nowMs(),
          graceMs: GRACE_MS,
        });
        if (dropped !== undefined) marks.add('dropped');
        return { list: dropped, result: undefined };
      });
      if (options.dropsFirst) raise();
    },
    async function sweep(nowMs) {
      const due = changes.dueGarbage(await readSegmentList(items, HEAD), nowMs());
      const removeAll = async (): Promise<void> => {
        for (const name of due) {
          await step();
          remove(name);
        }
      };
      if (!options.forgetsFirst) await removeAll();
      await step();
      await update((before) => {
        const alive = withoutDead(before, nowMs());
        const list = changes.removeGarbage(alive, due) ?? alive;
        return { list: list === before ? undefined : list, result: undefined };
      });
      if (options.forgetsFirst) await removeAll();
    },
  ];
  const weights = [0, 0, 0, 1, 1, 2, 3, 4, 4];
  const process = async (rounds: number): Promise<void> => {
    const skewMs = Math.floor((random.next() * 2 - 1) * SKEW_MS_MAX);
    const nowMs = (): number => clock.nowMs() + skewMs;
    for (let round = 0; round < rounds; round++) {
      const written: string[] = [];
      try {
        await (jobs[weights[random.below(weights.length)] as number] as Job)(nowMs, written);
      } catch (error) {
        // Only a job that stood still for half an hour and was then killed leaves what nothing but `verify` finds.
        for (const name of written) excused.add(name);
        if (!(error instanceof Killed) && !(error instanceof EventLogError && error.code !== 'internal'))
          problems.push(`a job threw ${error instanceof Error ? error.message : String(error)}`);
      }
      await clock.sleep(random.below(random.next() < 0.2 ? 40 * 60_000 : 60_000));
    }
  };
  try {
    await clock.run(() => Promise.all([process(12), process(12), process(12)]));
    healed = true;
    // What is late arrives, then two sweeps with a grace between them find everything that was left.
    for (let sweeps = 0; sweeps < 3; sweeps++) {
      await clock.advance(2 * GRACE_MS);
      await clock.run(() => (jobs[4] as Job)(() => clock.nowMs(), []));
    }
    const list = await readSegmentList(bare, HEAD);
    look(list);
    const listed = new Set(
      list.slots.flatMap(({ segments }, slot) => segments.map((one) => nameText({ what: 'segment', slot, ...one }))),
    );
    for (const name of objects.keys())
      if (!listed.has(name) && !excused.has(name)) problems.push(`${name} is left over`);
    if (list.garbage.length + list.announcements.length > 0) problems.push('garbage or an announcement is left over');
  } catch (error) {
    problems.push(`the run broke off: ${error instanceof Error ? error.message : String(error)}`);
  }
  return { problems, marks };
}

function versionOf(announcement: Announcement): number {
  return (announcement.names[0] as AnnouncedName).version;
}

function withoutConditions(items: MemoryItemStore): ItemStore {
  return {
    get: (key) => items.get(key),
    put: (key, attributes) => items.put(key, attributes),
    update: (key, updates) => items.update(key, updates),
    delete: (key) => items.delete(key),
    query: (range) => items.query(range),
  };
}
