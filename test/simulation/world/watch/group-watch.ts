import { groupFromAttributes, memberFromAttributes } from '../../../../shared/broker/groups/items.ts';
import { pageFromAttributes } from '../../../../shared/broker/groups/offsets/pages.ts';
import type { Group } from '../../../../shared/log/group/group.ts';
import { holds, type Member } from '../../../../shared/log/group/member.ts';
import { EMPTY_SLOT, type SlotOwner, type SlotState } from '../../../../shared/log/group/offset-page.ts';
import { GROUP_PAGE_PARTITIONS, hasPartition } from '../../../../shared/log/group/partition-set.ts';
import {
  groupKey,
  groupListingKey,
  memberPartitionKey,
  offsetsPartitionKey,
  parseOffsetPageSortKey,
  TARGET,
  targetPartitionKey,
} from '../../../../shared/storage/group-keys.ts';
import { EPOCH_MS } from '../simulated-process.ts';
import type { ArrivedWrite } from './storage-watch.ts';
import { TargetWatch } from './target-watch.ts';

/** The one group of a run. */
export const GROUP = 'g';

/** What one user of a member believes to be its own. */
export interface Belief {
  readonly memberKey: string;
  readonly memberId: string;
  readonly memberEpoch: number;
  /**
   * The member epoch under which it was told last of each. One that it still has to let go of may be of a former life: a late
   * join has brought its member back, which then was told to let go of all.
   */
  readonly places: ReadonlyMap<Place, number>;
}

/** A topic's id and a partition. */
export type Place = `${string}/${number}`;

/** A commit that a member has sent; its name is the metadata of the offset. */
export interface SentCommit {
  readonly name: string;
  readonly memberKey: string;
  readonly memberId: string;
  readonly memberEpoch: number;
  readonly place: Place;
  readonly offset: number;
  readonly onlyForward: boolean;
  /** The same member sent a later commit before this one was answered. */
  wasOvertaken: boolean;
}

interface WatchedSlot {
  state: SlotState;
  ownedSinceMs: number;
  /** The end of what members have read since the group began here. */
  readTo: number;
  /** What was ever committed here, latest last. */
  readonly committed: { readonly atMs: number; readonly offset: number }[];
}

export interface GroupWatchOptions {
  readonly nowMs: () => number;
  readonly broken: (promise: string, message: string) => void;
  readonly mark: (name: string) => void;
  /** A clock may be wrong by so much. */
  readonly skewMsMax: number;
  readonly offsetsRetentionMs: number;
  /** Whether no clock has been wrong so far. */
  readonly areClocksRight: () => boolean;
}

/**
 * Looks at every write to the items of a consumer group, and at what its members believe, read and commit: two live members
 * never believe to own a partition; a slot changes its owner only when the former one has let go; a commit comes from the
 * owner that the slot names, covers what was read, and goes back only by a reset.
 */
export class GroupWatch {
  /** Nobody need go on. */
  isJudged = false;
  readonly members = new Map<string, Member>();
  group: Group | undefined;
  readonly targets: TargetWatch;
  private readonly options: GroupWatchOptions;
  private readonly pages = new Set<string>();
  private isListed = false;
  /** Those who have asked to leave, now or under an earlier life. */
  private readonly leavers = new Set<string>();
  private readonly slots = new Map<Place, WatchedSlot>();
  /** Member key -> the epoch with which its present life began. */
  private readonly lifeFrom = new Map<string, number>();
  private readonly beliefs = new Map<string, Belief>();
  private readonly sent = new Map<string, SentCommit>();
  private readonly written = new Set<string>();
  private readonly settled = new Set<string>();
  /** Topics of which nothing is judged any more. */
  private readonly goneTopics = new Set<string>();

  constructor(options: GroupWatchOptions) {
    this.options = options;
    this.targets = new TargetWatch((message) => this.broken('R11', message));
  }

