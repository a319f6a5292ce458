import { EventLogError } from '../../../log/errors.ts';
import { dataParts } from '../../../log/head/entry.ts';
import { type Head, nextEntry, type PlacedPart, partitionState } from '../../../log/head/head.ts';
import type { BatchOutcome, HeadAppend, PlacedBatch } from '../../../log/head/head-append.ts';
import {
  type CommitPlan,
  type PlannedCommit,
  type PlannedOutcome,
  planCommit,
  type WrittenData,
} from '../../../log/head/plan-commit.ts';
import type { UsePart } from '../../../log/head/use.ts';
import { OPEN_TRANSACTIONS_MAX } from '../../../log/limits.ts';
import type { ItemStore } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import { retrying } from '../../retry.ts';
import { noRequests } from '../../usage/request-counts.ts';
import { putFirstDue } from '../due-items.ts';
import { type KnownHead, observeHead, observeNow } from '../known-head.ts';
import { transactionsOf } from '../known-nodes.ts';
import { moveTailLater } from '../move-tail.ts';
import { findUse } from '../uses.ts';
import { commitEntry, refuses } from './commit-entry.ts';
import type { HeadGroup } from './head-group.ts';
import { notSettledInTime } from './send-until-certain.ts';

export interface CommitListener {
  /** Called with the placed parts of each entry, before the entry's appends are settled. */
  readonly committed: (placed: readonly PlacedPart[]) => void;
  /** Called with work that continues after the appends are settled. */
  readonly track: (work: Promise<unknown>) => void;
}

/**
 * Settles every append of a group whose data has been written. Each round observes the head, plans and commits. Appends
 * that wait for another append's entry, and appends of a rejected commit, are planned again in the next round. Its requests
 * count as those of transactions as far as its appends are markers.
 * @throws EventLogError if appends could not be settled in time
 */
export async function commitGroup(
  context: BrokerContext,
  known: KnownHead,
  group: HeadGroup,
  written: WrittenData,
  listener: CommitListener,
): Promise<void> {
  const { usage } = context;
  const { topicName } = known;
  const { markerShare } = group;
  if (markerShare === 0) return settle(context, known, group, written, listener, usage.of(topicName, 'append').items);
  const counts = noRequests();
  try {
    await settle(context, known, group, written, listener, usage.into(counts).items);
  } finally {
    usage.add(topicName, 'transaction', counts, markerShare);
    if (markerShare < 1) usage.add(topicName, 'append', counts, 1 - markerShare);
  }
}

async function settle(
  context: BrokerContext,
  known: KnownHead,
  group: HeadGroup,
  written: WrittenData,
  { committed, track }: CommitListener,
  items: ItemStore,
): Promise<void> {
  const deadlineMs = context.clock.nowMs() + context.settings.commitTimeoutMs;
  const remembered = known.head;
  let head = await observeHead(context, known, items);
  let isFresh = head !== remembered;
  while (group.unsettled.length > 0) {
    if (head.closed) return group.settleAllAsClosed();
    if (context.clock.nowMs() > deadlineMs) throw notSettledInTime('not_applied');
    const appends = await settleRepeats(context, group, items, head);
    await bringProducers(context, known, items, head, appends);
    const producers = {
      stateOf: (id: number) => known.producers.stateOf(id),
      isYoung: (id: number) => context.youngProducers.isYoung(id),
      hasNoRoom: await hasNoRoom(context, known, items, head, appends),
    };
    const plan = planCommit(head, producers, appends, group.layout, written);
    if (!isFresh && hasRefusals(plan)) {
      // The cached head may be stale. A commit is safe because its conditions check the head; a rejection has no such check.
      head = await observeNow(context, known, items);
      isFresh = true;
      continue;
    }
    for (const [append, outcomes] of plan.settled) group.settle(append, outcomes);
    if (plan.commit === undefined) continue;
    if (refuses(head, written)) throw writtenTooLongAgo();
    if (nextEntry(head) === 0) await retrying(context, 'not_applied', () => putFirstDue(context, items, known.name));
    const { commit } = plan;
    const beside = dataParts(commit.entry).length > 0 ? group.unwritten : undefined;
    const fate = await commitEntry(context, known, items, head, { commit, beside }, deadlineMs);
    if (fate.applied) {
      if (beside !== undefined) group.unwritten = undefined;
      moveTailLater(context, known, track);
      committed(fate.placed);
      settleCommitted(group, commit, fate.placed, fate.head);
    }
    head = fate.head;
    isFresh = true;
  }
}

