import { batchIdRandomBytes, makeBatchId } from '../log/batch-id.ts';
import { concatBytes, equalBytes } from '../log/bytes.ts';
import { packEntry } from '../log/entry.ts';
import { EventLogError, type Outcome } from '../log/errors.ts';
import {
  type Head,
  holdsOnceKey,
  indexInTail,
  nextSequence,
  type PlacedPart,
  partitionState,
  placeNode,
  placeTail,
  TAIL_ENTRIES_MAX,
  TAIL_NODE_ENTRIES,
} from '../log/head.ts';
import { idempotencyOnceKey } from '../log/once-key.ts';
import type { Topic } from '../log/topic.ts';
import { HEAD, headKey, hotObjectKey, INLINE_BATCH, inlineBatchKey, REFERENCE, referenceKey } from '../storage/keys.ts';
import type { Condition, Update } from '../storage/ports.ts';
import {
  type AppendUnit,
  type CommitPlan,
  fitsCommit,
  keysDemanded,
  type LaidOutPart,
  type PartOutcome,
  type PlannedCommit,
  type PlannedOutcome,
  planCommit,
  type UnitPart,
  type WrittenData,
} from './commit-plan.ts';
import type { BrokerContext } from './context.ts';
import { dataKey } from './data.ts';
import { type HeadName, headFromAttributes, nodeKey, nodeToMove, queryNodes, readHead } from './head-items.ts';
import { checkpointProducers, HeadProducers, isCheckpointDue } from './head-producers.ts';
import { noRequests, type Stores } from './usage.ts';

/**
 * Commits appends, many at once and in any number of processes at the same time (`docs/architecture.md`, "The life of an
 * append"). Data first: the units that wait are laid out and written, small data of a head as an inline batch, the rest
 * of all heads as one hot object. Order second: one conditional update per head appends an entry and so assigns offsets.
 * While a group is being written the next one gathers; commits of one head follow each other in the order of the groups.
 *
 * A commit is once, whatever is retried: it demands that its own entry is not in the tail, and that the tail begins at or
 * before the sequence observed before the first try. So an entry that was applied is either still in the tail, or in a
 * tail node at or after that sequence. What a plan assumed (offsets, producers, keys) is demanded likewise.
 *
 * An entry is changed only when the try before can't be applied any more, now or late: every refusal but that for a full
 * tail is for good, since `tailSeq` and `next` never go back and a once key leaves the head only when `tailSeq` passes it.
 * After a refusal for a full tail the very same bytes are sent again.
 */
export class Committer {
  private readonly context: BrokerContext;
  private readonly queues = new Map<string, HeadQueue>();
  /** Queues in which appends wait. */
  private readonly waiting = new Set<HeadQueue>();
  /** Appends and tail moves under way. */
  private readonly active = new Set<Promise<unknown>>();
  private pendingBytes = 0;
  private groupsWriting = 0;
  private gathering = false;
  private closed = false;

  constructor(context: BrokerContext) {
    this.context = context;
  }

  /** @throws EventLogError `shutting_down`, or `throttled` where so many bytes more can't be taken now. */
  admit(bytes: number): void {
    if (this.closed) throw new EventLogError('shutting_down', 'The log is being closed and takes no more appends.');
    if (this.pendingBytes > 0 && this.pendingBytes + bytes > this.context.settings.pendingBytesMax) {
      throw new EventLogError(
        'throttled',
        `More than ${this.context.settings.pendingBytesMax} bytes of appends wait to be written. Send again a little later.`,
        { details: { retryAfterMs: 1_000 } },
      );
    }
  }

  /**
   * Commits the units of one head, each by itself, in their order; the caller has had them admitted.
   * Answers `head_closed` for units that met a deleted topic; nothing of them is appended.
   */
  async append(
    topic: Topic,
    headNumber: number,
    units: readonly AppendUnit[],
  ): Promise<(PartOutcome[] | 'head_closed')[]> {
    const bytes = units.reduce((sum, unit) => sum + unit.bytes, 0);
    this.pendingBytes += bytes;
    const queue = this.queueOf(topic, headNumber);
    const settled = Promise.all(
      units.map((unit) => new Promise<PartOutcome[] | 'head_closed'>((settle) => queue.waiting.push({ unit, settle }))),
    ).finally(() => {
      this.pendingBytes -= bytes;
    });
    this.waiting.add(queue);
    this.track(settled);
    this.gather();
    return settled;
  }

