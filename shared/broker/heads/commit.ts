import { equalBytes } from '../../log/bytes.ts';
import { EventLogError } from '../../log/errors.ts';
import { packEntry } from '../../log/head/entry.ts';
import {
  type Head,
  holdsOnceKey,
  indexInTail,
  nextEntry,
  type PlacedPart,
  partitionState,
  placeNode,
  placeTail,
  TAIL_ENTRIES_MAX,
  TAIL_NODE_ENTRIES,
} from '../../log/head/head.ts';
import { idempotencyOnceKey } from '../../log/head/once-key.ts';
import {
  type AppendUnit,
  type CommitPlan,
  type PartOutcome,
  type PlannedCommit,
  type PlannedOutcome,
  planCommit,
  type WrittenData,
} from '../../log/head/plan-commit.ts';
import { HEAD, headKey } from '../../storage/keys.ts';
import type { Condition, Update } from '../../storage/ports.ts';
import type { BrokerContext } from '../context.ts';
import { keepPart } from '../data/read-part.ts';
import { retrying } from '../retry.ts';
import type { Stores } from '../usage/usage-meter.ts';
import { type Ask, type HeadName, headFromAttributes, nodeKey, nodesBetween, nodeToMove, readHead } from './items.ts';
import type { HeadBatch, HeadQueue } from './known-head.ts';
import { checkpointProducers } from './producers.ts';

/**
 * Commits to one head, and moves its tail. A commit is once, whatever is retried: it demands that its own entry is not in
 * the tail, and that the tail begins at or before the sequence observed before the first try. So an entry that was applied
 * is either still in the tail, or in a tail node at or after that sequence. What a plan assumed (offsets, producers, keys)
 * is demanded likewise.
 *
 * An entry is changed only when the try before can't be applied any more, now or late: every refusal but that for a full
 * tail is for good, since `firstEntry` and `next` never go back and a once key leaves the head only when `firstEntry` passes it.
 * After a refusal for a full tail the very same bytes are sent again.
 *
 * `test/model/commit-protocol` goes through every state of this for a few writers, and repeats the order of the checks
 * here: what changes here changes there.
 */
export class HeadCommits {
  private readonly context: BrokerContext;
  /** Told of work that goes on after an append was answered. */
  private readonly track: (work: Promise<unknown>) => void;

  constructor(context: BrokerContext, track: (work: Promise<unknown>) => void) {
    this.context = context;
    this.track = track;
  }

  /** Settles every unit of the batch, whose data has been written. */
  async commitBatch(batch: HeadBatch, written: WrittenData): Promise<void> {
    const { queue } = batch;
    const { items } = this.context.usage.of(queue.topic.name, 'append');
    const deadlineMs = this.context.clock.nowMs() + this.context.settings.commitTimeoutMs;
    const remembered = queue.head;
    let head = await this.observe(queue, items);
    let isFresh = head !== remembered;
    while (batch.unsettled.length > 0) {
      if (head.closed) return batch.settleAll('head_closed');
      if (this.context.clock.nowMs() > deadlineMs) throw commitTimeout('not_applied');
      const units = await this.withoutRepeats(batch, items, head);
      const producerIds = units.flatMap((unit) => unit.parts.flatMap((part) => part.producer?.producerId ?? []));
      if (producerIds.length > 0) {
        const known = head;
        await retrying(this.context, 'not_applied', () =>
          queue.producers.bringTo(items, queue.name, known, producerIds),
        );
      }
      const plan = planCommit(head, (id) => queue.producers.get(id), units, batch.layout, written);
      if (!isFresh && hasRefusals(plan)) {
        // What is in memory may lack what other processes did: enough to commit against, not to refuse by.
        const sentAtMs = this.context.clock.nowMs();
        head = queue.see(await retrying(this.context, 'not_applied', () => readHead(items, queue.name)), sentAtMs);
        isFresh = true;
        continue;
      }
      for (const [unit, outcomes] of plan.settled) batch.settle(unit, outcomes);
      if (plan.commit === undefined) continue;
      const result = await this.commit(queue, items, head, plan.commit, deadlineMs);
      if (result.applied) this.acknowledge(batch, plan.commit, result.baseOffsets, result.head);
      head = result.head;
      isFresh = true;
    }
  }

