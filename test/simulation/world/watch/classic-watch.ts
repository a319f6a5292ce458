import type { JoinClassicResult } from '../../../../shared/broker/groups/classic/join-classic-group.ts';
import {
  classicGroupFromAttributes,
  classicMemberFromAttributes,
} from '../../../../shared/broker/groups/classic/state/items.ts';
import { concatBytes, equalBytes } from '../../../../shared/log/bytes.ts';
import type { ClassicGroup, StoredParts } from '../../../../shared/log/group/classic/classic-group.ts';
import { type ClassicMember, isClassicKey } from '../../../../shared/log/group/classic/classic-member.ts';
import {
  type ClassicAssignment,
  type Roster,
  unpackAssignment,
  unpackRoster,
} from '../../../../shared/log/group/classic/generation.ts';
import {
  groupKey,
  groupListingKey,
  memberPartitionKey,
  offsetsPartitionKey,
  TARGET,
  targetItemKey,
  targetPartitionKey,
} from '../../../../shared/storage/group-keys.ts';
import { EPOCH_MS } from '../simulated-process.ts';
import { ClassicOffsetWatch } from './classic-offset-watch.ts';
import { GROUP, type GroupWatchOptions, type Place } from './group-watch.ts';
import type { ArrivedWrite } from './storage-watch.ts';

/** What a member was given, as it believes. */
export interface ClassicBelief {
  readonly key: string;
  readonly memberId: string;
  readonly generation: number;
  readonly places: readonly Place[];
}

interface GroupAt {
  readonly atMs: number;
  readonly group: ClassicGroup;
}

interface MemberAt {
  readonly atMs: number;
  /** `undefined`: gone, or not there. */
  readonly memberId: string | undefined;
}

/** The moves of a group that `docs/design/0011` has, by `from to`; what the epoch and the round rise by. */
const MOVES: Readonly<Record<string, readonly [number, number]>> = {
  'empty joining': [0, 1],
  'syncing joining': [0, 1],
  'stable joining': [0, 1],
  'joining syncing': [1, 0],
  'joining empty': [1, 0],
  'syncing stable': [0, 0],
};

/**
 * Looks at every write to the items of a classic group, and at what its members are told: generations and rounds rise by the moves
 * that there are; what a generation consists of never changes, and all its members learn the same; no partition has two owners in a
 * generation; a round waits for its members; nobody is ended before its time, or comes back under its old id.
 */
export class ClassicWatch {
  /** Nobody need go on. */
  isJudged = false;
  /** Clients that say nothing any more. */
  readonly dead = new Set<string>();
  readonly offsets: ClassicOffsetWatch;
  readonly #options: GroupWatchOptions;
  readonly #members = new Map<string, ClassicMember>();
  readonly #groups: GroupAt[] = [];
  readonly #memberships = new Map<string, MemberAt[]>();
  readonly #parts = new Map<string, Uint8Array>();
  readonly #rosters = new Map<number, Roster>();
  readonly #leaders = new Map<number, string | undefined>();
  readonly #assignments = new Map<number, ClassicAssignment>();
  readonly #beliefs = new Map<string, ClassicBelief>();
  readonly #leavers = new Set<string>();
  /** Members that were heard of again after their session had ended. */
  readonly #revivedAtMs = new Map<string, number>();
  #roundBeganAtMs = 0;
  #isListed = false;

  constructor(options: GroupWatchOptions) {
    this.#options = options;
    this.offsets = new ClassicOffsetWatch(options, (key, memberId) => {
      const member = this.#members.get(key);
      return member !== undefined && !member.isGone && member.memberId === memberId;
    });
  }

  wrote(write: ArrivedWrite): void {
    const { key, result, kind } = write;
    if (!result.ok) {
      if (key.pk === memberPartitionKey(GROUP)) this.#mark('classic member had changed');
      else if (key.pk === groupKey(GROUP).pk) this.#mark('classic group had moved');
      return;
    }
    if (key.pk === memberPartitionKey(GROUP)) this.#wroteMember(write);
    else if (key.pk === offsetsPartitionKey(GROUP)) this.offsets.wrotePage(write);
    else if (key.pk === targetPartitionKey(GROUP))
      this.#wrotePart(key.sk, kind === 'delete' ? undefined : (result.attributes[TARGET.part] as Uint8Array));
    else if (key.pk === groupListingKey(GROUP).pk && key.sk === GROUP) this.#isListed = kind !== 'delete';
    else if (key.pk === groupKey(GROUP).pk && kind !== 'delete')
      this.#wroteGroup(classicGroupFromAttributes(result.attributes));
  }