  /** A sequence of the head from before now; an append that begins later gets this one or a later one. 0 or 1 GetItem. */
  async observedSequence(topic: Topic, headNumber: number): Promise<number> {
    const { items } = this.context.usage.of(topic.name, 'append');
    return nextSequence(await this.observe(this.queueOf(topic, headNumber), items));
  }

  /** Resolves when no append waits and no tail is being moved. */
  async idle(): Promise<void> {
    while (this.active.size > 0) await Promise.allSettled([...this.active]);
  }

  private track(work: Promise<unknown>): void {
    this.active.add(work);
    const done = (): void => {
      this.active.delete(work);
    };
    work.then(done, done);
  }

  /** Takes no more appends, and finishes those that were accepted. */
  async close(): Promise<void> {
    this.closed = true;
    await this.idle();
  }

  private queueOf(topic: Topic, headNumber: number): HeadQueue {
    const key = `${topic.topicId}#${headNumber}`;
    const known = this.queues.get(key);
    // To the end of the map, which so is in order of use.
    if (known !== undefined) this.queues.delete(key);
    const queue = known ?? new HeadQueue(topic, headNumber);
    this.queues.set(key, queue);
    if (this.queues.size > QUEUES_KEPT_MAX) {
      for (const [oldKey, old] of this.queues) {
        if (old.depth > 0 || this.waiting.has(old) || old.moving) continue;
        this.queues.delete(oldKey);
        break;
      }
    }
    return queue;
  }

  /** Starts as many groups as may be written at once, after the appends of this moment have come together. */
  private gather(): void {
    if (this.gathering) return;
    this.gathering = true;
    const { lingerMs } = this.context.settings;
    const ready = lingerMs > 0 ? this.context.clock.sleep(lingerMs) : Promise.resolve();
    void ready.then(() => {
      this.gathering = false;
      while (this.groupsWriting < this.context.settings.groupsWritingMax) {
        const batches = this.takeGroup();
        if (batches.length === 0) return;
        this.startGroup(batches);
      }
    });
  }

  /** What waits, from all heads whose commits are not behind, up to the size of a group. */
  private takeGroup(): HeadBatch[] {
    const batches: HeadBatch[] = [];
    let bytes = 0;
    for (const queue of [...this.waiting]) {
      if (queue.depth >= GROUPS_PER_HEAD_MAX) continue;
      let keys = 0;
      let taken = 0;
      for (const { unit } of queue.waiting) {
        keys += keysDemanded(unit);
        const first = taken === 0 && batches.length === 0;
        if ((taken > 0 && !fitsCommit(keys)) || (!first && bytes + unit.bytes > this.context.settings.groupBytesMax))
          break;
        bytes += unit.bytes;
        taken++;
      }
      if (taken > 0) batches.push(new HeadBatch(queue, queue.waiting.splice(0, taken)));
      // To the end, so that no head is always served last.
      this.waiting.delete(queue);
      if (queue.waiting.length > 0) this.waiting.add(queue);
    }
    return batches;
  }

  private startGroup(batches: readonly HeadBatch[]): void {
    this.groupsWriting++;
    const written = this.writeData(batches);
    void Promise.allSettled(written.values()).then(() => {
      this.groupsWriting--;
      this.gather();
    });
    for (const batch of batches) {
      const { queue } = batch;
      const before = queue.last;
      queue.depth++;
      queue.last = before
        .then(() => written.get(batch) as Promise<WrittenData>)
        .then((data) => this.commitBatch(batch, data))
        .catch((error: unknown) => batch.fail(error))
        .finally(() => {
          queue.depth--;
          this.gather();
        });
    }
  }

  /** Writes the data of a group: an item for each head with little, one object for all others. */
  private writeData(batches: readonly HeadBatch[]): Map<HeadBatch, Promise<WrittenData>> {
    const written = new Map<HeadBatch, Promise<WrittenData>>();
    const large = batches.filter((batch) => batch.bytes > this.context.settings.inlineBytesMax);
    const shared = large.length > 0 ? this.putShared(large) : undefined;
    for (const batch of batches) {
      written.set(batch, shared !== undefined && large.includes(batch) ? shared : this.putInline(batch));
    }
    return written;
  }

  private async putInline(batch: HeadBatch): Promise<WrittenData> {
    const { items } = this.context.usage.of(batch.queue.topic.name, 'append');
    batch.layOut(0);
    const data = batch.data();
    for (;;) {
      const batchId = this.newBatchId();
      const result = await this.retrying('not_applied', () =>
        items.put(inlineBatchKey(batchId), { [INLINE_BATCH.data]: data }, [{ if: 'item_absent' }]),
      );
      const met = result.ok ? data : result.attributes?.[INLINE_BATCH.data];
      // An earlier try of ours whose reply was lost left the same bytes; another's batch under our id calls for a new one.
      if (met instanceof Uint8Array && equalBytes(met, data)) return { batchId, location: 'inline' };
    }
  }

