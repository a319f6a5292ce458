import type { StoredBatch } from '../../log/batch/stored-batch.ts';
import { EventLogError } from '../../log/errors.ts';
import type { AssignedTopic, HeartbeatResult } from '../../log/group/heartbeat-result.ts';
import { memberKey } from '../../log/group/member.ts';
import { NO_PARTITIONS, pagesOf } from '../../log/group/partition-set.ts';
import { encodePollToken, type PollPosition, type PollToken } from '../../log/group/poll-token.ts';
import { FOLLOWED_PARTITIONS_MAX, OFFSET_MAX } from '../../log/limits.ts';
import type { BrokerContext } from '../context.ts';
import { unlessUnknown } from '../memory/topic-cache.ts';
import { type Follower, follow } from '../read/follow.ts';
import type { ReadResult } from '../read/read.ts';
import { eachOf } from '../topics/each-head.ts';
import { NO_TOPIC } from '../usage/usage-meter.ts';
import { heartbeat } from './membership/heartbeat.ts';
import { type CommitOutcome, commitOffsets } from './offsets/commit-offsets.ts';
import { mustBeReadable, newOffsets } from './offsets/new-offsets.ts';
import { readPage, slotOf, slotState } from './offsets/pages.ts';
import { type SettlePending, settleIn } from './offsets/settle-page.ts';
import { type CheckedPoll, checkPoll, type PollRequest } from './poll-request.ts';

export interface PollResult {
  readonly memberId: string;
  readonly memberEpoch: number;
  /** For the next poll's `after`, and for `extendLease`. */
  readonly token: string;
  /**
   * By then the next poll or `extendLease` must come, or other members get the partitions. Never earlier than what this process
   * promised before; another process does not know of an extension until its next heartbeat.
   */
  readonly leaseExpiresAtMs: number;
  readonly assignment: readonly AssignedTopic[];
  /** Whether the member has all partitions that it will get for now. */
  readonly isSettled: boolean;
  /** Of a poll without `after`: topics of its subscription that do not exist. The member gets them once they are made. */
  readonly unknownTopics: readonly string[];
  /** The commit of the records of `after`; a partition that was lost meanwhile is given out again by its new owner. */
  readonly commits: readonly PolledCommit[];
  readonly partitions: readonly PolledPartition[];
  /** Offsets that were dropped by retention before they were read. */
  readonly gaps: readonly {
    readonly topic: string;
    readonly partition: number;
    readonly from: number;
    readonly to: number;
  }[];
}

export interface PolledCommit {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly outcome: CommitOutcome;
}

export interface PolledPartition {
  readonly topic: string;
  readonly partition: number;
  /** The records are those of `batches` with offsets in `[offset, nextOffset)`. */
  readonly offset: number;
  readonly nextOffset: number;
  readonly logStartOffset: number;
  readonly highWatermark: number;
  readonly batches: readonly StoredBatch[];
}

const LEASE_MS_DEFAULT = 30_000;
/** A member that joins waits for its partitions at least this long, also with `waitMs` 0. */
const SETTLE_MS = 2_000;
/** The bytes of one partition's turn, so that a partition with a long backlog does not keep the others waiting. */
const TURN_BYTES = 256 * 1024;
/** How often to look for the end of a transaction that is about to commit where a partition begins. */
const PENDING_LOOK_MS = 500;
/** How often to look for added partitions if no other process appends. */
const LOOK_MS_ALONE = 1_000;

/**
 * Everything that a consumer does, in one call: joins its group or goes on as its member, commits what the last poll gave
 * out, sends the heartbeat, and reads records from the partitions that the member owns, in turns. For programs that run now
 * and then, and for shells: nothing has to run between two polls.
 *
 * Each record is given out at least once, in order within its partition. It is given out again if it was not committed: if
 * its poll's token is not used within the lease, or the partition has moved. A member that has lost its membership joins
 * again by itself.
 *
 * Costs a heartbeat when one is due, a commit as a member (`commitOffsets`) if there is something to commit, 1 read for each
 * page of partitions that are new to the member, 1 read for each head, and what the records cost. A commit in topics that this
 * process does not know lists the topics: see `newOffsets`. Without `after` 1 GetItem for each topic of the subscription that
 * is not in memory and of which the member has no partition.
 * @throws EventLogError `invalid_request`, `instance_in_use`, `throttled`, `corrupt_data`
 */
