import { equalBytes } from '../../log/bytes.ts';
import { EventLogError } from '../../log/errors.ts';
import { batchIdRandomBytes, makeBatchId } from '../../log/head/batch-id.ts';
import { nextEntry } from '../../log/head/head.ts';
import {
  type AppendUnit,
  fitsCommit,
  keysDemanded,
  type PartOutcome,
  type WrittenData,
} from '../../log/head/plan-commit.ts';
import type { Topic } from '../../log/topic/topic.ts';
import { headKey, hotObjectKey, INLINE_BATCH, inlineBatchKey, REFERENCE, referenceKey } from '../../storage/keys.ts';
import type { BrokerContext } from '../context.ts';
import { HeadCommits } from '../heads/commit.ts';
import { HeadBatch, HeadQueue } from '../heads/known-head.ts';
import { retrying } from '../retry.ts';
import { noRequests, type Stores } from '../usage/usage-meter.ts';

/**
 * Commits appends, many at once and in any number of processes at the same time (`docs/architecture.md`, "The life of an
 * append"). Data first: the units that wait are laid out and written, small data of a head as an inline batch, the rest
 * of all heads as one hot object. Order second: one conditional update per head appends an entry and so assigns offsets
 * (`HeadCommits`). While a group is being written the next one gathers; commits of one head follow each other in the order
 * of the groups.
 */
export class Committer {
  private readonly context: BrokerContext;
  private readonly commits: HeadCommits;
  private readonly queues = new Map<string, HeadQueue>();
  /** Queues in which appends wait. */
  private readonly waiting = new Set<HeadQueue>();
  /** Appends and tail moves under way. */
  private readonly active = new Set<Promise<unknown>>();
  private pendingBytes = 0;
  private waitingBytes = 0;
  private groupsWriting = 0;
  private gathering = false;
  private closed = false;

  constructor(context: BrokerContext) {
    this.context = context;
    this.commits = new HeadCommits(context, (work) => this.track(work));
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
    this.waitingBytes += bytes;
    const queue = this.queueOf(topic, headNumber);
    queue.waitingBytes += bytes;
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
  async observedEntry(topic: Topic, headNumber: number): Promise<number> {
    const { items } = this.context.usage.of(topic.name, 'append');
    return nextEntry(await this.commits.observe(this.queueOf(topic, headNumber), items));
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
      while (this.mayStartGroup()) {
        const batches = this.takeGroup();
        if (batches.length === 0) return;
        this.startGroup(batches);
      }
    });
  }

  /** Small appends are worth waiting for each other; what fills a group gains by being written beside others. */
  private mayStartGroup(): boolean {
    const { groupsWritingMax, fullGroupsWritingMax, groupBytesMax } = this.context.settings;
    if (this.groupsWriting < groupsWritingMax) return true;
    return this.groupsWriting < fullGroupsWritingMax && this.waitingBytes >= groupBytesMax;
  }

  /** What waits, from all heads whose commits are not behind, up to the size of a group. */
  private takeGroup(): HeadBatch[] {
    const batches: HeadBatch[] = [];
    let bytes = 0;
    for (const queue of [...this.waiting]) {
      const full = queue.waitingBytes >= this.context.settings.groupBytesMax;
      if (queue.depth >= (full ? FULL_GROUPS_PER_HEAD_MAX : GROUPS_PER_HEAD_MAX)) continue;
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
      if (taken > 0) {
        const batch = new HeadBatch(queue, queue.waiting.splice(0, taken));
        queue.waitingBytes -= batch.bytes;
        this.waitingBytes -= batch.bytes;
        batches.push(batch);
      }
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
        .then((data) => this.commits.commitBatch(batch, data))
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
      const result = await retrying(this.context, 'not_applied', () =>
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
        await retrying(this.context, 'not_applied', () =>
          items.put(referenceKey(batchId), { [REFERENCE.heads]: heads }),
        );
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
      const put = await retrying(this.context, 'not_applied', () => objects.put(hotObjectKey(batchId), chunks));
      // What exists is another's, or ours from a try whose reply was lost. It can't be told without reading it, which a
      // role that only appends may not do, and it is rare: it is left to be swept.
      if (put === 'created') return batchId;
    }
  }

  private newBatchId(): Uint8Array {
    return makeBatchId(this.context.random.bytes(batchIdRandomBytes()), this.context.clock.nowMs());
  }
}

/** Heads that are remembered beside those at work. */
const QUEUES_KEPT_MAX = 4_096;
/** Groups of one head between the start of their writing and their commit: one being written, one being committed. */
const GROUPS_PER_HEAD_MAX = 2;
/** The same where enough waits to fill another one. */
const FULL_GROUPS_PER_HEAD_MAX = 8;
const UTF8 = new TextEncoder();