  /** From memory while fresh, else 1 GetItem. */
  async observe(queue: HeadQueue, items: Stores['items']): Promise<Head> {
    const nowMs = this.context.clock.nowMs();
    const ageMs = nowMs - queue.observedAtMs;
    if (queue.head !== undefined && ageMs >= 0 && ageMs < this.context.settings.headCacheMs) return queue.head;
    const head = await retrying(this.context, 'not_applied', () => readHead(items, queue.name));
    return queue.see(head, nowMs);
  }

  /** The units that are left once those were settled whose idempotency key an entry holds already. */
  private async withoutRepeats(batch: HeadBatch, items: Stores['items'], head: Head): Promise<AppendUnit[]> {
    const left: AppendUnit[] = [];
    for (const unit of batch.unsettled) {
      const parts =
        unit.idempotency === undefined
          ? undefined
          : await this.findKeyed(batch.queue.name, items, head, unit.idempotency);
      if (parts === undefined) left.push(unit);
      else batch.settle(unit, repeatedOutcomes(unit, parts, head));
    }
    return left;
  }

  private async findKeyed(
    name: HeadName,
    items: Stores['items'],
    head: Head,
    idempotency: NonNullable<AppendUnit['idempotency']>,
  ): Promise<PlacedPart[] | undefined> {
    const key = idempotencyOnceKey(idempotency.hash);
    if (holdsOnceKey(head, key)) return keyedParts(placeTail(head), head.once, key);
    const ask: Ask = (request) => retrying(this.context, 'not_applied', request);
    for await (const node of nodesBetween(items, name, idempotency.observedEntry, head.firstEntry, ask)) {
      if (node.once.some((left) => equalBytes(left, key))) return keyedParts(placeNode(node), node.once, key);
    }
    return undefined;
  }

  /** Sends the update until its fate is certain. Not applied: the plan's assumptions no longer hold for `head`. */
  private async commit(
    queue: HeadQueue,
    items: Stores['items'],
    observed: Head,
    commit: PlannedCommit,
    deadlineMs: number,
  ): Promise<CommitResult> {
    const key = headKey(queue.name.topicId, queue.name.headNumber);
    const observedEntry = nextEntry(observed);
    const { updates, conditions } = commitRequest(commit, observedEntry);
    for (let outcome: 'as_it_says' | 'unknown' = 'as_it_says'; ; outcome = 'unknown') {
      const sentAtMs = this.context.clock.nowMs();
      const result = await retrying(this.context, outcome, () => items.update(key, updates, conditions), deadlineMs);
      const met = headFromAttributes(result.attributes, observed);
      const head = queue.see(met, sentAtMs);
      if (result.ok) {
        this.moveTailLater(queue);
        const baseOffsets = new Map(
          [...commit.recordsBySlot].map(([slot, records]) => [slot, partitionState(met, slot).nextOffset - records]),
        );
        return { applied: true, baseOffsets, head };
      }
      const index = indexInTail(met, commit.packed);
      if (index >= 0) {
        const placed = placeTail(met).filter((part) => part.entryNumber === met.firstEntry + index);
        return { applied: true, baseOffsets: firstOffsets(placed), head };
      }
      if (met.firstEntry > observedEntry) {
        const placed = await this.findInNodes(
          queue.name,
          items,
          commit.packed,
          observedEntry,
          met.firstEntry,
          deadlineMs,
        );
        return placed === undefined
          ? { applied: false, head }
          : { applied: true, baseOffsets: firstOffsets(placed), head };
      }
      if (met.closed || contradicts(met, commit)) return { applied: false, head };
      if (met.tail.length < TAIL_ENTRIES_MAX) {
        throw new EventLogError(
          'internal',
          'A commit was refused, yet every condition of it holds for the head that was met.',
        );
      }
      if (this.context.clock.nowMs() > deadlineMs) throw commitTimeout('unknown');
      // From here on a try before whose reply was lost may still be applied, late.
      await retrying(this.context, 'unknown', () => this.moveTail(queue), deadlineMs);
    }
  }