export async function pollGroup(
  context: BrokerContext,
  settlePending: SettlePending,
  request: PollRequest,
): Promise<PollResult> {
  return new Poll(context, settlePending, checkPoll(context.random, request)).run();
}

interface Position {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  /** The next offset to read. `undefined`: nothing is committed, and where the partition begins is not known yet. */
  offset: number | undefined;
  /** This poll has read or passed over something that is to be committed. */
  isNew: boolean;
}

type MutablePartition = { -readonly [Name in keyof PolledPartition]: PolledPartition[Name] } & {
  batches: StoredBatch[];
};

class Poll {
  readonly #context: BrokerContext;
  readonly #settlePending: SettlePending;
  readonly #request: CheckedPoll;
  readonly #stop = new AbortController();
  #member: HeartbeatResult | undefined;
  #memberEpoch: number;
  #beatAtMs = Number.NEGATIVE_INFINITY;
  /** By topic and partition, as of `#positionsOf`. */
  #positions = new Map<string, Position>();
  /** The member epoch that the positions belong to: under another one the member has other partitions. */
  #positionsOf: number | undefined;
  readonly #goneTopics = new Set<string>();
  readonly #read = new Map<Position, MutablePartition>();
  readonly #gaps: PollResult['gaps'][number][] = [];
  #unknownTopics: readonly string[] = [];
  #records = 0;
  #bytes = 0;

  constructor(context: BrokerContext, settlePending: SettlePending, request: CheckedPoll) {
    this.#context = context;
    this.#settlePending = settlePending;
    this.#request = request;
    this.#memberEpoch = request.token?.memberEpoch ?? 0;
  }

