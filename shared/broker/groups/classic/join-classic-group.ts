import { EventLogError } from '../../../log/errors.ts';
import { type ClassicGroup, hasGeneration, isDue } from '../../../log/group/classic/classic-group.ts';
import {
  type ClassicMember,
  classicKey,
  endClassic,
  instanceIdOf,
  isLive,
} from '../../../log/group/classic/classic-member.ts';
import { consumerSubscription } from '../../../log/group/classic/consumer-subscription.ts';
import type { Roster } from '../../../log/group/classic/generation.ts';
import { decideJoin } from '../../../log/group/classic/join.ts';
import { allowsDowngrade } from '../../../log/group/classic/migration-policy.ts';
import { chooseProtocol, metadataOf, sameProtocols } from '../../../log/group/classic/protocols.ts';
import { CLASSIC_MEMBERS_MAX } from '../../../log/limits.ts';
import type { ItemStore } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import { retrying } from '../../retry.ts';
import { NO_TOPIC } from '../../usage/usage-meter.ts';
import { hasLiveConsumer, hasLiveMember, liveClassicMembers } from '../no-members.ts';
import { joinUpgradedGroup, takeInstanceFromConsumer } from '../upgrade/join-upgraded-group.ts';
import { checkJoin, clientText, type JoinClassicRequest, newMemberId, rebalanceTimeout } from './join-request.ts';
import {
  fencedInstance,
  groupFull,
  inconsistentProtocol,
  memberIdRequired,
  refusal,
  tooManyChanges,
  unknownClassicMember,
} from './state/errors.ts';
import {
  listClassicMembers,
  readClassicGroup,
  readClassicMember,
  storeClassicMember,
  touchClassicMember,
} from './state/items.ts';
import { beginClassicRound, tryCompleteRound } from './state/rounds.ts';
import { readRoster } from './state/stored-parts.ts';
import { LOOK_EVERY_MS, waitForLook } from './state/wait.ts';

export type { JoinClassicRequest };

export interface JoinClassicResult {
  readonly memberId: string;
  /** For all further requests of the member, until it joins again. */
  readonly generation: number;
  readonly protocolType: string;
  /** The protocol that the group has chosen. */
  readonly protocol: string;
  /** The member id of the leader. */
  readonly leader: string;
  /** The leader is a static member that has taken the place of a former one: what that one assigned holds. */
  readonly skipAssignment: boolean;
  /** All members, for the leader; otherwise empty. */
  readonly members: readonly JoinedMember[];
}

export interface JoinedMember {
  readonly memberId: string;
  readonly instanceId: string | undefined;
  /** Of the chosen protocol. */
  readonly metadata: Uint8Array;
}

const TRIES = 16;
/** How often a process lists the members of a small and of a large group while it waits for them. */
const LIST_EVERY_MS = 200;
const LIST_EVERY_MS_LARGE = 1_000;
const SMALL_GROUP = 16;

/**
 * A member joins a classic group, or joins again: Kafka's JoinGroup. Waits until the round ends: when all members have joined,
 * or their rebalance timeout is over, or for the first members of a group the initial delay. The session does not end meanwhile.
 *
 * Repeating a request is safe. If the process dies, the client joins again through another one, under the same member id.
 * The member's item is stored first, and the round begins then. So whoever completes the round before this one knows the member.
 *
 * 2 GetItems, 1 PutItem and 1 UpdateItem to join; while it waits, 1 GetItem every 200 ms for all waiting members of the
 * process, 1 Query of the members every 200 ms to 1 s, and 1 UpdateItem every third of a session; 1 UpdateItem for the answer,
 * and the roster if it is not in memory. In a group that has members by KIP-848 see `joinUpgradedGroup`: nobody is waited for.
 * @throws EventLogError `invalid_request`, `member_id_required` (its details have the `memberId`), `unknown_member`,
 * `fenced_instance_id`, `inconsistent_group_protocol`, `group_type_mismatch`, `group_full`, `shutting_down` (the signal was
 * aborted), `throttled`
 */
export async function joinClassicGroup(
  context: BrokerContext,
  request: JoinClassicRequest,
): Promise<JoinClassicResult> {
  checkJoin(request);
  const isNew = request.memberId === '';
  const memberId = isNew ? newMemberId(context.random, request) : request.memberId;
  if (isNew && request.instanceId === undefined && request.requiresMemberId)
    throw memberIdRequired(request.group, memberId);
  return new Join(context, request, memberId).run();
}