  wrote(write: ArrivedWrite): void {
    const { key, result, kind } = write;
    if (key.pk === memberPartitionKey(GROUP)) this.wroteMember(write);
    else if (key.pk === offsetsPartitionKey(GROUP)) this.wrotePage(write);
    else if (key.pk === targetPartitionKey(GROUP) && result.ok)
      this.targets.wrotePart(key.sk, kind === 'delete' ? undefined : result.attributes[TARGET.part]);
    else if (key.pk === groupListingKey(GROUP).pk && key.sk === GROUP && result.ok) this.isListed = kind !== 'delete';
    else if (key.pk === groupKey(GROUP).pk && result.ok) {
      const next = kind === 'delete' ? undefined : groupFromAttributes(result.attributes);
      if (next !== undefined && this.group !== undefined && next.epoch < this.group.epoch)
        this.broken('R11', `The epoch of the group went from ${this.group.epoch} to ${next.epoch}.`);
      if (next?.isDeleted) this.mark('group marked as deleted');
      if (this.group?.isDeleted && next?.isDeleted === false) this.mark('deleted group made again');
      if (next !== undefined) this.targets.wroteGroup(this.group, next);
      this.group = next;
    }
  }

  /** The user of a member believes this from now on. */
  believe(user: string, belief: Belief, isSettled: boolean): void {
    if (isSettled) this.settled.add(user);
    else this.settled.delete(user);
    if (belief.places.size === 0) this.beliefs.delete(user);
    else this.beliefs.set(user, belief);
    this.checkBeliefs();
  }

  /** The user of a member was told that these are its own, at this member epoch. */
  told(belief: Belief): void {
    const member = this.members.get(belief.memberKey);
    if (!this.isLive(belief, belief.memberEpoch) || member?.epoch !== belief.memberEpoch) return;
    for (const place of belief.places.keys()) {
      if (this.isOfGoneTopic(place)) continue;
      const { owner } = this.slotOf(place).state;
      if (owner?.memberKey !== belief.memberKey || owner.memberId !== belief.memberId)
        this.broken('R11', `${belief.memberId} was told of ${place}, whose slot names ${nameOf(owner)}.`);
    }
  }

  /** What is left of the group beside its epoch and members that are gone, which expire. */
  get leftovers(): string[] {
    const left: string[] = [...this.pages].map((page) => `the page ${page}`);
    if (this.targets.partsLeft > 0) left.push(`${this.targets.partsLeft} parts of targets`);
    if (this.isListed) left.push('the listing');
    return left;
  }

  /** A request to leave is sent. Answers which life of the member it was sent in. */
  leaving(memberKey: string): number | undefined {
    this.leavers.add(memberKey);
    return this.targets.lifeOf(memberKey);
  }

  /** A member was told that it has left, which it asked for in this life. */
  left(memberKey: string, memberId: string, life: number | undefined): void {
    if (life === undefined || this.targets.lifeOf(memberKey) !== life) return;
    if (this.members.get(memberKey)?.memberId === memberId)
      this.broken('R11', `${memberId} has left, and is still a member.`);
  }

  /** A member has got the records of `[from, to)`. */
  read(place: Place, from: number, to: number): void {
    const slot = this.slotOf(place);
    if (from <= slot.readTo) slot.readTo = Math.max(slot.readTo, to);
  }

  /** A topic is going to be deleted. */
  topicIsGone(topicId: string): void {
    this.goneTopics.add(topicId);
  }

  sending(commit: SentCommit): void {
    this.sent.set(commit.name, commit);
  }

  /** A commit that was sent at this time was accepted. */
  accepted({ name, place, offset, memberId }: SentCommit, sentAtMs: number): void {
    if (this.written.has(name) || this.isOfGoneTopic(place)) return;
    const slot = this.slotOf(place);
    const isCovered = slot.committed.some((each, i) => {
      const untilMs = slot.committed[i + 1]?.atMs ?? Number.POSITIVE_INFINITY;
      return each.offset >= offset && untilMs >= sentAtMs;
    });
    if (!isCovered)
      this.broken('R12', `The commit ${offset} of ${memberId} in ${place} was accepted, and is not there.`);
    else this.mark('commit was covered by a larger one');
  }