  /** One object for several heads; what it costs is shared among their topics by bytes. */
  private async putShared(batches: readonly HeadBatch[]): Promise<WrittenData> {
    let position = 0;
    for (const batch of batches) {
      batch.layOut(position);
      position += batch.bytes;
    }
    const chunks = batches.flatMap((batch) => batch.chunks());
    const counts = noRequests();
    const { objects, items } = this.context.usage.into(counts);
    try {
      const batchId = await this.putObject(objects, chunks);
      if (batches.length > 1) {
        const heads = batches.map(({ queue }) => UTF8.encode(headKey(queue.name.topicId, queue.name.headNumber).pk));
        await this.retrying('not_applied', () => items.put(referenceKey(batchId), { [REFERENCE.heads]: heads }));
      }
      return { batchId, location: 'hot' };
    } finally {
      for (const batch of batches)
        this.context.usage.add(batch.queue.topic.name, 'append', counts, batch.bytes / position);
    }
  }

  private async putObject(objects: Stores['objects'], chunks: readonly Uint8Array[]): Promise<Uint8Array> {
    for (;;) {
      const batchId = this.newBatchId();
      const key = hotObjectKey(batchId);
      const put = await this.retrying('not_applied', () => objects.put(key, chunks));
      if (put === 'created') return batchId;
      // As with inline batches: ours if an earlier try went through, else another's.
      const data = concatBytes(chunks);
      const met = await this.retrying('not_applied', () => objects.get(key, { start: 0, end: data.length + 1 }));
      if (met !== undefined && equalBytes(met, data)) return batchId;
    }
  }

  private newBatchId(): Uint8Array {
    return makeBatchId(this.context.random.bytes(batchIdRandomBytes()), this.context.clock.nowMs());
  }