  private async findInNodes(
    name: HeadName,
    items: Stores['items'],
    packed: Uint8Array,
    from: number,
    to: number,
    deadlineMs: number,
  ): Promise<PlacedPart[] | undefined> {
    const ask: Ask = (request) => retrying(this.context, 'unknown', request, deadlineMs);
    for await (const node of nodesBetween(items, name, from, to, ask)) {
      const index = node.entries.findIndex((entry) => equalBytes(packEntry(entry), packed));
      if (index >= 0) return placeNode(node).filter((part) => part.entryNumber === node.firstEntry + index);
    }
    return undefined;
  }

  private acknowledge(
    batch: HeadBatch,
    commit: PlannedCommit,
    baseOffsets: ReadonlyMap<number, number>,
    head: Head,
  ): void {
    const { topic, headNumber } = batch.queue;
    const partitionOf = (slot: number): number => headNumber * topic.partitionsPerHead + slot;
    const next = new Map(baseOffsets);
    for (const part of commit.entry.parts) {
      const baseOffset = next.get(part.slot) as number;
      next.set(part.slot, baseOffset + part.records);
      // Whoever waits at the end reads these bytes next; a copy, since the part is a view on a whole request.
      if (this.context.signals.isAwaited(topic.topicId, partitionOf(part.slot))) {
        const placed = { entryNumber: UNKNOWN_ENTRY, entry: commit.entry, part, baseOffset };
        keepPart(this.context, batch.slice(part.position, part.bytes), placed);
      }
    }
    for (const [unit, outcomes] of commit.units) {
      batch.settle(
        unit,
        outcomes.map((outcome) => placeOutcome(outcome, baseOffsets, head)),
      );
    }
    for (const slot of commit.recordsBySlot.keys()) this.context.signals.appended(topic.topicId, partitionOf(slot));
  }

  /** Off the way of the append that noticed. A failure is left to the next append, which notices again. */
  private moveTailLater(queue: HeadQueue): void {
    if (queue.moving || (queue.head?.tail.length ?? 0) < TAIL_NODE_ENTRIES) return;
    queue.moving = true;
    const move = async (): Promise<void> => {
      while ((queue.head?.tail.length ?? 0) >= TAIL_NODE_ENTRIES) await this.moveTail(queue);
    };
    this.track(
      move()
        .catch(() => {})
        .finally(() => {
          queue.moving = false;
        }),
    );
  }

  /** Moves the oldest eight entries into a tail node: 1 PutItem + 1 UpdateItem. Movers may race; all write the same. */
  private async moveTail(queue: HeadQueue): Promise<void> {
    const head = queue.head;
    if (head === undefined || head.tail.length < TAIL_NODE_ENTRIES) return;
    const { items } = this.context.usage.of(queue.topic.name, 'move_tail');
    const { firstEntry, node, updates } = nodeToMove(head);
    await items.put(nodeKey(queue.name, firstEntry), node);
    const key = headKey(queue.name.topicId, queue.name.headNumber);
    const sentAtMs = this.context.clock.nowMs();
    const result = await items.update(key, updates, [{ if: 'equals', name: HEAD.firstEntry, value: firstEntry }]);
    queue.see(headFromAttributes(result.attributes, head), sentAtMs);
    const end = firstEntry + TAIL_NODE_ENTRIES;
    if (result.ok && end % this.context.settings.checkpointEntries === 0)
      await checkpointProducers(items, queue.name, end, this.context.clock.nowMs());
  }
}

/** Of an entry whose place does not matter. */
const UNKNOWN_ENTRY = -1;

type CommitResult =
  | { readonly applied: true; readonly baseOffsets: ReadonlyMap<number, number>; readonly head: Head }
  | { readonly applied: false; readonly head: Head };

function hasRefusals(plan: CommitPlan): boolean {
  for (const outcomes of plan.settled.values()) if (outcomes.some((outcome) => outcome.type === 'failed')) return true;
  for (const outcomes of plan.commit?.units.values() ?? [])
    if (outcomes.some((outcome) => outcome.type === 'failed')) return true;
  return false;
}

