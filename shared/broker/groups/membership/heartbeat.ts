import { EventLogError } from '../../../log/errors.ts';
import { type Group, needsTarget } from '../../../log/group/group.ts';
import type { AssignedTopic, HeartbeatResult } from '../../../log/group/heartbeat-result.ts';
import { acknowledge, isSettled, type Member, memberKey, takeTarget } from '../../../log/group/member.ts';
import { difference, NO_PARTITIONS, type PartitionSet, samePartitions } from '../../../log/group/partition-set.ts';
import { type Subscription, subscriptionHash } from '../../../log/group/subscription.ts';
import { shareOf } from '../../../log/group/target.ts';
import type { ItemStore } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import { retrying } from '../../retry.ts';
import { NO_TOPIC } from '../../usage/usage-meter.ts';
import { noteHeartbeat, readGroup, replaceMember } from '../items.ts';
import { claimUnclaimed, gainPartitions } from './claim-partitions.ts';
import { checkHeartbeat, type HeartbeatRequest, joinRequest } from './heartbeat-request.ts';
import { joinGroup } from './join-group.ts';
import { lookAfterGroup } from './look-after-group.ts';
import { raiseEpoch } from './raise-epoch.ts';
import { computeTarget, readTarget } from './targets.ts';

export type { AssignedTopic, HeartbeatResult };

/** A settled member sends a heartbeat this often, or three in a session. */
const INTERVAL_MS = 5_000;
const INTERVAL_MS_UNSETTLED = 100;
const INTERVAL_MS_BLOCKED = 500;
/** Other requests of the same member can change it at the same time; each of these tries looks again. */
const TRIES = 8;

/**
 * A member of a consumer group tells that it is alive and what it has, and learns what it reads from now on. Every heartbeat
 * does one step of what the group needs, so no process coordinates it: it computes a target, lets go of partitions, claims
 * one page of them, or expires a member that is overdue.
 *
 * A partition has one owner at a time. It moves when its owner was told to let go and did, or when the owner's session has
 * ended. Partitions that do not move are read on.
 *
 * Repeating a request is safe. Late copies change nothing. At most 4 requests, of which 1 write if nothing is to be done;
 * more if several requests of one member meet, if a member has more than 128 partitions to get, if a heartbeat that computes a
 * target says something new, or if topics are not in memory.
 * @throws EventLogError `invalid_request`, `unknown_member` (join again), `fenced_member_epoch` (drop all, join again),
 * `instance_in_use`, `group_type_mismatch` (the group has members that use Kafka's classic protocol), `throttled`
 */
export async function heartbeat(context: BrokerContext, request: HeartbeatRequest): Promise<HeartbeatResult> {
  await checkHeartbeat(request);
  const { items } = context.usage.of(NO_TOPIC, 'group');
  return retrying(context, 'from_error', async () => {
    for (let tries = 0; tries < TRIES; tries++) {
      const result = await new Beat(context, items, request).run();
      if (result === undefined) continue;
      context.groups.noteEpoch(request.group, memberKey(request.memberId, request.instanceId), result.memberEpoch);
      return withNames(context, result);
    }
    throw new EventLogError('throttled', `Other requests of member '${request.memberId}' change it at the same time.`, {
      details: { retryAfterMs: INTERVAL_MS_BLOCKED },
    });
  });
}

/** Names never change, so a process asks for them once. */
async function withNames(context: BrokerContext, { assigned, ...answer }: Answer): Promise<HeartbeatResult> {
  const { listings } = context.topics;
  const topics = [...assigned].map(async ([topicId, partitions]) => {
    const topic = await context.topics.nameOf(topicId, listings);
    return topic === undefined ? [] : [{ topic, topicId, partitions }];
  });
  return { ...answer, assignment: (await Promise.all(topics)).flat() };
}

interface Answer extends Omit<HeartbeatResult, 'assignment'> {
  readonly assigned: PartitionSet;
}

/** One try of a heartbeat. Each step returns `undefined` if another request got in between. */
class Beat {
  readonly #context: BrokerContext;
  readonly #items: ItemStore;
  readonly #request: HeartbeatRequest;
  readonly #key: string;