  private async commitBatch(batch: HeadBatch, written: WrittenData): Promise<void> {
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
        await this.retrying('not_applied', () => queue.producers.bringTo(items, queue.name, known, producerIds));
      }
      const plan = planCommit(head, (id) => queue.producers.get(id), units, batch.layout, written);
      if (!isFresh && hasRefusals(plan)) {
        // What is in memory may lack what other processes did: enough to commit against, not to refuse by.
        const sentAtMs = this.context.clock.nowMs();
        head = queue.see(await this.retrying('not_applied', () => readHead(items, queue.name)), sentAtMs);
        isFresh = true;
        continue;
      }
      for (const [unit, outcomes] of plan.settled) batch.settle(unit, outcomes);
      if (plan.commit === undefined) continue;
      const result = await this.commit(queue, items, head, plan.commit, deadlineMs);
      if (result.applied) this.acknowledge(batch, plan.commit, written, result.baseOffsets, result.head);
      head = result.head;
      isFresh = true;
    }
  }

  /** From memory while fresh, else 1 GetItem. */
  private async observe(queue: HeadQueue, items: Stores['items']): Promise<Head> {
    const nowMs = this.context.clock.nowMs();
    const ageMs = nowMs - queue.observedAtMs;
    if (queue.head !== undefined && ageMs >= 0 && ageMs < this.context.settings.headCacheMs) return queue.head;
    const head = await this.retrying('not_applied', () => readHead(items, queue.name));
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
    let from = idempotency.observedSeq - (idempotency.observedSeq % TAIL_NODE_ENTRIES);
    while (from < head.tailSeq) {
      const start = from;
      const nodes = await this.retrying('not_applied', () =>
        queryNodes(items, name, start, head.tailSeq, NODES_PER_QUERY),
      );
      for (const node of nodes) {
        if (node.once.some((left) => equalBytes(left, key))) return keyedParts(placeNode(node), node.once, key);
      }
      const last = nodes.at(-1);
      if (last === undefined) break;
      from = last.sequence + TAIL_NODE_ENTRIES;
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
    const observedSeq = nextSequence(observed);
    const { updates, conditions } = commitRequest(commit, observedSeq);
    for (let outcome: 'as_it_says' | 'unknown' = 'as_it_says'; ; outcome = 'unknown') {
      const sentAtMs = this.context.clock.nowMs();
      const result = await this.retrying(outcome, () => items.update(key, updates, conditions), deadlineMs);
      const met = headFromAttributes(result.attributes);
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
        const placed = placeTail(met).filter((part) => part.sequence === met.tailSeq + index);
        return { applied: true, baseOffsets: firstOffsets(placed), head };
      }
      if (met.tailSeq > observedSeq) {
        const placed = await this.findInNodes(queue.name, items, commit.packed, observedSeq, met.tailSeq, deadlineMs);
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
      await this.retrying('unknown', () => this.moveTail(queue), deadlineMs);
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
    let next = from - (from % TAIL_NODE_ENTRIES);
    while (next < to) {
      const nodes = await this.retrying(
        'unknown',
        () => queryNodes(items, name, next, to, NODES_PER_QUERY),
        deadlineMs,
      );
      for (const node of nodes) {
        const index = node.entries.findIndex((entry) => equalBytes(packEntry(entry), packed));
        if (index >= 0) return placeNode(node).filter((part) => part.sequence === node.sequence + index);
      }
      const last = nodes.at(-1);
      if (last === undefined) break;
      next = last.sequence + TAIL_NODE_ENTRIES;
    }
    return undefined;
  }

  private acknowledge(
    batch: HeadBatch,
    commit: PlannedCommit,
    written: WrittenData,
    baseOffsets: ReadonlyMap<number, number>,
    head: Head,
  ): void {
    const { topic, headNumber } = batch.queue;
    const partitionOf = (slot: number): number => headNumber * topic.partitionsPerHead + slot;
    for (const part of commit.entry.parts) {
      // Whoever waits at the end reads these bytes next; a copy, since the part is a view on a whole request.
      if (this.context.signals.isAwaited(topic.topicId, partitionOf(part.slot))) {
        this.context.cache.putData(dataKey(written.batchId, part), batch.slice(part.position, part.bytes));
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
    const { sequence, node, updates } = nodeToMove(head);
    await items.put(nodeKey(queue.name, sequence), node);
    const key = headKey(queue.name.topicId, queue.name.headNumber);
    const sentAtMs = this.context.clock.nowMs();
    const result = await items.update(key, updates, [{ if: 'equals', name: HEAD.tailSeq, value: sequence }]);
    queue.see(headFromAttributes(result.attributes), sentAtMs);
    const end = sequence + TAIL_NODE_ENTRIES;
    if (result.ok && isCheckpointDue(end))
      await checkpointProducers(items, queue.name, end, this.context.clock.nowMs());
  }

  /**
   * Repeats a request that may be repeated, until time is up. The error then tells what became of the append: `outcome`,
   * or, as the errors themselves say, `unknown` if any try may have been applied.
   */
  private async retrying<T>(
    outcome: Outcome | 'as_it_says',
    request: () => Promise<T>,
    deadlineMs?: number,
  ): Promise<T> {
    const endMs = deadlineMs ?? this.context.clock.nowMs() + this.context.settings.commitTimeoutMs;
    let known = outcome === 'as_it_says' ? 'not_applied' : outcome;
    for (let tries = 1; ; tries++) {
      try {
        return await request();
      } catch (cause) {
        const error =
          cause instanceof EventLogError
            ? cause
            : new EventLogError('internal', 'A request to the storage failed unexpectedly.', { cause });
        if (outcome === 'as_it_says' && error.outcome === 'unknown') known = 'unknown';
        const waitMs = Math.min(RETRY_WAIT_MS_MAX, RETRY_WAIT_MS * 2 ** tries) * jitter(this.context.random.bytes(1));
        const transient = error.code === 'throttled' || error.code === 'storage_unavailable';
        if (!transient || this.context.clock.nowMs() + waitMs > endMs) {
          throw new EventLogError(error.code, error.message, { cause: error, details: error.details, outcome: known });
        }
        await this.context.clock.sleep(waitMs);
      }
    }
  }
}

/** Heads that are remembered beside those at work. */
const QUEUES_KEPT_MAX = 4_096;
/** One group of a head being committed, one being written. */
const GROUPS_PER_HEAD_MAX = 2;
const NODES_PER_QUERY = 64;
const RETRY_WAIT_MS = 10;
const RETRY_WAIT_MS_MAX = 1_000;
const UTF8 = new TextEncoder();

type CommitResult =
  | { readonly applied: true; readonly baseOffsets: ReadonlyMap<number, number>; readonly head: Head }
  | { readonly applied: false; readonly head: Head };

interface WaitingUnit {
  readonly unit: AppendUnit;
  readonly settle: (outcome: PartOutcome[] | 'head_closed') => void;
}

/** One head as this process knows it, and the appends to it. */
class HeadQueue {
  readonly topic: Topic;
  readonly headNumber: number;
  readonly name: HeadName;
  readonly waiting: WaitingUnit[] = [];
  readonly producers = new HeadProducers();
  head: Head | undefined;
  observedAtMs = Number.NEGATIVE_INFINITY;
  /** The last group's end: groups of a head commit one after the other. */
  last: Promise<void> = Promise.resolve();
  depth = 0;
  moving = false;

  constructor(topic: Topic, headNumber: number) {
    this.topic = topic;
    this.headNumber = headNumber;
    this.name = { topicId: topic.topicId, headNumber };
  }

  /** Remembers the newest state seen, as of when its request was sent, and answers it. */
  see(head: Head, atMs: number): Head {
    const newer =
      this.head === undefined ||
      nextSequence(head) > nextSequence(this.head) ||
      (nextSequence(head) === nextSequence(this.head) && (head.tailSeq >= this.head.tailSeq || head.closed));
    if (newer) this.head = head;
    this.observedAtMs = Math.max(this.observedAtMs, atMs);
    return this.head as Head;
  }
}

/** The units of one head in a group, with their data laid out by slot, so that batches of a partition lie together. */
class HeadBatch {
  readonly queue: HeadQueue;
  readonly bytes: number;
  layout: LaidOutPart[] = [];
  private readonly settles: Map<AppendUnit, WaitingUnit['settle']>;
  private start = 0;

  constructor(queue: HeadQueue, waiting: readonly WaitingUnit[]) {
    this.queue = queue;
    this.bytes = waiting.reduce((sum, { unit }) => sum + unit.bytes, 0);
    this.settles = new Map(waiting.map(({ unit, settle }) => [unit, settle]));
  }

  get unsettled(): AppendUnit[] {
    return [...this.settles.keys()];
  }

  layOut(start: number): void {
    this.start = start;
    const parts = this.unsettled.flatMap((unit) => unit.parts.map((part, index) => ({ unit, index, part })));
    parts.sort((a, b) => a.part.slot - b.part.slot);
    let position = start;
    this.layout = parts.map(({ unit, index, part }) => {
      const laidOut = { unit, index, position };
      position += part.data.length;
      return laidOut;
    });
  }

  chunks(): Uint8Array[] {
    return this.layout.map(({ unit, index }) => (unit.parts[index] as UnitPart).data);
  }

  data(): Uint8Array {
    return this.slice(this.start, this.bytes);
  }

  /** A copy of a range of the data; positions count as in the object. */
  slice(position: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (const { unit, index, position: at } of this.layout) {
      const { data } = unit.parts[index] as UnitPart;
      if (at >= position && at + data.length <= position + length) bytes.set(data, at - position);
    }
    return bytes;
  }

  settle(unit: AppendUnit, outcomes: PartOutcome[] | 'head_closed'): void {
    this.settles.get(unit)?.(outcomes);
    this.settles.delete(unit);
  }

  settleAll(outcome: 'head_closed'): void {
    for (const unit of this.unsettled) this.settle(unit, outcome);
  }

  fail(cause: unknown): void {
    const error =
      cause instanceof EventLogError
        ? cause
        : new EventLogError('internal', 'The append met an error that it should not.', { cause });
    for (const unit of this.unsettled) {
      this.settle(
        unit,
        unit.parts.map(() => ({ type: 'failed', error })),
      );
    }
  }
}

function hasRefusals(plan: CommitPlan): boolean {
  for (const outcomes of plan.settled.values()) if (outcomes.some((outcome) => outcome.type === 'failed')) return true;
  for (const outcomes of plan.commit?.units.values() ?? [])
    if (outcomes.some((outcome) => outcome.type === 'failed')) return true;
  return false;
}

function commitRequest(commit: PlannedCommit, observedSeq: number): { updates: Update[]; conditions: Condition[] } {
  const updates: Update[] = [{ do: 'append', name: HEAD.tail, values: [commit.packed] }];
  for (const [slot, by] of commit.recordsBySlot) updates.push({ do: 'add', name: HEAD.next(slot), by });
  if (commit.leave.length > 0) updates.push({ do: 'append', name: HEAD.once, values: commit.leave });
  const conditions: Condition[] = [
    { if: 'absent', name: HEAD.closed },
    { if: 'at_most', name: HEAD.tailSeq, value: observedSeq },
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
  let sequence = -1;
  let keys = 0;
  for (const part of placed) {
    if (part.sequence !== sequence) {
      keysBefore += keys;
      keys = part.entry.onceKeys;
      sequence = part.sequence;
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

/** Between a half and one. */
function jitter(random: Uint8Array): number {
  return 0.5 + (random[0] as number) / 512;
}