  async run(): Promise<PollResult> {
    const { waitMs, token, signal, commitAtOnce, commitLater, maxRecords } = this.#request;
    const onAbort = (): void => this.#stop.abort();
    signal?.addEventListener('abort', onAbort);
    if (signal?.aborted) this.#stop.abort();
    try {
      const startedAtMs = this.#now();
      const commits = token === undefined || commitLater ? [] : await this.#commit(token.positions);
      await this.#beat();
      // A member that only commits does not wait for its partitions.
      if (maxRecords > 0 || token === undefined) await this.#settle(startedAtMs + Math.max(waitMs, SETTLE_MS));
      if (token === undefined) await this.#findUnknownTopics();
      if (token !== undefined && token.memberEpoch === this.#memberEpoch) this.#takePositions(token);
      await this.#fetch(startedAtMs + waitMs);
      if (commitAtOnce) commits.push(...(await this.#commit([...this.#positions.values()])));
      return this.#result(commits);
    } finally {
      signal?.removeEventListener('abort', onAbort);
      this.#stop.abort();
    }
  }

  /** Commits what is new in these positions. */
  async #commit(positions: readonly (PollPosition | Position)[]): Promise<PolledCommit[]> {
    const { group, memberId, instanceId } = this.#request;
    const offsets = await newOffsets(this.#context, positions, this.#request.mayRead);
    if (offsets.length === 0) return [];
    const member = { memberId, instanceId, memberEpoch: this.#memberEpoch };
    // A late copy of a former poll must not take the offsets back.
    const outcomes = await commitOffsets(this.#context, { group, member, offsets, onlyForward: true });
    return offsets.map(({ topic, partition, offset }, i) => ({
      topic,
      partition,
      offset,
      outcome: outcomes[i] as CommitOutcome,
    }));
  }

  /**
   * Sends a heartbeat if one is due. Between two polls the caller reads nothing, so the member has let go of whatever it was
   * told to. If it is no member any more, it joins again.
   */
  async #beat(): Promise<void> {
    const { group, memberId, instanceId, subscription, assignor, leaseMs = LEASE_MS_DEFAULT } = this.#request;
    const key = memberKey(memberId, instanceId);
    const recent = this.#context.groups.recentAnswer(group, key, this.#memberEpoch, this.#now());
    if (recent !== undefined && this.#member === undefined) {
      this.#member = recent.answer;
      this.#beatAtMs = recent.atMs;
      return;
    }
    const request = {
      group,
      memberId,
      instanceId,
      subscription,
      assignor,
      sessionTimeoutMs: leaseMs,
      owned: NO_PARTITIONS,
    };
    const atMs = this.#now();
    try {
      this.#member = await heartbeat(this.#context, { ...request, memberEpoch: this.#memberEpoch });
    } catch (error) {
      const code = error instanceof EventLogError ? error.code : undefined;
      const isOut = code === 'unknown_member' || code === 'fenced_member_epoch';
      if (!isOut || this.#memberEpoch === 0 || subscription === undefined) throw error;
      this.#member = await heartbeat(this.#context, { ...request, memberEpoch: 0 });
    }
    this.#beatAtMs = atMs;
    this.#memberEpoch = this.#member.memberEpoch;
    if (this.#member.isSettled) this.#context.groups.noteAnswer(group, key, this.#member, atMs);
  }

  async #settle(untilMs: number): Promise<void> {
    while (!this.#assigned().isSettled && this.#now() < untilMs && !this.#stop.signal.aborted) {
      await this.#context.clock.sleep(this.#assigned().heartbeatIntervalMs, this.#stop.signal);
      await this.#beat();
    }
  }

  /** A misspelt topic is subscribed to like any that is still to be made, so nothing else would tell of it. */
  async #findUnknownTopics(): Promise<void> {
    const { subscription, mayRead = () => true } = this.#request;
    const assigned = new Set(this.#assigned().assignment.map(({ topic }) => topic));
    const others = (subscription?.topics ?? []).filter((topic) => !assigned.has(topic) && mayRead(topic));
    const found = await eachOf(others, (topic) => unlessUnknown(this.#context.topics.get(topic)));
    this.#unknownTopics = others.filter((_, i) => found[i] === undefined);
  }

  /** Reads until something was read, or the time is over. While it waits it sends the heartbeats that are due. */
  async #fetch(untilMs: number): Promise<void> {
    if (this.#request.maxRecords === 0) return;
    while (!this.#stop.signal.aborted) {
      const { heartbeatIntervalMs } = this.#assigned();
      const arePending = await this.#findPositions();
      const beatMs = this.#beatAtMs + heartbeatIntervalMs;
      const lookUntilMs = Math.min(untilMs, beatMs, arePending ? this.#now() + PENDING_LOOK_MS : beatMs);
      const readable = this.#readable();
      if (readable.length > 0) await this.#readUntil(readable, lookUntilMs);
      else await this.#context.clock.sleep(Math.max(0, lookUntilMs - this.#now()), this.#stop.signal);
      if (this.#records > 0 || this.#gaps.length > 0 || this.#now() >= untilMs) return;
      await this.#beat();
    }
  }

  /** The token is of this epoch, so the member has had its partitions ever since: nobody else has committed for them. */
  #takePositions(token: PollToken): void {
    const { commitLater = false } = this.#request;
    const names = new Map(this.#assigned().assignment.map(({ topicId, topic }) => [topicId, topic]));
    for (const { topicId, partition, offset, isNew } of token.positions) {
      const topic = names.get(topicId);
      if (topic !== undefined) this.#place({ topic, topicId, partition, offset, isNew: isNew && commitLater });
    }
    this.#positionsOf = this.#memberEpoch;
  }

  /**
   * For partitions without a position, what the group has committed. 1 GetItem for each page, and what settling pending offsets
   * costs. Returns whether an open transaction is about to commit the positions of some, which are not read before it has ended.
   */
  async #findPositions(): Promise<boolean> {
    if (this.#positionsOf !== this.#memberEpoch) this.#positions = new Map();
    this.#positionsOf = this.#memberEpoch;
    const { items } = this.#context.usage.of(NO_TOPIC, 'group');
    const missing = this.#assigned().assignment.flatMap(({ topic, topicId, partitions }) => {
      mustBeReadable(topic, this.#request.mayRead);
      if (this.#goneTopics.has(topicId)) return [];
      const unplaced = partitions.filter((partition) => !this.#positions.has(placeOf(topic, partition)));
      return pagesOf(new Map([[topicId, unplaced]])).map((page) => ({ ...page, topic }));
    });
    let arePending = false;
    await eachOf(missing, async ({ topic, topicId, page, partitions }) => {
      const name = { group: this.#request.group, topicId, page };
      const read = await settleIn(
        items,
        name,
        await readPage(items, name),
        partitions.map(slotOf),
        this.#settlePending,
      );
      for (const partition of partitions) {
        const { committed, pending } = slotState(read, partition);
        if (pending === undefined) this.#place({ topic, topicId, partition, offset: committed?.offset, isNew: false });
        else arePending = true;
      }
    });
    return arePending;
  }

  #readable(): Position[] {
    const { paused = [] } = this.#request;
    const all = [...this.#positions.values()];
    if (paused.length === 0) return all;
    const topics = new Set(paused.flatMap(({ topic, partitions }) => (partitions === undefined ? [topic] : [])));
    const places = new Set(
      paused.flatMap(({ topic, partitions = [] }) => partitions.map((partition) => placeOf(topic, partition))),
    );
    return all.filter(({ topic, partition }) => !topics.has(topic) && !places.has(placeOf(topic, partition)));
  }

  async #readUntil(readable: readonly Position[], untilMs: number): Promise<void> {
    const reading = new AbortController();
    const end = (): void => reading.abort();
    this.#stop.signal.addEventListener('abort', end);
    try {
      const follower = await this.#follow(readable, reading.signal);
      while (this.#records < this.#request.maxRecords && this.#bytes < this.#request.maxBytes) {
        // Once there is something, only what is there already is added.
        const step = await follower.next(this.#records > 0 ? 0 : untilMs);
        if (step.type === 'idle') return;
        const position = this.#positions.get(placeOf(step.topic, step.partition)) as Position;
        if (step.type === 'records') {
          await this.#take(position, step.result);
        } else {
          const { topic, partition, from, to } = step;
          this.#gaps.push({ topic, partition, from, to });
          Object.assign(position, { offset: to, isNew: true });
        }
      }
    } catch (error) {
      this.#forgetTopic(error);
    } finally {
      this.#stop.signal.removeEventListener('abort', end);
      reading.abort();
    }
  }

  /** A topic that was deleted, or made again, is not read on. The group's next target leaves it out. */
  #forgetTopic(error: unknown): void {
    if (!(error instanceof EventLogError) || error.code !== 'unknown_topic') throw error;
    for (const [place, { topic, topicId }] of this.#positions) {
      if (topic !== error.details.topic) continue;
      this.#positions.delete(place);
      this.#goneTopics.add(topicId);
    }
  }

  /** Follows up to 1,000 partitions, others each time if there are more. */
  async #follow(all: readonly Position[], signal: AbortSignal): Promise<Follower> {
    const first = all.length <= FOLLOWED_PARTITIONS_MAX ? 0 : this.#random() % all.length;
    const chosen = [...all.slice(first), ...all.slice(0, first)].slice(0, FOLLOWED_PARTITIONS_MAX);
    const { startAt, maxBytes } = this.#request;
    const settings = this.#context.settings;
    for (;;) {
      try {
        const follower = await follow(this.#context, {
          topics: [...Map.groupBy(chosen, ({ topic }) => topic)].map(([topic, positions]) => ({
            topic,
            partitions: positions.map(({ partition }) => partition),
            from: { tail: startAt === 'latest' ? 0 : OFFSET_MAX },
            offsets: new Map(
              positions.flatMap(({ partition, offset }) => (offset === undefined ? [] : [[partition, offset]])),
            ),
            offsetsOf: positions[0]?.topicId,
          })),
          turnBytes: Math.min(maxBytes, TURN_BYTES),
          lookMs: settings.pollIntervalMs ?? LOOK_MS_ALONE,
          reuseFirstLook: true,
          signal,
        });
        await this.#noteBeginnings(follower, chosen);
        return follower;
      } catch (error) {
        this.#beginAgain(error, chosen);
      }
    }
  }

  /** Where a partition begins at its end must be committed: the next poll would find another end. */
  async #noteBeginnings(follower: Follower, chosen: readonly Position[]): Promise<void> {
    const starts = new Map(follower.topics.map(({ name, positions }) => [name, positions]));
    const fresh = chosen.filter(({ offset }) => offset === undefined);
    for (const position of fresh) position.offset = starts.get(position.topic)?.get(position.partition);
    if (this.#request.startAt !== 'latest' || fresh.length === 0) return;
    await this.#commit(fresh.map((position) => ({ ...position, isNew: true })));
  }

  /** A position past the end of its partition, because that was committed, or the log was restored, begins again. */
  #beginAgain(error: unknown, chosen: readonly Position[]): void {
    if (!(error instanceof EventLogError) || error.code !== 'offset_out_of_range') throw error;
    const { topic, partition } = error.details;
    const position = chosen.find((each) => each.topic === topic && each.partition === partition);
    if (position?.offset === undefined) throw error;
    position.offset = undefined;
  }

  /** Adds the records of one turn, up to the limit of records. */
  async #take(position: Position, result: ReadResult): Promise<void> {
    const { topic, partition } = position;
    const { offset, logStartOffset, highWatermark } = result;
    let part = this.#read.get(position);
    if (part === undefined) {
      part = { topic, partition, offset, nextOffset: offset, logStartOffset, highWatermark, batches: [] };
      this.#read.set(position, part);
    }
    part.highWatermark = highWatermark;
    let next = offset;
    for await (const batch of result.batches) {
      const room = this.#request.maxRecords - this.#records;
      const from = Math.max(next, batch.baseOffset);
      // Offsets without records, as compaction leaves them, are counted too: that needs no decoding.
      next = Math.min(batch.endOffset, from + room);
      this.#records += next - from;
      this.#bytes += batch.bytes.length;
      part.batches.push(batch);
      if (next < batch.endOffset || this.#bytes >= this.#request.maxBytes) break;
    }
    const isWhole = part.batches.at(-1)?.endOffset === next && this.#bytes < this.#request.maxBytes;
    part.nextOffset = isWhole ? Math.max(next, result.nextOffset) : next;
    position.offset = part.nextOffset;
    position.isNew = true;
  }

  #result(commits: readonly PolledCommit[]): PollResult {
    const member = this.#assigned();
    const { group, memberId, instanceId, commitAtOnce = false } = this.#request;
    const extendedAtMs = this.#context.groups.leasedAtMs(group, memberKey(memberId, instanceId));
    // The next poll reads in this order, so partitions that had no turn now are the first then.
    const all = [...this.#positions.values()];
    const inTurn = [...all.filter((each) => !this.#read.has(each)), ...all.filter((each) => this.#read.has(each))];
    const positions = inTurn.flatMap(({ topicId, partition, offset, isNew }) =>
      offset === undefined ? [] : [{ topicId, partition, offset, isNew: isNew && !commitAtOnce }],
    );
    return {
      memberId,
      memberEpoch: member.memberEpoch,
      token: encodePollToken({ memberId, instanceId, memberEpoch: member.memberEpoch, positions }),
      leaseExpiresAtMs: Math.max(this.#beatAtMs, extendedAtMs) + member.sessionTimeoutMs,
      assignment: member.assignment,
      isSettled: member.isSettled,
      unknownTopics: this.#unknownTopics,
      commits,
      partitions: [...this.#read.values()].filter(({ offset, nextOffset }) => nextOffset > offset),
      gaps: this.#gaps,
    };
  }

  #place(position: Position): void {
    this.#positions.set(placeOf(position.topic, position.partition), position);
  }

  #assigned(): HeartbeatResult {
    if (this.#member === undefined) throw new EventLogError('internal', 'A poll read before its heartbeat.');
    return this.#member;
  }

  #random(): number {
    const [high = 0, low = 0] = this.#context.random.bytes(2);
    return high * 256 + low;
  }

  #now(): number {
    return this.#context.clock.nowMs();
  }
}

/** A topic's name contains no slash. */
function placeOf(topic: string, partition: number): string {
  return `${topic}/${partition}`;
}