/** What is stored under the member's key, and the same if the member is not gone. */
interface StoredMember {
  readonly stored: ClassicMember | undefined;
  readonly live: ClassicMember | undefined;
}

type Registered =
  | { readonly type: 'answer'; readonly result: JoinClassicResult }
  | { readonly type: 'joined'; readonly round: number };

class Join {
  readonly #context: BrokerContext;
  readonly #items: ItemStore;
  readonly #request: JoinClassicRequest;
  readonly #memberId: string;
  readonly #key: string;
  /** The member must be there under this id: the client gave it, or this request has stored it. */
  #mustBeKnown: boolean;
  #seenAtMs = Number.NEGATIVE_INFINITY;

  constructor(context: BrokerContext, request: JoinClassicRequest, memberId: string) {
    this.#context = context;
    this.#items = context.usage.of(NO_TOPIC, 'group').items;
    this.#request = request;
    this.#memberId = memberId;
    this.#key = classicKey(memberId, request.instanceId);
    this.#mustBeKnown = request.memberId !== '' && request.instanceId !== undefined;
  }

  async run(): Promise<JoinClassicResult> {
    for (;;) {
      const registered = await retrying(this.#context, 'from_error', () => this.#register());
      if (registered.type === 'answer') return registered.result;
      const result = await this.#waitFor(registered.round);
      if (result !== undefined) return result;
    }
  }

  /** Stores the member for a round that is under way, or begins one. */
  async #register(): Promise<Registered> {
    const { group: name } = this.#request;
    for (let tries = 0; tries < TRIES; tries++) {
      const group = await readClassicGroup(this.#items, name);
      const known = await this.#readKnown();
      if (group.type === 'consumer') await this.#takeInstance(known);
      // The members are listed after the group was read: one that comes later raises the epoch, and the round does not begin.
      if (await this.#staysConsumer(group)) {
        const result = await this.#joinUpgraded();
        if (result === undefined) continue;
        return { type: 'answer', result };
      }
      const roster = hasGeneration(group) ? await readRoster(this.#context, this.#items, name, group) : undefined;
      await this.#checkFits(group, roster, known.live);
      const decision = decideJoin(group, roster, known.live, {
        ...this.#request,
        key: this.#key,
        memberId: this.#memberId,
      });
      const round = decision.type === 'join' ? decision.round : (known.live?.round ?? 0);
      if (!(await this.#store(known, round))) continue;
      if (decision.type === 'answer') return { type: 'answer', result: this.#resultOf(group, roster as Roster) };
      const isUnderWay = group.type === 'classic' && group.phase === 'joining' && group.round === round;
      if (!isUnderWay && !(await this.#begin(group))) continue;
      this.#context.classicGroups.changed(name);
      return { type: 'joined', round };
    }
    throw tooManyChanges(name);
  }

  /** The group has live members by KIP-848, or may not become a classic one under its members by that protocol. */
  async #staysConsumer({ type, hasClassicMembers }: ClassicGroup): Promise<boolean> {
    if (type !== 'consumer') return false;
    const mayChange = !hasClassicMembers || allowsDowngrade(this.#context.settings.groupMigrationPolicy);
    return (mayChange ? hasLiveConsumer : hasLiveMember)(this.#context, this.#items, this.#request.group);
  }

  /** The group has members by KIP-848: this one is served as one of them. */
  async #joinUpgraded(): Promise<JoinClassicResult | undefined> {
    try {
      const generation = await joinUpgradedGroup(this.#context, this.#items, {
        request: this.#request,
        key: this.#key,
        memberId: this.#memberId,
        check: (stored) => this.#check(stored),
        noteStored: () => {
          this.#mustBeKnown = true;
        },
      });
      if (generation === undefined) return undefined;
      const { protocolType, protocols } = this.#request;
      const protocol = protocols[0]?.name ?? '';
      const joined = { memberId: this.#memberId, generation, protocolType, protocol };
      return { ...joined, leader: '', skipAssignment: false, members: [] };
    } catch (error) {
      const code = error instanceof EventLogError ? error.code : undefined;
      if (code === 'group_type_mismatch' || code === 'inconsistent_group_protocol') await this.#end();
      throw error;
    }
  }

  /** A consumer takes over the instance id of a member by KIP-848, unless it uses that already. */
  async #takeInstance({ live }: StoredMember): Promise<void> {
    const { group, instanceId, protocolType, protocols } = this.#request;
    if (instanceId === undefined || live !== undefined || !consumerSubscription(protocolType, protocols)) return;
    await takeInstanceFromConsumer(this.#context, this.#items, group, { memberId: this.#memberId, instanceId });
  }

  /**
   * Begins a round. The members by the classic protocol of a group that has none by KIP-848 any more must have time to join:
   * they still read what they have.
   */
  async #begin(group: ClassicGroup): Promise<boolean> {
    const { group: name } = this.#request;
    const others =
      group.type === 'consumer' ? await liveClassicMembers(this.#context, this.#items, name) : ([] as const);
    if (others === undefined) return false;
    const timeoutsMs = others.map(({ rebalanceTimeoutMs }) => rebalanceTimeoutMs);
    const hasMembers = others.some(({ key }) => key !== this.#key);
    const rebalanceTimeoutMs = Math.max(rebalanceTimeout(this.#request), ...timeoutsMs);
    return beginClassicRound(this.#context, this.#items, name, group, { rebalanceTimeoutMs, hasMembers });
  }

  /** The member as it is stored, if it is one. */
  async #readKnown(): Promise<StoredMember> {
    const found = await readClassicMember(this.#items, this.#request.group, this.#key);
    this.#check(found);
    return { stored: found, live: found?.isGone === false ? found : undefined };
  }

  /** @throws EventLogError `unknown_member`, `fenced_instance_id` if the request may not have the member */
  #check(found: { readonly memberId: string; readonly isGone: boolean } | undefined): void {
    const { group, memberId: given, instanceId } = this.#request;
    const isGone = found === undefined || found.isGone;
    // A member by KIP-848 has its instance id.
    if (instanceId !== undefined && found?.isGone && found.memberId !== this.#memberId && this.#mustBeKnown)
      throw fencedInstance(group, instanceId);
    // The id of a dynamic member may have been given to it by `member_id_required`, which stores nothing.
    const isEnded = found?.isGone === true && (given !== '' || this.#mustBeKnown);
    if (isEnded || (isGone && this.#mustBeKnown)) throw unknownClassicMember({ group, memberId: this.#memberId });
    if (!isGone && found.memberId !== this.#memberId && this.#mustBeKnown)
      throw fencedInstance(group, instanceId ?? '');
  }

  /**
   * A member that does not fit the others is rejected before it disturbs them. Without a generation, or if two such members
   * come at once, the end of the round rejects it.
   */
  async #checkFits(group: ClassicGroup, roster: Roster | undefined, known: ClassicMember | undefined): Promise<void> {
    const { group: name, protocolType, protocols } = this.#request;
    if (roster === undefined || roster.members.length === 0) return;
    if (known === undefined && group.memberCount >= CLASSIC_MEMBERS_MAX) return this.#reject(groupFull(name));
    if (group.protocolType === protocolType && metadataOf(protocols, group.protocol ?? '') !== undefined) return;
    const nowMs = this.#context.clock.nowMs();
    const others = (await listClassicMembers(this.#items, name)).filter(
      (member) => isLive(member, nowMs) && member.key !== this.#key,
    );
    const fits =
      others.every((member) => member.protocolType === protocolType) &&
      chooseProtocol([...others.map((member) => member.protocols), protocols]) !== undefined;
    if (!fits) await this.#reject(inconsistentProtocol(name));
  }

  /** Returns whether the member is stored as this request says. */
  async #store({ stored, live }: StoredMember, round: number): Promise<boolean> {
    const { group, protocolType, protocols, sessionTimeoutMs, clientId, clientHost } = this.#request;
    const nowMs = this.#context.clock.nowMs();
    const isAsItShouldBe =
      this.#seenAtMs === live?.seenAtMs &&
      live?.round === round &&
      live.memberId === this.#memberId &&
      sameProtocols(live.protocols, protocols);
    if (isAsItShouldBe) return true;
    const member = await storeClassicMember(this.#items, group, stored, {
      key: this.#key,
      memberId: this.#memberId,
      version: 0,
      round,
      epoch: stored?.epoch ?? 0,
      protocolType,
      protocols,
      memberSinceMs: live?.memberSinceMs ?? nowMs,
      seenAtMs: nowMs,
      sessionTimeoutMs,
      rebalanceTimeoutMs: rebalanceTimeout(this.#request),
      client: { clientId: clientText(clientId), host: clientText(clientHost) },
      isGone: false,
    });
    if (member === undefined) return false;
    this.#mustBeKnown = true;
    this.#seenAtMs = nowMs;
    return true;
  }

  /** Waits until the round ends. Returns `undefined` if it has ended without this member, or another one is under way. */
  async #waitFor(round: number): Promise<JoinClassicResult | undefined> {
    const { group: name, sessionTimeoutMs, signal } = this.#request;
    const { classicGroups, clock } = this.#context;
    for (;;) {
      const change = classicGroups.nextChange(name);
      try {
        const group = await classicGroups.lookTogether(name, clock.nowMs(), LOOK_EVERY_MS, () =>
          retrying(this.#context, 'from_error', () => readClassicGroup(this.#items, name)),
        );
        if (group.type !== 'classic' || group.round !== round || group.phase === 'empty') return undefined;
        if (group.phase !== 'joining') return await this.#resultIfListed(group);
        if (this.#mayComplete(group) && (await this.#tryComplete(group))) continue;
        if (clock.nowMs() - this.#seenAtMs >= sessionTimeoutMs / 3) await this.#touch();
        await waitForLook(this.#context, name, change, signal);
      } finally {
        change.stop();
      }
    }
  }

  #mayComplete(group: ClassicGroup): boolean {
    const nowMs = this.#context.clock.nowMs();
    const due = isDue(group, nowMs);
    if (group.isInitialRound && !due) return false;
    const everyMs = due || group.memberCount <= SMALL_GROUP ? LIST_EVERY_MS : LIST_EVERY_MS_LARGE;
    return this.#context.classicGroups.isTimeFor(this.#request.group, `round ${group.round}`, nowMs, everyMs);
  }

  #tryComplete(group: ClassicGroup): Promise<boolean> {
    return retrying(this.#context, 'from_error', () =>
      tryCompleteRound(this.#context, this.#items, this.#request.group, group),
    );
  }

  async #resultIfListed(group: ClassicGroup): Promise<JoinClassicResult | undefined> {
    const { group: name } = this.#request;
    const roster = await retrying(this.#context, 'from_error', () =>
      readRoster(this.#context, this.#items, name, group),
    );
    const rejected = roster?.rejected.find(({ key }) => key === this.#key);
    if (rejected !== undefined) throw rejected.reason === 'full' ? groupFull(name) : inconsistentProtocol(name);
    const listed = roster?.members.find(({ key }) => key === this.#key);
    if (roster === undefined || listed?.memberId !== this.#memberId) return undefined;
    // The session begins with the answer. Another user of the instance id is found here.
    await this.#touch();
    return this.#resultOf(group, roster);
  }

  async #touch(): Promise<void> {
    const { group, instanceId } = this.#request;
    const nowMs = this.#context.clock.nowMs();
    const { ok, attributes } = await retrying(this.#context, 'from_error', () =>
      touchClassicMember(this.#items, group, { key: this.#key, memberId: this.#memberId }, nowMs),
    );
    if (ok) this.#seenAtMs = nowMs;
    else throw refusal(group, this.#memberId, instanceId, attributes);
  }

  #resultOf(group: ClassicGroup, { members }: Roster): JoinClassicResult {
    const isLeader = group.leader === this.#key;
    const hasReplaced = members.some(({ key, memberId }) => key === this.#key && memberId !== this.#memberId);
    const skipAssignment = isLeader && hasReplaced && this.#request.supportsSkippingAssignment === true;
    // A client that cannot skip it must not find itself to be the leader.
    const isTold = isLeader && (!hasReplaced || skipAssignment);
    const listed = members.map(({ key, memberId, metadata }) => ({
      memberId: key === this.#key && isTold ? this.#memberId : memberId,
      instanceId: instanceIdOf(key),
      metadata,
      key,
    }));
    return {
      memberId: this.#memberId,
      generation: group.epoch,
      protocolType: group.protocolType ?? '',
      protocol: group.protocol ?? '',
      leader: listed.find(({ key }) => key === group.leader)?.memberId ?? '',
      skipAssignment,
      members: isTold ? listed.map(({ memberId, instanceId, metadata }) => ({ memberId, instanceId, metadata })) : [],
    };
  }

  async #reject(error: Error): Promise<never> {
    await this.#end();
    throw error;
  }

  /** If an earlier try has stored the member, nobody waits for it. */
  async #end(): Promise<void> {
    const { group } = this.#request;
    const found = await readClassicMember(this.#items, group, this.#key);
    if (this.#mustBeKnown && found?.memberId === this.#memberId && !found.isGone)
      await storeClassicMember(this.#items, group, found, endClassic(found));
  }
}
