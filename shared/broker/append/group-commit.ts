import { EventLogError } from '../../log/errors.ts';
import { nextEntry, type PlacedPart } from '../../log/head/head.ts';
import { fitsCommit, type HeadAppend, keyedBatches, keysDemanded } from '../../log/head/head-append.ts';
import type { WrittenData } from '../../log/head/plan-commit.ts';
import type { Topic } from '../../log/topic/topic.ts';
import type { BrokerContext } from '../context.ts';
import { keepPart } from '../data/read-part.ts';
import { writeData } from '../data/write-data.ts';
import { commitGroup } from '../heads/commit/commit-group.ts';
import { type HeadAppendOutcome, HeadGroup, type WaitingAppend } from '../heads/commit/head-group.ts';
import { KnownHead, observeHead } from '../heads/known-head.ts';

/** The number of idle heads that are remembered. */
const QUEUES_KEPT_MAX = 4_096;
/** The maximum number of groups of one head that are in progress: one is being written, one is being committed. */
const GROUPS_PER_HEAD_MAX = 2;
/** The same maximum if a commit writes its data too. */
const GROUPS_PER_HEAD_BESIDE_MAX = 1;
/** The same maximum if enough data waits to fill another group. */
const FULL_GROUPS_PER_HEAD_MAX = 8;

/** The waiting appends to one head, and this process's knowledge of the head. */
class HeadQueue {
  readonly topic: Topic;
  readonly headNumber: number;
  readonly known: KnownHead;
  readonly waiting: WaitingAppend[] = [];
  waitingBytes = 0;
  /** The number of groups between the start of their writing and their commit. */
  depth = 0;
  /** Resolves when the last group is committed: groups of a head commit one after the other. */
  last: Promise<void> = Promise.resolve();

  constructor(topic: Topic, headNumber: number) {
    this.topic = topic;
    this.headNumber = headNumber;
    this.known = new KnownHead(topic.name, { topicId: topic.topicId, headNumber });
  }

  /** Takes the first `count` appends as a group. */
  take(count: number): HeadGroup {
    const group = new HeadGroup(this.topic.name, this.known.name, this.waiting.splice(0, count));
    this.waitingBytes -= group.bytes;
    return group;
  }
}

/**
 * Commits appends, many at once and in any number of processes at the same time (`docs/architecture.md`, "The life of an
 * append"). Data first: the waiting appends are laid out and written. Small data of a head becomes an inline batch, the
 * data of all other heads one hot object. Order second: one conditional update per head appends an entry, which assigns the
 * offsets (`commitGroup`). While a group is being written, the next one gathers. Commits of one head follow each other in
 * the order of the groups.
 *
 * Four limits apply to the groups in progress. `groupsWritingMax` limits the groups whose data is being written, over all
 * heads: meanwhile further appends gather, so small appends share a write. `fullGroupsWritingMax` is the same limit if
 * enough data waits to fill a group: waiting longer would gather no more, and full groups gain from parallel writes.
 * `GROUPS_PER_HEAD_MAX` limits the groups of one head: its commits follow each other, so a third group would only wait.
 * `FULL_GROUPS_PER_HEAD_MAX` is the same limit for full groups, which take longer to write than to commit.
 *
 * If the store writes data and commit at once (`commitsData`), groups that are not full stay small enough for that, and each
 * head has one of them in progress: there is no write that a second one could overlap with.
 */
export class GroupCommit {
  readonly #context: BrokerContext;
  readonly #queues = new Map<string, HeadQueue>();
  /** Queues with waiting appends. */
  readonly #waiting = new Set<HeadQueue>();
  /** Appends and tail moves in progress. */
  readonly #active = new Set<Promise<unknown>>();
  #pendingBytes = 0;
  #waitingBytes = 0;
  #groupsWriting = 0;
  #isGathering = false;
  #isClosed = false;

  constructor(context: BrokerContext) {
    this.#context = context;
  }

