import type { PlantedBug } from '../planted-bug.ts';
import { ofJobs } from './of-jobs.ts';

const CHANGES = 'shared/log/segment/list-changes.ts';
const CLEANUP = 'shared/log/segment/list-cleanup.ts';
const EXPIRE_POLICY = 'shared/log/segment/expire.ts';
const EXPIRE = 'shared/broker/jobs/expire/expire-head.ts';
const RAISE = 'shared/broker/heads/raise-starts.ts';
const SWEEP = 'shared/broker/jobs/sweep/sweep-head.ts';
const DATA = 'shared/broker/jobs/sweep/delete-data.ts';
const ORPHANS = 'shared/broker/jobs/sweep/find-orphans.ts';
const TOPICS = 'shared/broker/jobs/sweep/deleted-topics.ts';
const BUILD = 'shared/broker/jobs/merge/build-segments.ts';

/** Of retention, cleaning, orphans, and what is left of deleted topics. */
export const SWEEP_BUGS: readonly PlantedBug[] = ofJobs(
  {
    name: 'dropped-before-the-start-is-raised',
    why: 'Retention drops segments first, and raises the log start after that.',
    edits: [
      {
        file: EXPIRE,
        from: 'const head = await raiseStarts(context, items, name, observed, found.starts);',
        to: 'const head = { ...observed, partitions: observed.partitions.map((one, slot) => ({ ...one, logStartOffset: found.starts.get(slot) ?? one.logStartOffset })) };',
      },
      {
        file: EXPIRE,
        from: "if (!('unread' in result)) return {",
        to: "if (!('unread' in result)) await raiseStarts(context, items, name, observed, found.starts); if (!('unread' in result)) return {",
      },
    ],
  },
  {
    name: 'start-lowered',
    isUnmet: true,
    why: 'A request to raise the log start that arrives late lowers it.',
    edits: [
      {
        file: RAISE,
        from: "...raises.map(([slot, value]) => ({ if: 'at_most' as const, name: HEAD.start(slot), value: value - 1 })),",
        to: '',
      },
    ],
  },
  {
    name: 'expired-by-the-time-of-writing',
    why: 'A part expires by when it was written, not by the timestamps of its records.',
    edits: [
      {
        file: EXPIRE_POLICY,
        from: 'laterMs(part.maxTimestampMs >= 0 ? part.maxTimestampMs : writtenAtMs(entry), retentionMs + 1)',
        to: 'laterMs(writtenAtMs(entry), retentionMs + 1)',
      },
    ],
  },
  {
    name: 'segment-expires-with-its-oldest',
    why: 'A segment expires by when its oldest data was written.',
    edits: [
      {
        file: EXPIRE_POLICY,
        from: 'return maxTimestampMs >= 0 ? maxTimestampMs : segments[i + 1]?.writtenAtMs;',
        to: 'return Math.min(maxTimestampMs, segments[i]?.writtenAtMs ?? 0);',
      },
    ],
  },
  {
    name: 'retention-skips-what-stays',
    why: 'A segment that has expired takes those before it with it, which have not.',
    edits: [{ file: EXPIRE_POLICY, from: 'if (!tooOld && !tooMuch) break;', to: 'if (!tooOld && !tooMuch) continue;' }],
  },
  {
    name: 'retention-bytes-counted-short',
    why: 'What is kept for `retention.bytes` is counted with the segment that is dropped.',
    edits: [{ file: EXPIRE_POLICY, from: 'rest -= bytes;', to: 'rest -= 0;' }],
  },
  {
    name: 'retention-of-long-ago',
    isRare: true,
    why: 'A job that stood still for hours goes by the retention that the topic had before.',
    edits: [{ file: EXPIRE, from: '!(await hasSameRetention(context, topic))', to: 'false' }],
  },
  {
    name: 'retention-looks-once',
    isUnmet: true,
    why: 'Retention does not say when it looks again.',
    edits: [
      {
        file: EXPIRE,
        from: "(isOurs ? schedule : scheduleBy)(dropped, 'expire', nextAtMs)",
        to: "schedule(dropped, 'expire', undefined)",
      },
    ],
  },
  {
    name: 'cleaned-without-grace',
    why: 'Nodes and their data are deleted as soon as they are merged.',
    edits: [
      {
        file: CHANGES,
        from: 'cleanBelow: list.mergedEntry, cleanAtMs: nowMs + graceMs',
        to: 'cleanBelow: list.mergedEntry, cleanAtMs: nowMs',
      },
    ],
  },
  {
    name: 'replaced-without-grace',
    why: 'Segments are deleted as soon as others have replaced them.',
    edits: [{ file: CHANGES, from: 'const dueAtMs = nowMs + graceMs;', to: 'const dueAtMs = nowMs;' }],
  },
  {
    name: 'dropped-without-grace',
    why: 'Segments are deleted as soon as they are below the log start.',
    edits: [
      {
        file: CHANGES,
        from: 'return checked(withGarbage(dropped, names, nowMs + graceMs));',
        to: 'return checked(withGarbage(dropped, names, nowMs));',
      },
    ],
  },
  {
    name: 'entries-dropped-without-grace',
    why: 'The data of unmerged entries is deleted as soon as they are below the log start.',
    edits: [{ file: CLEANUP, from: 'dropAtMs: nowMs + graceMs', to: 'dropAtMs: nowMs' }],
  },
  {
    name: 'garbage-forgotten-first',
    why: 'Garbage leaves the list before it is deleted: a crash in between leaves it for ever.',
    edits: [
      {
        file: SWEEP,
        from: 'let deleted = 0;',
        to: 'await this.#update(list, (now) => removeGarbage(now, due)); let deleted = 0;',
      },
    ],
  },
  {
    name: 'dead-announcement-forgotten',
    why: 'What a dead job may have written is not garbage.',
    edits: [{ file: CHANGES, from: 'dead.flatMap(({ names }) => names),', to: '[],' }],
  },
  {
    name: 'replaced-segments-forgotten',
    why: 'Segments that were replaced are not garbage.',
    edits: [
      {
        file: CHANGES,
        from: 'return checked(withGarbage(replaced, names, dueAtMs));',
        to: 'return checked(replaced);',
      },
    ],
  },
  {
    name: 'cleaned-before-the-data-is-gone',
    why: 'Entries count as cleaned before their data is deleted: a crash in between leaves it for ever.',
    edits: [
      {
        file: SWEEP,
        from: 'await this.#deleteData(fresh.flatMap(({ entries }) => entries));',
        to: 'await this.#update(list, (now) => cleanedUpTo(now, cleanedEntry + fresh.length * TAIL_NODE_ENTRIES)); await this.#deleteData(fresh.flatMap(({ entries }) => entries));',
      },
    ],
  },
  {
    name: 'nodes-deleted-before-they-count-as-cleaned',
    why: 'Nodes are deleted before the list says so: a search takes them for damage.',
    edits: [
      {
        file: SWEEP,
        from: 'await this.#deleteData(fresh.flatMap(({ entries }) => entries));',
        to: 'await this.#deleteData(fresh.flatMap(({ entries }) => entries)); await this.#deleteNodes(nodes);',
      },
    ],
  },
  {
    name: 'nodes-left-by-a-crash',
    why: 'Nodes that a sweep could no longer delete, or that came back late, are not looked for.',
    edits: [
      {
        file: SWEEP,
        from: 'queryNodes(this.#stores.items, this.#name, 0, cleanBelow,',
        to: 'queryNodes(this.#stores.items, this.#name, cleanedEntry, cleanBelow,',
      },
      {
        file: SWEEP,
        from: 'queryNodes(items, this.#name, 0, list.cleanedEntry,',
        to: 'queryNodes(items, this.#name, list.cleanedEntry, list.cleanedEntry,',
      },
    ],
  },
  {
    name: 'continued-data-deleted',
    why: 'Data is deleted with the first of the entries that have parts of it.',
    edits: [
      {
        file: DATA,
        from: 'dataParts(entry).length > 0 && !entry.continued',
        to: 'dataParts(entry).length > 0 || entry.continued',
      },
    ],
  },
  {
    name: 'shared-object-deleted-at-once',
    why: 'An object of several heads is deleted with the first of them that needs it no longer.',
    edits: [
      {
        file: DATA,
        from: 'if (attributes[REFERENCE.mark(other)] === undefined) return;',
        to: 'if (attributes[REFERENCE.mark(other)] === null) return;',
      },
    ],
  },
  {
    name: 'orphan-deleted-unrefused',
    why: 'An orphan is deleted while its head would still accept it.',
    edits: [{ file: ORPHANS, from: 'if (!canCommit) return;', to: 'if (canCommit || !canCommit) return;' }],
  },
  {
    name: 'orphan-not-looked-for-again',
    isUnmet: true,
    why: 'What was committed between the look at a head and its refusal is taken for an orphan.',
    edits: [
      {
        file: ORPHANS,
        from: 'for (const id of await findReferred(items, name, head, unseen, ids, ask)) referred.add(id);',
        to: 'void [head, unseen, ids];',
      },
    ],
  },
  {
    name: 'old-data-not-refused',
    isUnmet: true,
    why: 'A commit does not ask whether its data is too old, and may have been swept.',
    edits: [
      {
        file: 'shared/broker/heads/commit/commit-entry.ts',
        from: "{ if: 'at_most', name: HEAD.refusesBefore, value: writtenAtMs(commit.entry) },",
        to: '',
      },
      {
        file: 'shared/broker/heads/commit/commit-group.ts',
        from: 'if (refuses(head, written)) throw writtenTooLongAgo();',
        to: '',
      },
    ],
  },
  {
    name: 'merged-below-the-log-start',
    why: 'A merge reads data below the log start, which may be gone.',
    edits: [
      {
        file: BUILD,
        from: 'parts.filter(isKept)',
        to: 'parts.filter((placed) => isKept(placed) || true)',
      },
    ],
  },
  {
    name: 'merge-skips-what-is-kept',
    why: 'A merge leaves out a part that the log start is amid.',
    edits: [
      {
        file: BUILD,
        from: 'endOffset(placed) > partitionState(head, placed.part.slot).logStartOffset;',
        to: 'placed.baseOffset >= partitionState(head, placed.part.slot).logStartOffset;',
      },
    ],
  },
  {
    name: 'dropped-segments-come-back',
    isUnmet: true,
    why: 'A merge adds segments below what retention has dropped meanwhile.',
    edits: [
      {
        file: CHANGES,
        from: 'segments: [...was.segments, ...segments.filter(isKept)]',
        to: 'segments: [...was.segments, ...segments]',
      },
    ],
  },
  {
    name: 'use-not-looked-for-in-items',
    isUnmet: true,
    why: 'The use of an idempotency key is only looked for in nodes, not where a merge has stored it.',
    edits: [
      {
        file: 'shared/broker/heads/uses.ts',
        from: 'if (packed instanceof Uint8Array) return unpackUse(packed);',
        to: '',
      },
    ],
  },
  {
    name: 'missing-nodes-taken-for-empty',
    isUnmet: true,
    why: 'A commit that finds no nodes any more is taken for refused, though an earlier try of it may be merged.',
    edits: [
      {
        file: 'shared/broker/heads/commit/commit-entry.ts',
        from: 'if (start === from) return undefined;',
        to: 'if (start >= from) return undefined;',
      },
    ],
  },
  {
    name: 'producers-kept-over-deleted-nodes',
    isUnmet: true,
    why: 'A process goes on with the producers that it knows although the nodes in between are gone.',
    edits: [
      {
        file: 'shared/broker/heads/producers.ts',
        from: 'if (events === undefined) this.known.clear();',
        to: 'if (events === undefined) this.asOf = head.firstEntry;',
      },
    ],
  },
  {
    name: 'reader-does-not-look-again',
    isUnmet: true,
    why: 'A reader whose segment list is older than what was deleted takes that for damage.',
    edits: [
      {
        file: 'shared/broker/read/view-partitions.ts',
        from: 'if (!(error instanceof MissingDataError)) throw error;',
        to: 'throw error;',
      },
    ],
  },
  {
    name: 'deleted-topic-swept-at-once',
    why: 'The data of a deleted topic goes while reads of it are under way.',
    edits: [
      {
        file: 'shared/broker/topics/delete-topic.ts',
        from: 'context.clock.nowMs() + GARBAGE_GRACE_MS',
        to: 'context.clock.nowMs()',
      },
    ],
  },
  {
    name: 'deleted-topic-opens-again',
    why: 'The heads of a deleted topic are removed, and a late commit makes them again.',
    edits: [
      {
        file: TOPICS,
        from: 'items.put(key, { [HEAD.closed]: 1, [HEAD.expiresAt]: expiresAt })',
        to: 'items.delete(key)',
      },
    ],
  },
  {
    name: 'segments-of-deleted-topics-left',
    why: 'The segments of a deleted topic stay.',
    edits: [{ file: TOPICS, from: 'if (!(await this.#deleteSegments())) return false;', to: '' }],
  },
);
