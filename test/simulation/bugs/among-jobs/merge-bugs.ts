import type { PlantedBug } from '../planted-bug.ts';
import { ofJobs } from './of-jobs.ts';

const CHANGES = 'shared/log/segment/list-changes.ts';
const STORE = 'shared/broker/heads/segment-list-store.ts';
const MERGE = 'shared/broker/jobs/merge/merge-head.ts';
const BUILD = 'shared/broker/jobs/merge/build-segments.ts';
const JOIN = 'shared/broker/jobs/merge/join-segments.ts';
const RUN = 'shared/broker/jobs/run-due.ts';
const DUE = 'shared/broker/heads/due-items.ts';

/** Of merges, joins, the segment list and the due items. */
export const MERGE_BUGS: readonly PlantedBug[] = ofJobs(
  {
    name: 'overlapping-merges-commit',
    why: 'A merge commits although another has merged the same entries.',
    edits: [
      {
        file: CHANGES,
        from: 'if (list.mergedEntry !== fromEntry || toEntry <= fromEntry)',
        to: 'if (toEntry <= fromEntry)',
      },
    ],
  },
  {
    name: 'list-written-without-condition',
    why: 'A segment list is written without asking for the version that it was decided from.',
    edits: [
      {
        file: STORE,
        from: "expected === 0 ? { if: 'item_absent' } : { if: 'equals', name: SEGMENT_LIST.version, value: expected },",
        to: '',
      },
    ],
  },
  {
    name: 'own-list-not-recognized',
    why: 'Any list of the expected version is taken for the own update whose reply was lost.',
    edits: [
      {
        file: STORE,
        from: 'met.version === next.version && sameWriter(met, next)',
        to: 'met.version === next.version',
      },
    ],
  },
  {
    name: 'segments-committed-before-they-are-written',
    why: 'A merge is committed while its segments are still being written.',
    edits: [
      {
        file: MERGE,
        from: 'await putSegments(context, stores,',
        to: 'const early = (...all: Parameters<typeof putSegments>) => void putSegments(...all).catch(() => {}); early(context, stores,',
      },
    ],
  },
  {
    name: 'producers-not-stored-by-a-merge',
    why: 'Nodes count as merged although their producers are only known from them.',
    edits: [
      {
        file: MERGE,
        from: "await retrying(context, 'from_error', () => checkpointProducers(items, name, toEntry, nowMs()));",
        to: '',
      },
    ],
  },
  {
    name: 'uses-not-stored-by-a-merge',
    why: 'Nodes count as merged although the uses of idempotency keys are only known from them.',
    edits: [{ file: MERGE, from: 'for (const node of nodes)\n', to: 'for (const node of [] as typeof nodes)\n' }],
  },
  {
    name: 'totals-without-the-last-node',
    why: 'A merge writes down the totals as of the beginning of its last node.',
    edits: [
      { file: BUILD, from: 'const totals = addTotals(last.before, last.entries);', to: 'const totals = last.before;' },
    ],
  },
  {
    name: 'data-of-the-last-entries-left-out',
    why: 'A merge leaves out the data of the last entries.',
    edits: [
      {
        file: BUILD,
        from: 'for (let at = 0; at < entries.length; )',
        to: 'for (let at = 0; at < entries.length - 8; )',
      },
    ],
  },
  {
    name: 'joined-in-the-wrong-order',
    why: 'The segments of a join are copied from the newest to the oldest.',
    edits: [{ file: JOIN, from: 'const ranges = sources.map(', to: 'const ranges = sources.toReversed().map(' }],
  },
  {
    name: 'joined-with-a-gap',
    why: 'A join takes the first and the last segments of a run, and drops those between them.',
    edits: [{ file: JOIN, from: 'sources = plan;', to: 'sources = plan.filter((_, i) => i !== 3);' }],
  },
  {
    name: 'commit-of-a-dead-announcement',
    isUnmet: true,
    why: 'A merge commits although its announcement was given up, and what it wrote may have been deleted.',
    edits: [
      {
        file: CHANGES,
        from: 'if (announcement === undefined) return undefined;\n',
        to: 'if (announcement === undefined) return list;\n',
      },
    ],
  },
  {
    name: 'late-commit-gives-nothing-up',
    why: 'A job that comes too late leaves what it has written.',
    edits: [
      {
        file: CHANGES,
        from: 'const lost = isAnnounced(list, id) ? names : names.filter((name) => !isListed(name));',
        to: 'const lost: AnnouncedName[] = [];',
      },
    ],
  },
  {
    name: 'no-due-item-of-a-first-append',
    why: 'The first append to a head does not say when it is merged.',
    edits: [
      {
        file: 'shared/broker/heads/commit/commit-group.ts',
        from: 'if (nextEntry(head) === 0) await',
        to: 'if (nextEntry(head) < 0) await',
      },
    ],
  },
  {
    name: 'first-due-item-forgotten',
    why: 'The due item of a first append counts no longer once the list is there, though the list may name none yet.',
    edits: [
      {
        file: DUE,
        from: "if (version === 0 && named === undefined) return 'counts';",
        to: "if (version === 0 && list.version === 0) return 'counts';",
      },
    ],
  },
  {
    name: 'due-item-deleted-first',
    why: 'A visit deletes the due item that it came by before the list names the next one.',
    edits: [
      {
        file: RUN,
        from: "if (state !== 'counts') return undefined;",
        to: "if (state !== 'counts') return undefined; await drop();",
      },
    ],
  },
  {
    name: 'due-item-after-the-list',
    why: 'A due item is put after the list that names it: a crash in between leaves a head that no job finds.',
    edits: [
      { file: STORE, from: 'const scheduled = JOB_NAMES.filter(', to: 'const later = JOB_NAMES.filter(' },
      { file: STORE, from: 'for (const job of scheduled)\n', to: 'for (const job of [] as JobName[])\n' },
      {
        file: STORE,
        from: 'if (put?.ok) {',
        to: "if (put?.ok) { for (const job of later) await retrying(context, 'from_error', () => items.put(dueItemKey(name, job, next.due[job] as Due), {}));",
      },
    ],
  },
);