  /** What is left of the group beside its epoch and members that are gone, which expire. */
  get leftovers(): string[] {
    const left = this.offsets.pages.map((page) => `the page ${page}`);
    if (this.#parts.size > 0) left.push(`${this.#parts.size} parts of generations`);
    if (this.#isListed) left.push('the listing');
    return left;
  }

  get lastSessionEndMs(): number {
    const live = [...this.#members.values()].filter(({ isGone }) => !isGone);
    return Math.max(0, ...live.map(({ seenAtMs, sessionTimeoutMs }) => seenAtMs + sessionTimeoutMs - EPOCH_MS));
  }

  /** The answer to a join that was sent at this time. */
  joined(key: string, { generation, memberId, leader, members }: JoinClassicResult, sentAtMs: number): void {
    const roster = this.#rosters.get(generation);
    const wrong = (what: string): void => this.#broken(`${memberId} was told of generation ${generation}: ${what}.`);
    if (roster === undefined) {
      wrong('there is none');
      return;
    }
    if (!this.#was(sentAtMs, ({ epoch }) => epoch === generation)) wrong('it is over');
    const listed = roster.members.find((each) => each.key === key);
    if (listed === undefined) wrong('it is not in it');
    const leaderKey = this.#leaders.get(generation);
    const leading = roster.members.find((each) => each.key === leaderKey);
    const isTold = leader === memberId && leaderKey === key;
    if (!isTold && leader !== leading?.memberId) wrong(`${leader} leads, and not ${leading?.memberId}`);
    if (isTold !== members.length > 0) wrong('only the leader is told of the members');
    if (!isTold) return;
    const expected = roster.members.map((each) => (each.key === key ? memberId : each.memberId));
    if (members.map((each) => each.memberId).join() !== expected.join()) wrong('its members are others');
  }

  /** The answer to a sync: from now on the member reads these. */
  synced(user: string, belief: ClassicBelief, assignment: Uint8Array): void {
    const { key, memberId, generation, places } = belief;
    const given = this.#assignments.get(generation)?.get(key);
    if (given === undefined || !equalBytes(given, assignment))
      this.#broken(`${memberId} was given something else than the leader assigned in generation ${generation}.`);
    this.offsets.told(belief);
    this.believe(user, belief);
    for (const [other, { generation: its, places: all, key: itsKey }] of this.#beliefs) {
      if (other === user || its !== generation || itsKey === key) continue;
      for (const place of places)
        if (all.includes(place)) this.#broken(`${user} and ${other} both have ${place} in generation ${generation}.`);
    }
  }

  believe(user: string, belief: ClassicBelief | undefined): void {
    if (belief === undefined) this.#beliefs.delete(user);
    else this.#beliefs.set(user, belief);
  }

  /** Those who have the partition in the present generation, which is stable. */
  settledBelieversOf(place: Place): string[] {
    const { group } = this.#groups.at(-1) ?? {};
    if (group?.type !== 'classic' || group.phase !== 'stable') return [];
    return [...this.#beliefs].flatMap(([user, { generation, places, key, memberId }]) => {
      const member = this.#members.get(key);
      const isLive = member !== undefined && !member.isGone && member.memberId === memberId;
      return isLive && generation === group.epoch && places.includes(place) ? [user] : [];
    });
  }

  /** Nobody but the one that believes it is given a partition. */
  isOwned(place: Place): boolean {
    return this.settledBelieversOf(place).length === 1;
  }

  committedOf(place: Place): number | undefined {
    return this.offsets.committedOf(place);
  }

  /** A request in a generation, sent at this time, was answered without an error. */
  acceptedIn(belief: Omit<ClassicBelief, 'places'>, sentAtMs: number): void {
    const { generation, key, memberId } = belief;
    if (!this.#was(sentAtMs, (group) => group.epoch === generation && group.phase !== 'joining'))
      this.#broken(`A heartbeat of ${memberId} in generation ${generation} was accepted, which is over.`);
    if (!this.#hadMember(key, sentAtMs, (id) => id === memberId))
      this.#broken(`A heartbeat of ${memberId} was accepted, which is no member.`);
  }

  /** A request in a generation, sent at this time, was refused. */
  refusedIn({ generation, key, memberId }: Omit<ClassicBelief, 'places'>, code: string, sentAtMs: number): void {
    this.#mark(`classic: ${code}`);
    const isOver = this.#was(sentAtMs, ({ epoch, phase, type }) => {
      return type !== 'classic' || epoch !== generation || phase === 'empty';
    });
    if (code === 'illegal_generation' && !isOver)
      this.#unduly(`${memberId} was refused for generation ${generation}, which is the present one.`);
    const isOther = this.#hadMember(key, sentAtMs, (id) => id !== memberId);
    if (code === 'fenced_instance_id' && !isOther) this.#unduly(`${memberId} was fenced, and is the only one.`);
    if (code === 'unknown_member' && !isOther && !isOver) this.#unduly(`${memberId} was refused, and is a member.`);
  }

  leaving(key: string): void {
    this.#leavers.add(key);
  }

  left(key: string, memberId: string): void {
    const member = this.#members.get(key);
    if (member?.memberId === memberId && !member.isGone) this.#broken(`${memberId} has left, and is still a member.`);
  }

  #wroteGroup(next: ClassicGroup): void {
    const before = this.#groups.at(-1)?.group;
    this.#groups.push({ atMs: this.#options.nowMs(), group: next });
    if (before !== undefined && (next.epoch < before.epoch || next.round < before.round))
      this.#broken(`The group went from ${nameOf(before)} to ${nameOf(next)}.`);
    if (next.type === 'none') this.#mark('classic group deleted');
    if (next.type !== 'classic') return;
    if (before?.type === 'classic') this.#checkMove(before, next);
    else if (next.phase !== 'joining') this.#broken(`The group began as ${nameOf(next)}.`);
    else if (before?.type === 'none') this.#mark('deleted classic group made again');
    if (next.phase === 'joining') {
      if (before?.round !== next.round) this.#roundBeganAtMs = this.#options.nowMs();
      return;
    }
    if (next.phase === 'empty') return;
    const { epoch } = next;
    this.#keep(this.#rosters, epoch, this.#read(next.roster, 'roster', unpackRoster));
    this.#leaders.set(epoch, next.leader);
    if (next.phase === 'stable')
      this.#keep(this.#assignments, epoch, this.#read(next.assignment, 'assignment', unpackAssignment));
  }

  #checkMove(before: ClassicGroup, next: ClassicGroup): void {
    if (next.epoch === before.epoch && next.phase === 'stable') {
      const isOther = before.phase === 'stable' && before.assignment?.name !== next.assignment?.name;
      if (isOther || before.roster?.name !== next.roster?.name)
        this.#broken(`Generation ${next.epoch} has other members, or another assignment, than before.`);
    }
    const isSame = before.phase === next.phase && before.epoch === next.epoch && before.round === next.round;
    if (isSame) return;
    const rises = MOVES[`${before.phase} ${next.phase}`];
    if (rises === undefined || next.epoch - before.epoch !== rises[0] || next.round - before.round !== rises[1])
      this.#broken(`The group went from ${nameOf(before)} to ${nameOf(next)}, which is no move.`);
    this.#mark(`classic: ${before.phase} to ${next.phase}`);
    if (before.phase === 'joining') this.#checkCompletion(before);
  }

  /** A round ends when all have joined who were members when it began, or at its time. */
  #checkCompletion({ round, deadlineMs, isInitialRound }: ClassicGroup): void {
    const now = this.#now();
    if (!this.#options.areClocksRight() || now >= deadlineMs) return;
    if (isInitialRound) this.#broken(`The first round ended ${deadlineMs - now} ms before its time.`);
    for (const member of this.#members.values()) {
      const isMissing = !member.isGone && !isOverdue(member, now) && member.round < round;
      const isSure = (this.#revivedAtMs.get(member.key) ?? -1) < this.#roundBeganAtMs;
      if (isMissing && isSure && member.seenAtMs <= EPOCH_MS + this.#roundBeganAtMs)
        this.#broken(`Round ${round} ended ${deadlineMs - now} ms before its time, and without ${member.memberId}.`);
    }
  }

  #wroteMember({ key, kind, result }: ArrivedWrite): void {
    if (!isClassicKey(key.sk)) return;
    const before = this.#members.get(key.sk);
    const { attributes = {} } = result;
    const member = kind === 'delete' ? undefined : classicMemberFromAttributes(key.sk, attributes);
    const memberships = this.#memberships.get(key.sk) ?? [];
    this.#memberships.set(key.sk, memberships);
    memberships.push({ atMs: this.#options.nowMs(), memberId: member?.isGone ? undefined : member?.memberId });
    if (member === undefined) {
      this.#members.delete(key.sk);
      return;
    }
    this.#members.set(key.sk, member);
    if (before === undefined) return;
    if (member.version <= before.version) this.#broken(`The version of ${key.sk} did not rise.`);
    const isSame = member.memberId === before.memberId;
    if (before.isGone && !member.isGone && isSame) this.#broken(`${member.memberId} is a member again, and was gone.`);
    if (!before.isGone && !isSame) this.#mark('static classic member replaced');
    if (!before.isGone && member.isGone) this.#ended(before);
    const isRevived = !before.isGone && !member.isGone && member.seenAtMs > before.seenAtMs + before.sessionTimeoutMs;
    if (isRevived) this.#revivedAtMs.set(key.sk, this.#options.nowMs());
  }

  /** Only the end of its session, or that it has not joined a round in time, ends a member that has not left. */
  #ended(member: ClassicMember): void {
    this.#mark('classic member ended');
    const { key, round, memberId } = member;
    const { group } = this.#groups.at(-1) ?? {};
    if (this.#leavers.has(key) || !this.#options.areClocksRight() || group === undefined) return;
    if (isOverdue(member, this.#now())) return;
    // The round that it has not joined is over; `#checkCompletion` has looked whether it might be.
    if (round < group.round || (round === group.round && group.phase !== 'joining' && !this.#isOfGeneration(member)))
      return;
    this.#broken(`The session of ${memberId} was ended before its time.`);
  }

  #isOfGeneration({ key }: ClassicMember): boolean {
    const { group } = this.#groups.at(-1) ?? {};
    return this.#rosters.get(group?.epoch ?? 0)?.members.some((each) => each.key === key) ?? false;
  }

  #wrotePart(sk: string, part: Uint8Array | undefined): void {
    const before = this.#parts.get(sk);
    if (part === undefined) this.#parts.delete(sk);
    else this.#parts.set(sk, part);
    if (before !== undefined && part !== undefined && !equalBytes(before, part))
      this.#broken(`The part ${sk} of a generation changed.`);
  }

  #read<T>(stored: StoredParts | undefined, what: string, unpack: (bytes: Uint8Array) => T): T | undefined {
    const parts = Array.from({ length: stored?.parts ?? 0 }, (_, i) =>
      this.#parts.get(targetItemKey(GROUP, stored?.name ?? '', i).sk),
    );
    if (stored !== undefined && parts.every((part) => part !== undefined)) return unpack(concatBytes(parts));
    this.#options.broken('R16', `The group names the ${what} ${stored?.name}, which is not there.`);
    return undefined;
  }

  #keep<T>(all: Map<number, T>, epoch: number, now: T | undefined): void {
    if (now !== undefined && !all.has(epoch)) all.set(epoch, now);
  }

  /** Whether the group was so at some time since. */
  #was(sinceMs: number, test: (group: ClassicGroup) => boolean): boolean {
    for (let i = this.#groups.length - 1; i >= 0; i--) {
      const { atMs, group } = this.#groups[i] as GroupAt;
      if (test(group)) return true;
      if (atMs < sinceMs) return false;
    }
    return false;
  }

  #hadMember(key: string, sinceMs: number, test: (memberId: string | undefined) => boolean): boolean {
    const all = this.#memberships.get(key) ?? [];
    for (let i = all.length - 1; i >= 0; i--) {
      const { atMs, memberId } = all[i] as MemberAt;
      if (test(memberId)) return true;
      if (atMs < sinceMs) return false;
    }
    return test(undefined);
  }

  #now(): number {
    return EPOCH_MS + this.#options.nowMs();
  }

  #broken(message: string): void {
    this.#options.broken('R11', message);
  }

  #unduly(message: string): void {
    this.#options.broken('R18', message);
  }

  #mark(name: string): void {
    this.#options.mark(name);
  }
}

/** Not the product's own, which allows for clocks that differ. */
function isOverdue({ seenAtMs, sessionTimeoutMs }: ClassicMember, nowMs: number): boolean {
  return nowMs > seenAtMs + sessionTimeoutMs;
}

function nameOf({ type, epoch, phase, round }: ClassicGroup): string {
  return `${type} ${phase}, epoch ${epoch}, round ${round}`;
}