function commitRequest(commit: PlannedCommit, observedEntry: number): { updates: Update[]; conditions: Condition[] } {
  const updates: Update[] = [{ do: 'append', name: HEAD.tail, values: [commit.packed] }];
  for (const [slot, by] of commit.recordsBySlot) updates.push({ do: 'add', name: HEAD.next(slot), by });
  if (commit.leave.length > 0) updates.push({ do: 'append', name: HEAD.once, values: commit.leave });
  const conditions: Condition[] = [
    { if: 'absent', name: HEAD.closed },
    { if: 'at_most', name: HEAD.firstEntry, value: observedEntry },
    { if: 'lacks', name: HEAD.tail, value: commit.packed },
    { if: 'shorter_than', name: HEAD.tail, length: TAIL_ENTRIES_MAX },
  ];
  for (const value of commit.demandAbsent) conditions.push({ if: 'lacks', name: HEAD.once, value });
  for (const [slot, value] of commit.expected) conditions.push({ if: 'equals', name: HEAD.next(slot), value });
  return { updates, conditions };
}

/** Whether the head holds something that the plan took to be absent, or has moved past an expected offset. */
function contradicts(head: Head, commit: PlannedCommit): boolean {
  if (commit.demandAbsent.some((key) => holdsOnceKey(head, key))) return true;
  return [...commit.expected].some(([slot, offset]) => partitionState(head, slot).nextOffset !== offset);
}

function firstOffsets(placed: readonly PlacedPart[]): Map<number, number> {
  const offsets = new Map<number, number>();
  for (const { part, baseOffset } of placed) if (!offsets.has(part.slot)) offsets.set(part.slot, baseOffset);
  return offsets;
}

function placeOutcome(outcome: PlannedOutcome, baseOffsets: ReadonlyMap<number, number>, head: Head): PartOutcome {
  if (outcome.type !== 'pending') return outcome;
  const first = baseOffsets.get(outcome.slot);
  if (first === undefined) throw new EventLogError('internal', 'An entry lacks a slot that it was planned with.');
  return {
    type: 'appended',
    baseOffset: first + outcome.offsetInEntry,
    logStartOffset: partitionState(head, outcome.slot).logStartOffset,
  };
}

/** The parts that were appended under the key, out of all parts of consecutive entries and all their once keys. */
function keyedParts(placed: readonly PlacedPart[], once: readonly Uint8Array[], key: Uint8Array): PlacedPart[] {
  const found: PlacedPart[] = [];
  let keysBefore = 0;
  let entryNumber = -1;
  let keys = 0;
  for (const part of placed) {
    if (part.entryNumber !== entryNumber) {
      keysBefore += keys;
      keys = part.entry.onceKeys;
      entryNumber = part.entryNumber;
    }
    const own = part.part.keyed === undefined ? undefined : once[keysBefore + part.part.keyed];
    if (own !== undefined && equalBytes(own, key)) found.push(part);
  }
  return found;
}

/** The unit's batches stand in the entry by slot, and within a slot in their order: each as a part of its own. */
function repeatedOutcomes(unit: AppendUnit, parts: readonly PlacedPart[], head: Head): PartOutcome[] {
  const left = parts.slice();
  return unit.parts.map((part): PartOutcome => {
    const at = left.findIndex((placed) => placed.part.slot === part.slot);
    const [placed] = at < 0 ? [] : left.splice(at, 1);
    if (placed === undefined || placed.part.records !== part.records) {
      return {
        type: 'failed',
        error: new EventLogError(
          'idempotency_key_reused',
          'This idempotency key was used to append something else. Use a new key for new content.',
        ),
      };
    }
    return {
      type: 'duplicate',
      baseOffset: placed.baseOffset,
      logStartOffset: partitionState(head, part.slot).logStartOffset,
    };
  });
}

function commitTimeout(outcome: 'not_applied' | 'unknown'): EventLogError {
  return new EventLogError('storage_unavailable', 'The append could not be settled in time.', { outcome });
}