  /** A commit that was sent at this time was rejected, because its sender does not own the partition. */
  fenced({ place, memberKey, memberId, memberEpoch }: SentCommit, sentAtMs: number): void {
    this.mark('commit of a former owner rejected');
    const { state, ownedSinceMs } = this.slotOf(place);
    const { owner } = state;
    if (owner?.memberKey !== memberKey || owner.memberId !== memberId || owner.memberEpoch > memberEpoch) return;
    if (ownedSinceMs < sentAtMs)
      this.broken('R12', `A commit of ${memberId} in ${place} was rejected, and it is the owner.`);
  }

  /** The end of a partition has been committed. */
  committedOf(place: Place): number | undefined {
    return this.slotOf(place).state.committed?.offset;
  }

  /** Those who live, believe to own a partition, and were told that they are settled. */
  settledBelieversOf(place: Place): string[] {
    return [...this.beliefs].flatMap(([user, each]) =>
      each.places.has(place) && this.isLive(each, each.memberEpoch) && this.settled.has(user) ? [user] : [],
    );
  }

  /** Whether the slot names a live member that holds the partition. */
  isOwned(place: Place): boolean {
    const { owner } = this.slotOf(place).state;
    return owner !== undefined && this.isHolder(owner, place);
  }

  /** The latest time at which the session of a member ends that has not been ended, as real time of the run. */
  get lastSessionEndMs(): number {
    const live = [...this.members.values()].filter(({ isGone }) => !isGone);
    return Math.max(0, ...live.map(({ seenAtMs, sessionTimeoutMs }) => seenAtMs + sessionTimeoutMs - EPOCH_MS));
  }

  private wroteMember({ key, kind, result }: ArrivedWrite): void {
    if (!result.ok) {
      this.mark('member had changed');
      return;
    }
    const before = this.members.get(key.sk);
    if (kind === 'delete') {
      this.targets.wroteMember(key.sk, undefined);
      this.members.delete(key.sk);
      this.mark('member forgotten');
      return;
    }
    const member = memberFromAttributes(key.sk, result.attributes);
    this.members.set(key.sk, member);
    if (before !== undefined && member.epoch < before.epoch)
      this.broken('R11', `The epoch of ${key.sk} went from ${before.epoch} to ${member.epoch}.`);
    this.targets.wroteMember(key.sk, member);
    if (before?.isGone && !member.isGone && member.epoch <= before.epoch)
      this.broken('R11', `${key.sk} has joined again under its old epoch ${member.epoch}.`);
    if (before !== undefined && member.isGone && !before.isGone) this.ended(before);
    if (member.isAway && before?.isAway === false) this.mark('static member away');
    const isOther = before !== undefined && before.memberId !== member.memberId;
    if (isOther) {
      this.mark('static member followed by another');
      if (!before.isAway && !before.isGone) this.judgeEnd(before);
    }
    if (before === undefined || isOther || (before.isGone && !member.isGone)) this.lifeFrom.set(key.sk, member.epoch);
    if (before?.isGone && !member.isGone) this.mark('member that was gone joined again');
    if (before !== undefined && member.revoking.size > 0 && before.revoking.size === 0) this.mark('told to let go');
    this.checkBeliefs();
  }

  private ended(member: Member): void {
    this.mark('member ended');
    this.judgeEnd(member);
  }

  /** Only the end of its session, or of the time to let go, ends a member that has not left. */
  private judgeEnd({ key, seenAtMs, sessionTimeoutMs, releaseByMs }: Member): void {
    if (this.leavers.has(key) || !this.options.areClocksRight()) return;
    const earlyMs = Math.min(seenAtMs + sessionTimeoutMs, releaseByMs ?? seenAtMs + sessionTimeoutMs) - this.now();
    if (earlyMs > 0) this.broken('R11', `The session of ${key} was ended ${earlyMs} ms before its time.`);
  }

  private now(): number {
    return EPOCH_MS + this.options.nowMs();
  }