/** Settles the appends whose use of an idempotency key already has an entry, and returns the others. */
async function settleRepeats(
  context: BrokerContext,
  group: HeadGroup,
  items: ItemStore,
  head: Head,
): Promise<HeadAppend[]> {
  const left: HeadAppend[] = [];
  for (const append of group.unsettled) {
    const parts =
      append.idempotency === undefined
        ? undefined
        : await findUse(items, group.name, head, append.idempotency, (request) =>
            retrying(context, 'not_applied', request),
          );
    if (parts === undefined) left.push(append);
    else group.settle(append, repeatedOutcomes(append, parts, head));
  }
  return left;
}

/** Brings the state of the group's producers up to `head`, and loads which ids are young if that matters. */
async function bringProducers(
  context: BrokerContext,
  known: KnownHead,
  items: ItemStore,
  head: Head,
  appends: readonly HeadAppend[],
): Promise<void> {
  const batches = appends.flatMap((append) => append.batches.filter((batch) => batch.producer !== undefined));
  const ended = appends.flatMap(({ marker }) => marker?.producerId ?? []);
  if (batches.length === 0 && ended.length === 0) return;
  const ids = [...batches.flatMap(({ producer }) => producer?.producerId ?? []), ...ended];
  await retrying(context, 'not_applied', () => known.producers.bringTo(items, known.name, head, ids));
  const mayHaveOvertaken = ({ slot, producer }: PlacedBatch): boolean =>
    producer !== undefined &&
    producer.baseSequence > 0 &&
    known.producers.stateOf(producer.producerId)?.slots[slot] === undefined;
  if (batches.some(mayHaveOvertaken)) await retrying(context, 'not_applied', () => context.youngProducers.load());
}

/** Whether the head has too many open transactions to take the first batch of another one. Where there are few, it is not asked. */
async function hasNoRoom(
  context: BrokerContext,
  { name }: KnownHead,
  items: ItemStore,
  head: Head,
  appends: readonly HeadAppend[],
): Promise<boolean> {
  const mayBegin = appends.some(({ batches }) => batches.some(({ producer }) => producer?.transaction !== undefined));
  if (!mayBegin || head.openBeforeTail !== 'in_node') return false;
  const { open } = await retrying(context, 'not_applied', () => transactionsOf(context, items, name, head));
  return open.length >= OPEN_TRANSACTIONS_MAX;
}

function writtenTooLongAgo(): EventLogError {
  return new EventLogError(
    'storage_unavailable',
    'The records were written so long before their commit that they may have been removed as garbage. Nothing was appended.',
    { outcome: 'not_applied' },
  );
}

function hasRefusals({ settled, commit }: CommitPlan): boolean {
  for (const outcomes of settled.values()) if (outcomes.some(({ type }) => type === 'failed')) return true;
  for (const outcomes of commit?.appends.values() ?? []) {
    if (outcomes.some(({ type }) => type === 'failed')) return true;
  }
  return false;
}

function settleCommitted(group: HeadGroup, commit: PlannedCommit, placed: readonly PlacedPart[], head: Head): void {
  const firstOffsets = new Map<number, number>();
  for (const { part, baseOffset } of placed) if (!firstOffsets.has(part.slot)) firstOffsets.set(part.slot, baseOffset);
  const settled = (outcome: PlannedOutcome): BatchOutcome => {
    if (outcome.type !== 'pending') return outcome;
    const first = firstOffsets.get(outcome.slot);
    if (first === undefined) throw new EventLogError('internal', 'An entry lacks a slot that it was planned with.');
    const { logStartOffset } = partitionState(head, outcome.slot);
    return { type: 'appended', baseOffset: first + outcome.offsetInEntry, logStartOffset };
  };
  for (const [append, outcomes] of commit.appends) group.settle(append, outcomes.map(settled));
}

/** Maps parts to batches: the entry holds the append's batches by slot, in their order, each as a separate part. */
function repeatedOutcomes(append: HeadAppend, parts: readonly UsePart[], head: Head): BatchOutcome[] {
  if (parts.length === 0) return append.batches.map(() => ({ type: 'failed', error: useShutOut() }));
  const left = parts.slice();
  return append.batches.map((batch): BatchOutcome => {
    const at = left.findIndex(({ slot }) => slot === batch.slot);
    const [part] = at < 0 ? [] : left.splice(at, 1);
    if (part === undefined || part.records !== batch.records) {
      return { type: 'failed', error: madeOtherwise() };
    }
    const { logStartOffset } = partitionState(head, batch.slot);
    return { type: 'duplicate', baseOffset: part.baseOffset, logStartOffset };
  });
}

function madeOtherwise(): EventLogError {
  return new EventLogError('internal', 'An attempt under an idempotency key made other batches than an earlier one.');
}

function useShutOut(): EventLogError {
  return new EventLogError(
    'idempotency_key_reused',
    'An earlier request with this idempotency key was rejected, and the key was released for a corrected one. Send this request with a new key.',
  );
}