  /** @throws EventLogError `shutting_down`, or `throttled` if this many more bytes cannot be accepted now */
  admit(bytes: number): void {
    if (this.#isClosed) throw new EventLogError('shutting_down', 'The log is closing and accepts no more appends.');
    const { pendingBytesMax } = this.#context.settings;
    if (this.#pendingBytes > 0 && this.#pendingBytes + bytes > pendingBytesMax) {
      throw new EventLogError(
        'throttled',
        `More than ${pendingBytesMax} bytes of appends wait to be written. Send this request again later.`,
        { details: { retryAfterMs: 1_000 } },
      );
    }
  }

  /**
   * Commits the appends to one head, each separately, in their order. The caller must have called `admit` for them. The
   * outcome `head_closed` means that the topic was deleted and nothing of the append was appended.
   */
  async append(topic: Topic, headNumber: number, appends: readonly HeadAppend[]): Promise<HeadAppendOutcome[]> {
    const bytes = appends.reduce((sum, append) => sum + append.bytes, 0);
    this.#pendingBytes += bytes;
    this.#waitingBytes += bytes;
    const queue = this.#queueOf(topic, headNumber);
    queue.waitingBytes += bytes;
    const settled = Promise.all(
      appends.map((append) => new Promise<HeadAppendOutcome>((settle) => queue.waiting.push({ append, settle }))),
    ).finally(() => {
      this.#pendingBytes -= bytes;
    });
    this.#waiting.add(queue);
    this.#track(settled);
    this.#gather();
    return settled;
  }

  /**
   * Returns the number of an entry that the head does not have yet. Every later append gets this number or a higher one.
   * 0 or 1 GetItem.
   */
  async observedEntry(topic: Topic, headNumber: number): Promise<number> {
    const { items } = this.#context.usage.of(topic.name, 'append');
    return nextEntry(await observeHead(this.#context, this.#queueOf(topic, headNumber).known, items));
  }

  /** Resolves when no append is waiting and no tail is being moved. */
  async idle(): Promise<void> {
    while (this.#active.size > 0) await Promise.allSettled([...this.#active]);
  }

  /** Accepts no more appends, and finishes the accepted ones. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.idle();
  }

  #track(work: Promise<unknown>): void {
    this.#active.add(work);
    const done = (): void => {
      this.#active.delete(work);
    };
    work.then(done, done);
  }

  #queueOf(topic: Topic, headNumber: number): HeadQueue {
    const key = `${topic.topicId}#${headNumber}`;
    const known = this.#queues.get(key);
    // Moving the queue to the end keeps the map in order of use.
    if (known !== undefined) this.#queues.delete(key);
    const queue = known ?? new HeadQueue(topic, headNumber);
    this.#queues.set(key, queue);
    if (this.#queues.size > QUEUES_KEPT_MAX) {
      for (const [oldKey, old] of this.#queues) {
        if (old.depth > 0 || this.#waiting.has(old) || old.known.isMoving) continue;
        this.#queues.delete(oldKey);
        break;
      }
    }
    return queue;
  }

  /** Starts as many groups as can be written at once, after simultaneous appends have gathered. */
  #gather(): void {
    if (this.#isGathering) return;
    this.#isGathering = true;
    const { lingerMs } = this.#context.settings;
    const ready = lingerMs > 0 ? this.#context.clock.sleep(lingerMs) : Promise.resolve();
    void ready.then(() => {
      this.#isGathering = false;
      while (this.#mayStartGroup()) {
        const groups = this.#takeGroups();
        if (groups.length === 0) return;
        this.#start(groups);
      }
    });
  }

  #mayStartGroup(): boolean {
    const { groupsWritingMax, fullGroupsWritingMax, groupBytesMax } = this.#context.settings;
    if (this.#groupsWriting < groupsWritingMax) return true;
    return this.#groupsWriting < fullGroupsWritingMax && this.#waitingBytes >= groupBytesMax;
  }

  #groupsMax(isFull: boolean): number {
    if (isFull) return FULL_GROUPS_PER_HEAD_MAX;
    return this.#context.commitsData ? GROUPS_PER_HEAD_BESIDE_MAX : GROUPS_PER_HEAD_MAX;
  }

  /** Takes waiting appends of all heads whose commits are not behind, up to the size of a group. */
  #takeGroups(): { queue: HeadQueue; group: HeadGroup }[] {
    const taken: { queue: HeadQueue; group: HeadGroup }[] = [];
    const { groupBytesMax, inlineBytesMax } = this.#context.settings;
    let bytes = 0;
    for (const queue of [...this.#waiting]) {
      const isFull = queue.waitingBytes >= groupBytesMax;
      if (queue.depth >= this.#groupsMax(isFull)) continue;
      const bytesMax = isFull || !this.#context.commitsData ? groupBytesMax : inlineBytesMax;
      let keys = 0;
      let keyed = 0;
      let count = 0;
      for (const { append } of queue.waiting) {
        keys += keysDemanded(append);
        keyed += keyedBatches(append);
        const isFirst = count === 0 && taken.length === 0;
        if ((count > 0 && !fitsCommit(keys, keyed)) || (!isFirst && bytes + append.bytes > bytesMax)) break;
        bytes += append.bytes;
        count++;
      }
      if (count > 0) {
        const group = queue.take(count);
        this.#waitingBytes -= group.bytes;
        taken.push({ queue, group });
      }
      // Moving the queue to the end ensures that no head is always served last.
      this.#waiting.delete(queue);
      if (queue.waiting.length > 0) this.#waiting.add(queue);
    }
    return taken;
  }

  #start(taken: readonly { readonly queue: HeadQueue; readonly group: HeadGroup }[]): void {
    this.#groupsWriting++;
    const written = writeData(
      this.#context,
      taken.map(({ group }) => group),
    );
    void Promise.allSettled(written.values()).then(() => {
      this.#groupsWriting--;
      this.#gather();
    });
    for (const { queue, group } of taken) {
      queue.depth++;
      queue.last = queue.last
        .then(() => written.get(group) as Promise<WrittenData>)
        .then((data) => this.#commit(queue, group, data))
        .catch((error: unknown) => group.fail(error))
        .finally(() => {
          queue.depth--;
          this.#gather();
        });
    }
  }

  #commit(queue: HeadQueue, group: HeadGroup, written: WrittenData): Promise<void> {
    return commitGroup(this.#context, queue.known, group, written, {
      committed: (placed) => this.#committed(queue, group, placed),
      track: (work) => this.#track(work),
    });
  }

  /** Passes the records to the waiting reads of this process. */
  #committed({ topic, headNumber }: HeadQueue, group: HeadGroup, placed: readonly PlacedPart[]): void {
    const { signals, traffic } = this.#context;
    const parts = placed.map(({ part }) => part);
    traffic.committed(
      topic.name,
      parts.reduce((sum, { records }) => sum + records, 0),
      parts.reduce((sum, { bytes }) => sum + bytes, 0),
    );
    const partitions = new Set<number>();
    for (const part of placed) {
      const partition = headNumber * topic.partitionsPerHead + part.part.slot;
      partitions.add(partition);
      if (part.part.marker === undefined && signals.isAwaited(topic.topicId, partition)) this.#keep(group, part);
    }
    for (const partition of partitions) signals.appended(topic.topicId, partition);
  }

  #keep(group: HeadGroup, placed: PlacedPart): void {
    try {
      // A copy, since a batch is a view on a whole request.
      keepPart(this.#context, group.slice(placed.part.position, placed.part.bytes), group.name, placed);
    } catch {
      // The append is committed, and must not fail for this. The reads fetch the data, and report what is wrong with it.
    }
  }
}