  constructor(context: BrokerContext, items: ItemStore, request: HeartbeatRequest) {
    this.#context = context;
    this.#items = items;
    this.#request = request;
    this.#key = memberKey(request.memberId, request.instanceId);
  }

  async run(): Promise<Answer | undefined> {
    const { group: name, memberId, memberEpoch, subscription } = this.#request;
    if (memberEpoch === 0 && subscription !== undefined) {
      const joined = await joinGroup(this.#context, this.#items, joinRequest(this.#request, subscription));
      return joined && this.#answerEarlier(joined);
    }
    // The group is read before the member if a target may be due, after it if the member has partitions to get: both in one
    // heartbeat would be more than 4 requests. A process that does not know tosses a coin, so neither waits for ever.
    const isReconciling = this.#context.groups.isReconciling(name, this.#key) || this.#coin();
    let group = isReconciling ? undefined : await readGroup(this.#items, name);
    if (group !== undefined && needsTarget(group, this.#now())) {
      const seen = group;
      const members = await this.#context.groups.computingOnce(name, () =>
        computeTarget(this.#context, this.#items, name, seen),
      );
      const member = members.find(({ key }) => key === this.#key);
      const isCurrent = member?.epoch === memberEpoch && member.memberId === memberId;
      if (isCurrent && !member.isGone && !member.isAway && !this.#saysMore(member))
        return this.#answer(member, INTERVAL_MS_UNSETTLED);
      group = undefined;
    }
    const now = this.#now();
    const key = { key: this.#key, memberId, memberEpoch };
    const { noted, member } = await noteHeartbeat(this.#items, name, key, now);
    if (member === undefined || member.isGone || member.isAway) throw unknownMember(this.#request);
    if (member.memberId !== memberId || memberEpoch > member.epoch) throw fencedMember(this.#request);
    if (!noted) return this.#answerEarlier(member);
    return this.#atEpoch(member, group);
  }

  /** The member was told more than the request knows, or learns it now. No partition moves: the answer repeats it. */
  async #answerEarlier(seen: Member): Promise<Answer | undefined> {
    const member = await this.#subscribeUntold(seen);
    if (member === undefined) return undefined;
    const claimed = await claimUnclaimed(this.#context, this.#items, this.#request.group, member);
    return claimed && this.#answer(claimed, INTERVAL_MS_UNSETTLED);
  }

  /**
   * A member that has gained what it was not told of yet sends the epoch before, and may say there what it subscribes to: it
   * does not say it again. Of other requests before the member's epoch nobody knows how late they are.
   */
  async #subscribeUntold(seen: Member): Promise<Member | undefined> {
    const subscription = this.#wanted(seen);
    const isUntold = seen.unclaimed.size > 0 && this.#request.memberEpoch === seen.epoch - 1;
    if (!isUntold || subscriptionHash(subscription) === subscriptionHash(seen.subscription)) return seen;
    return this.#subscribe(seen, { ...seen, subscription });
  }

  async #subscribe(seen: Member, changed: Member): Promise<Member | undefined> {
    const { group: name } = this.#request;
    const stored = await replaceMember(this.#items, name, seen, changed);
    if (stored !== undefined) await raiseEpoch(this.#items, this.#context.random, name);
    return stored;
  }

  async #atEpoch(seen: Member, known: Group | undefined): Promise<Answer | undefined> {
    const { group: name, owned } = this.#request;
    const subscription = this.#wanted(seen);
    if (subscriptionHash(subscription) !== subscriptionHash(seen.subscription)) {
      const stored = await this.#subscribe(seen, { ...acknowledge(seen, owned), subscription });
      return stored && this.#answer(stored, INTERVAL_MS_UNSETTLED);
    }
    const member = acknowledge(seen, owned);
    const missing = difference(member.wanted, member.assigned);
    if (known === undefined && missing.size > 0) {
      const result = await gainPartitions(this.#context, this.#items, name, { seen, member, missing });
      if (result === undefined) return undefined;
      // The next heartbeat reads the group: a newer target may no longer want what is blocked.
      if (!result.hasGained) return this.#answer(result.told, INTERVAL_MS_BLOCKED, false);
      return this.#answer(result.told, INTERVAL_MS_UNSETTLED);
    }
    const group = known ?? (await readGroup(this.#items, name));
    // A member without its group: somebody restored a part of the table. Its target makes both agree again.
    if (group === undefined || group.targetEpoch < member.targetEpoch) {
      await raiseEpoch(this.#items, this.#context.random, name);
      return this.#answer(seen, INTERVAL_MS_UNSETTLED);
    }
    if (group.targetEpoch > member.targetEpoch) return this.#takeTarget(seen, member, group);
    if (seen.unclaimed.size > 0 || !samePartitions(member.revoking, seen.revoking)) {
      const stored = await replaceMember(this.#items, name, seen, member);
      return stored && this.#answer(stored, INTERVAL_MS_UNSETTLED);
    }
    const isMoving =
      group.targetEpoch < group.epoch || (await lookAfterGroup(this.#context, this.#items, name, group, member));
    if (isMoving || missing.size > 0) return this.#answer(member, INTERVAL_MS_UNSETTLED);
    return this.#answer(member, isSettled(member) ? INTERVAL_MS : INTERVAL_MS_BLOCKED);
  }

  /** Whether the request changes the member. Kafka's clients say a change in one request alone, so none may pass over it. */
  #saysMore(member: Member): boolean {
    const isOther = subscriptionHash(this.#wanted(member)) !== subscriptionHash(member.subscription);
    return isOther || !samePartitions(acknowledge(member, this.#request.owned).revoking, member.revoking);
  }

  /** What the member subscribes to from now on. */
  #wanted({ subscription: present }: Member): Subscription {
    const { subscription = present, keeps } = this.#request;
    return {
      topics: keeps === 'topics' ? present.topics : subscription.topics,
      pattern: keeps === 'pattern' ? present.pattern : subscription.pattern,
    };
  }

  async #takeTarget(seen: Member, member: Member, group: Group): Promise<Answer | undefined> {
    const { group: name } = this.#request;
    const target = await readTarget(this.#context, this.#items, name, group);
    if (target === undefined) {
      await raiseEpoch(this.#items, this.#context.random, name);
      return this.#answer(seen, INTERVAL_MS_UNSETTLED);
    }
    const next = takeTarget(
      member,
      {
        epoch: group.targetEpoch,
        share: shareOf(target, member.key) ?? NO_PARTITIONS,
        computedFrom: target.members.find(({ key }) => key === member.key),
      },
      this.#now(),
    );
    const stored = await replaceMember(this.#items, name, seen, next);
    return stored && this.#answer(stored, INTERVAL_MS_UNSETTLED);
  }

  #answer(
    member: Member,
    intervalMs: number,
    isReconciling: boolean = difference(member.wanted, member.assigned).size > 0,
  ): Answer {
    const { memberId, sessionTimeoutMs } = member;
    this.#context.groups.noteReconciling(this.#request.group, this.#key, isReconciling);
    return {
      memberId,
      memberEpoch: member.epoch,
      heartbeatIntervalMs: Math.min(intervalMs, Math.floor(sessionTimeoutMs / 3)),
      sessionTimeoutMs,
      isSettled: intervalMs === INTERVAL_MS,
      assigned: member.assigned,
    };
  }

  #now(): number {
    return this.#context.clock.nowMs();
  }

  #coin(): boolean {
    return ((this.#context.random.bytes(1)[0] as number) & 1) === 1;
  }
}

export function unknownMember({
  group,
  memberId,
}: {
  readonly group: string;
  readonly memberId: string;
}): EventLogError {
  return new EventLogError(
    'unknown_member',
    `Group '${group}' has no member '${memberId}': its session has ended, or it has left. Drop its partitions, and join with the member epoch 0.`,
    { details: { group, memberId } },
  );
}

export function fencedMember({
  group,
  memberId,
}: {
  readonly group: string;
  readonly memberId: string;
}): EventLogError {
  return new EventLogError(
    'fenced_member_epoch',
    `The member epoch of '${memberId}' is not one that group '${group}' has given it. Drop its partitions, and join with the member epoch 0.`,
    { details: { group, memberId } },
  );
}