  private wrotePage({ key, kind, result }: ArrivedWrite): void {
    const name = parseOffsetPageSortKey(key.sk);
    if (name === undefined) return;
    if (!result.ok) {
      this.mark('page had changed');
      return;
    }
    if (kind === 'delete') this.pages.delete(key.sk);
    else this.pages.add(key.sk);
    const page = kind === 'delete' ? undefined : pageFromAttributes(result.attributes);
    if (page === undefined) this.mark('page deleted');
    for (let i = 0; i < GROUP_PAGE_PARTITIONS; i++) {
      const place: Place = `${name.topicId}/${name.page * GROUP_PAGE_PARTITIONS + i}`;
      const known = this.slots.get(place)?.state ?? EMPTY_SLOT;
      const next = page?.slots[i] ?? EMPTY_SLOT;
      if (next.tag === known.tag) continue;
      if (page === undefined) this.slotDeleted(place, known);
      else this.slotChanged(place, known, next);
    }
  }

  private slotDeleted(place: Place, before: SlotState): void {
    if (!this.isOfGoneTopic(place) && before.owner !== undefined && this.isHolder(before.owner, place))
      this.broken('R12', `The slot of ${place} was deleted while ${nameOf(before.owner)} owned it.`);
    this.startAgain(place, EMPTY_SLOT, 0);
  }

  private slotChanged(place: Place, before: SlotState, after: SlotState): void {
    const { owner } = after;
    if (before.tag !== 0 && after.fence < before.fence)
      this.broken('R12', `The fence of ${place} went from ${before.fence} to ${after.fence}.`);
    if (owner === undefined) {
      if (before.owner !== undefined && this.isHolder(before.owner, place))
        this.broken('R12', `${place} was taken from ${nameOf(before.owner)}, which is a live member.`);
      if (before.committed !== undefined && after.committed === undefined) this.expired(place, before);
      else this.mark('offset set while nobody was a member');
      this.startAgain(place, after, after.committed?.offset ?? 0);
      return;
    }
    if (!isSameClaim(before, after)) this.claimed(place, before, after, owner);
    else this.committed(place, before, after, owner);
    const slot = this.slotOf(place);
    if (!isSameOwner(before.owner, owner)) slot.ownedSinceMs = this.options.nowMs();
    slot.state = after;
  }

  private claimed(place: Place, before: SlotState, after: SlotState, owner: SlotOwner): void {
    if (before.owner !== undefined && before.owner.memberKey !== owner.memberKey) {
      this.mark('partition moved');
      if (this.isHolder(before.owner, place))
        this.broken('R11', `${nameOf(owner)} claimed ${place}, which ${nameOf(before.owner)} had not let go.`);
    }
    if (after.fence > (this.group?.targetEpoch ?? 0))
      this.broken('R11', `${place} was claimed for target ${after.fence}; the newest is ${this.group?.targetEpoch}.`);
    const [was, is] = [before.committed, after.committed];
    if (was?.offset !== is?.offset || was?.metadata !== is?.metadata)
      this.broken('R12', `A claim of ${place} changed what was committed from ${was?.offset} to ${is?.offset}.`);
  }

  private committed(place: Place, before: SlotState, after: SlotState, owner: SlotOwner): void {
    const { offset = 0, metadata = '' } = after.committed ?? {};
    const slot = this.slotOf(place);
    const sent = this.sent.get(metadata);
    this.written.add(metadata);
    slot.committed.push({ atMs: this.options.nowMs(), offset });
    if (sent !== undefined) {
      if (sent.memberKey !== owner.memberKey || sent.memberId !== owner.memberId)
        this.broken('R12', `A commit of ${sent.memberId} was accepted in ${place}, which ${nameOf(owner)} owned.`);
      else if (sent.memberEpoch < owner.memberEpoch)
        this.broken('R12', `A commit of a former life of ${sent.memberId} was accepted in ${place}.`);
      if (sent.place !== place || sent.offset !== offset)
        this.broken('R12', `The commit ${sent.offset} in ${sent.place} became ${offset} in ${place}.`);
    }
    if (offset < (before.committed?.offset ?? 0)) {
      // The retry of a commit meets a larger one that its member has sent through another process meanwhile.
      if (sent?.wasOvertaken === true && !sent.onlyForward) this.mark('commit overtaken by a larger one took it back');
      else this.broken('R12', `The offset of ${place} went back from ${before.committed?.offset} to ${offset}.`);
    }
    if (offset > slot.readTo && !this.isOfGoneTopic(place))
      this.broken('R13', `${offset} was committed in ${place}, of which members have read up to ${slot.readTo} only.`);
  }

