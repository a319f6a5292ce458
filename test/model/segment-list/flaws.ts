import * as listChanges from '../../../shared/log/segment/list-changes.ts';
import { nameText, type SegmentList } from '../../../shared/log/segment/segment-list.ts';
import type { ListChanges, RunOptions } from './run.ts';

/** A deliberate flaw of the protocol, which the random runs must find: a model that finds none of them proves nothing. */
export interface Flaw {
  readonly name: string;
  readonly options: RunOptions;
  /** Near the first seed that finds it, if that is one of about a thousand. */
  readonly fromSeed?: number;
}

function changed(changes: Partial<ListChanges>): RunOptions {
  return { changes: { ...listChanges, ...changes } };
}

/** The list with the announcement that a commit needs, as if nobody had asked for it. */
function announced(list: SegmentList, id: number, names: SegmentList['announcements'][number]['names']): SegmentList {
  if (listChanges.isAnnounced(list, id)) return list;
  const garbage = list.garbage.filter(({ version }) => version !== id);
  return { ...list, garbage, announcements: [...list.announcements, { id, job: 'merge', untilMs: 0, names }] };
}

export const FLAWS: readonly Flaw[] = [
  {
    name: 'a merge commits although its announcement was given up',
    fromSeed: 1_100,
    options: changed({
      commitMerge: (list, commit) => {
        const names = [...commit.segments].flatMap(([slot, segments]) =>
          segments.map(({ startOffset, version }) => ({ what: 'segment' as const, slot, startOffset, version })),
        );
        return listChanges.commitMerge(announced(list, commit.id, names), commit);
      },
    }),
  },
  {
    name: 'a merge commits although another has merged its entries',
    options: changed({
      commitMerge: (list, commit) => listChanges.commitMerge({ ...list, mergedEntry: commit.fromEntry }, commit),
    }),
  },
  {
    name: 'a replacement takes the place of whatever is there',
    options: changed({
      replaceSegments: (list, replacement) => {
        const { slot, by } = replacement;
        const first = by[0]?.startOffset ?? 0;
        const end = by.at(-1)?.endOffset ?? 0;
        const sources = (list.slots[slot]?.segments ?? []).filter(
          ({ startOffset, endOffset }) => startOffset >= first && endOffset <= end,
        );
        return listChanges.replaceSegments(list, { ...replacement, sources });
      },
    }),
  },
  {
    name: 'what was replaced may be deleted at once',
    options: changed({
      replaceSegments: (list, replacement) => listChanges.replaceSegments(list, { ...replacement, graceMs: 0 }),
    }),
  },
  {
    name: 'what retention drops may be deleted at once',
    options: changed({ dropBelow: (list, drop) => listChanges.dropBelow(list, { ...drop, graceMs: 0 }) }),
  },
  {
    name: 'what a dead job had announced is forgotten',
    options: changed({
      dropDeadAnnouncements: (list, nowMs, graceMs) => {
        const without = listChanges.dropDeadAnnouncements(list, nowMs, graceMs);
        return without && { ...without, garbage: list.garbage };
      },
    }),
  },
  {
    name: 'what was replaced is forgotten',
    options: changed({
      replaceSegments: (list, replacement) => {
        const replaced = listChanges.replaceSegments(list, replacement);
        return replaced && { ...replaced, garbage: list.garbage };
      },
    }),
  },
  {
    name: 'garbage is removed from the list by its time, not by what was deleted',
    options: changed({
      removeGarbage: (list) => {
        const last = list.garbage.reduce((max, { dueAtMs }) => Math.max(max, dueAtMs), 0);
        return { ...list, garbage: list.garbage.filter(({ dueAtMs }) => dueAtMs === last && list.garbage.length > 1) };
      },
    }),
  },
  {
    name: 'garbage that was written again is removed from the list by its name',
    fromSeed: 600,
    options: changed({
      removeGarbage: (list, deleted) => {
        const names = new Set(deleted.map(nameText));
        return { ...list, garbage: list.garbage.filter((name) => !names.has(nameText(name))) };
      },
    }),
  },
  { name: 'what was written in vain is left there', options: changed({ giveUp: () => undefined }) },
  { name: 'segments are dropped before the log start offset is raised', options: { dropsFirst: true } },
  { name: 'a merge is committed before its objects are written', options: { commitsFirst: true } },
  { name: 'garbage is removed from the list before it is deleted', options: { forgetsFirst: true } },
  { name: 'a list is written without the condition on its version', options: { isUnconditional: true } },
  {
    name: 'all jobs write under one version',
    options: changed({
      announce: (list, job, names, untilMs) => {
        const announced = listChanges.announce(list, job, names, untilMs);
        if (announced === undefined) return undefined;
        const announcement = { ...announced.announcement, names: names.map((name) => ({ ...name, version: 1 })) };
        return { list: { ...list, announcements: [...list.announcements, announcement] }, announcement };
      },
    }),
  },
];
