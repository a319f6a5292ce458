import { equalBytes } from '../../../log/bytes.ts';
import { EventLogError } from '../../../log/errors.ts';
import { batchTimeMs } from '../../../log/head/batch-id.ts';
import { type Entry, packEntry } from '../../../log/head/entry.ts';
import {
  type Head,
  holdsOnceKey,
  indexInTail,
  nextEntry,
  type PlacedPart,
  partitionState,
  placeEntry,
  placeNode,
  placeTail,
  TAIL_ENTRIES_MAX,
  writtenAtMs,
} from '../../../log/head/head.ts';
import type { PlannedCommit } from '../../../log/head/plan-commit.ts';
import { HEAD, headKey } from '../../../storage/keys.ts';
import type { Condition, ItemStore, ItemToPut, Update } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import { retrying } from '../../retry.ts';
import { headFromAttributes, nodesBetween } from '../items.ts';
import type { KnownHead } from '../known-head.ts';
import { moveTail } from '../move-tail.ts';
import { firstEntryKept } from '../segment-list-store.ts';
import { notSettledInTime, sendUntilCertain } from './send-until-certain.ts';

/** `head` is the newest known state. If the entry was not applied, the plan's assumptions no longer hold for it. */
export type CommitFate =
  | { readonly applied: true; readonly placed: readonly PlacedPart[]; readonly head: Head }
  | { readonly applied: false; readonly head: Head };

export interface EntryToCommit {
  readonly commit: PlannedCommit;
  /** The entry's data, if it becomes durable together with the entry. Every attempt puts the same bytes. */
  readonly beside: ItemToPut | undefined;
}

/**
 * Appends a planned entry to a head: 1 UpdateItem, repeated until its fate is certain. Whatever is retried, the commit is
 * applied at most once. Its conditions demand that its own entry is not in the tail, and that the tail begins at or before
 * the entry that came next in `observed`. So an applied entry is either still in the tail, or in a tail node from that
 * entry on. Further conditions demand what the plan assumed (offsets, producers, keys).
 *
 * Every rejection except for a full tail is final: `firstEntry` and `next` never decrease, and a once key leaves the head
 * only when `firstEntry` passes it. Only after a final rejection may the caller plan another entry for the same batches.
 * After a rejection for a full tail, the identical bytes are sent again.
 *
 * `test/model/commit-protocol` explores every state of this protocol for a few writers. It repeats the order of the checks,
 * so a change here requires the same change there.
 * @throws EventLogError the errors of `sendUntilCertain`
 */
export function commitEntry(
  context: BrokerContext,
  known: KnownHead,
  items: ItemStore,
  observed: Head,
  { commit, beside }: EntryToCommit,
  deadlineMs: number,
): Promise<CommitFate> {
  const key = headKey(known.name.topicId, known.name.headNumber);
  const observedEntry = nextEntry(observed);
  const { updates, conditions } = commitRequest(commit, observedEntry);
  const send = () => items.update(key, updates, conditions, beside);
  return sendUntilCertain<CommitFate>(
    context,
    {
      send,
      judge: async (answer, sentAtMs) => {
        const met = headFromAttributes(answer.attributes, observed);
        const head = known.see(met, sentAtMs);
        if (answer.ok) return { applied: true, placed: placeNewest(met, commit), head };
        const index = indexInTail(met, commit.packed);
        if (index >= 0) return { applied: true, placed: partsOf(placeTail(met), met.firstEntry + index), head };
        if (met.firstEntry > observedEntry) {
          const placed = await findInNodes(
            context,
            known,
            items,
            commit.packed,
            observedEntry,
            met.firstEntry,
            deadlineMs,
          );
          return placed === undefined ? { applied: false, head } : { applied: true, placed, head };
        }
        if (met.closed || contradicts(met, commit) || refuses(met, commit.entry)) return { applied: false, head };
        if (met.tail.length < TAIL_ENTRIES_MAX) {
          throw new EventLogError('internal', 'A commit was rejected, but the head meets all of its conditions.');
        }
        if (context.clock.nowMs() > deadlineMs) throw notSettledInTime('unknown');
        // An earlier attempt whose reply was lost can still be applied later.
        await retrying(context, 'unknown', () => moveTail(context, known), deadlineMs);
        return undefined;
      },
    },
    deadlineMs,
  );
}

function commitRequest(commit: PlannedCommit, observedEntry: number): { updates: Update[]; conditions: Condition[] } {
  const updates: Update[] = [{ do: 'append', name: HEAD.tail, values: [commit.packed] }];
  for (const [slot, by] of commit.recordsBySlot) updates.push({ do: 'add', name: HEAD.next(slot), by });
  if (commit.leave.length > 0) updates.push({ do: 'append', name: HEAD.once, values: commit.leave });
  const conditions: Condition[] = [
    { if: 'absent', name: HEAD.closed },
    { if: 'at_most', name: HEAD.refusesBefore, value: writtenAtMs(commit.entry) },
    { if: 'at_most', name: HEAD.firstEntry, value: observedEntry },
    { if: 'lacks', name: HEAD.tail, value: commit.packed },
    { if: 'shorter_than', name: HEAD.tail, length: TAIL_ENTRIES_MAX },
  ];
  for (const value of commit.demandAbsent) conditions.push({ if: 'lacks', name: HEAD.once, value });
  for (const [slot, value] of commit.expected) conditions.push({ if: 'equals', name: HEAD.next(slot), value });
  return { updates, conditions };
}

/** Whether the head refuses data of this age, which may have been swept. It never accepts it again. */
export function refuses({ refusesBeforeMs }: Head, { batchId }: Pick<Entry, 'batchId'>): boolean {
  return batchTimeMs(batchId) < refusesBeforeMs;
}

/** Whether the head holds a key that the plan assumed to be absent, or has passed an expected offset. */
function contradicts(head: Head, commit: PlannedCommit): boolean {
  if (commit.demandAbsent.some((key) => holdsOnceKey(head, key))) return true;
  return [...commit.expected].some(([slot, offset]) => partitionState(head, slot).nextOffset !== offset);
}

/** The parts of the commit's entry, which is the last entry of the head. */
function placeNewest(head: Head, { entry, recordsBySlot }: PlannedCommit): PlacedPart[] {
  const firstOffset = (slot: number): number =>
    partitionState(head, slot).nextOffset - (recordsBySlot.get(slot) as number);
  return placeEntry(entry, nextEntry(head) - 1, firstOffset);
}

function partsOf(placed: readonly PlacedPart[], entryNumber: number): PlacedPart[] {
  return placed.filter((part) => part.entryNumber === entryNumber);
}

async function findInNodes(
  context: BrokerContext,
  { name }: KnownHead,
  items: ItemStore,
  packed: Uint8Array,
  from: number,
  to: number,
  deadlineMs: number,
): Promise<PlacedPart[] | undefined> {
  const ask = <T>(request: () => Promise<T>) => retrying(context, 'unknown', request, deadlineMs);
  let start = from;
  for (;;) {
    try {
      for await (const node of nodesBetween(items, name, start, to, ask)) {
        const index = node.entries.findIndex((entry) => equalBytes(packEntry(entry), packed));
        if (index >= 0) return partsOf(placeNode(node), node.firstEntry + index);
      }
    } catch (error) {
      start = await firstEntryKept(items, name, start, error, ask);
      continue;
    }
    if (start === from) return undefined;
    // The entry can have been in a node that was merged and deleted since, while this process stood still.
    throw notSettledInTime('unknown');
  }
}