  /** What was committed has expired. */
  private expired(place: Place, { committed }: SlotState): void {
    const { skewMsMax, offsetsRetentionMs } = this.options;
    const ageMs = this.now() - (committed?.committedAtMs ?? 0);
    this.mark('offset expired');
    if (ageMs + 2 * skewMsMax < offsetsRetentionMs)
      this.broken('R12', `The offset of ${place} was deleted ${ageMs} ms after it was committed.`);
  }

  private startAgain(place: Place, state: SlotState, readTo: number): void {
    const nowMs = this.options.nowMs();
    // The answers to earlier commits may be under way.
    const committed = [...this.slotOf(place).committed, { atMs: nowMs, offset: state.committed?.offset ?? 0 }];
    this.slots.set(place, { state, ownedSinceMs: nowMs, readTo, committed });
  }

  private slotOf(place: Place): WatchedSlot {
    let slot = this.slots.get(place);
    if (slot === undefined) {
      slot = { state: EMPTY_SLOT, ownedSinceMs: 0, readTo: 0, committed: [] };
      this.slots.set(place, slot);
    }
    return slot;
  }

  private isOfGoneTopic(place: Place): boolean {
    return this.goneTopics.has(topicIdOf(place));
  }

  /** Whether the owner of a slot may still read it: it is the present user of its member, and was told of the partition. */
  private isHolder({ memberKey, memberId }: SlotOwner, place: Place): boolean {
    const member = this.members.get(memberKey);
    const [topicId, partition] = [topicIdOf(place), partitionOf(place)];
    return (
      member !== undefined &&
      member.memberId === memberId &&
      holds(member, topicId, partition) &&
      !hasPartition(member.unclaimed, topicId, partition)
    );
  }

  /** Whether the member still lives the life in which it had this epoch. */
  private isLive({ memberKey, memberId }: Belief, epoch: number): boolean {
    const member = this.members.get(memberKey);
    const from = this.lifeFrom.get(memberKey) ?? 0;
    return member !== undefined && !member.isGone && member.memberId === memberId && epoch >= from;
  }

  private checkBeliefs(): void {
    const owners = new Map<Place, string>();
    for (const [user, belief] of this.beliefs) {
      for (const [place, epoch] of belief.places) {
        if (!this.isLive(belief, epoch) || this.isOfGoneTopic(place)) continue;
        const other = owners.get(place);
        if (other !== undefined) this.broken('R11', `${user} and ${other} both believe to own ${place}.`);
        owners.set(place, user);
      }
    }
  }

  private broken(promise: string, message: string): void {
    this.options.broken(promise, message);
  }

  private mark(name: string): void {
    this.options.mark(name);
  }
}

export function topicIdOf(place: Place): string {
  return place.slice(0, place.lastIndexOf('/'));
}

export function partitionOf(place: Place): number {
  return Number(place.slice(place.lastIndexOf('/') + 1));
}

function nameOf(owner: SlotOwner | undefined): string {
  return owner === undefined ? 'nobody' : `${owner.memberId} (${owner.memberKey}, epoch ${owner.memberEpoch})`;
}

function isSameOwner(a: SlotOwner | undefined, b: SlotOwner): boolean {
  return a?.memberKey === b.memberKey && a.memberId === b.memberId && a.memberEpoch === b.memberEpoch;
}

/** Whether nothing but what is committed differs. */
function isSameClaim(before: SlotState, after: SlotState): boolean {
  return after.owner !== undefined && isSameOwner(before.owner, after.owner) && before.fence === after.fence;
}
