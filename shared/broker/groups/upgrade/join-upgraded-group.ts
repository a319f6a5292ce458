import { CONSUMER_PROTOCOL, consumerSubscription } from '../../../log/group/classic/consumer-subscription.ts';
import { chooseProtocol } from '../../../log/group/classic/protocols.ts';
import { joinUpgraded } from '../../../log/group/classic/upgraded-member.ts';
import { type Group, needsTarget } from '../../../log/group/group.ts';
import { end, type Member, memberKey } from '../../../log/group/member.ts';
import { NO_PARTITIONS } from '../../../log/group/partition-set.ts';
import { subscriptionHash } from '../../../log/group/subscription.ts';
import type { ItemStore } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import { clientText, type JoinClassicRequest, rebalanceTimeout } from '../classic/join-request.ts';
import { groupTypeMismatch, inconsistentProtocol } from '../classic/state/errors.ts';
import { waitForLook } from '../classic/state/wait.ts';
import { listMembers, putNewMember, readGroup, readMember, replaceMember } from '../items.ts';
import { raiseEpoch } from '../membership/raise-epoch.ts';
import { becomesClassic, computeTarget, readTarget } from '../membership/targets.ts';

/** A join waits at most this long for a target that knows the member. */
const WAIT_MS = 3_000;
const TRIES = 8;

export interface Joiner {
  readonly request: JoinClassicRequest;
  readonly key: string;
  readonly memberId: string;
  /** Throws if the request may not have the member, as it is stored. */
  check(stored: Member | undefined): void;
  /** Called as soon as the member is stored under this request's id. */
  noteStored(): void;
}

/**
 * A member by the classic protocol joins a group of KIP-848, or joins again (docs/design/0012). Returns its generation: the
 * epoch of the member, at which its sync gets what the target gives it. There is no leader. `undefined`: another request changed
 * the member, or the group is none of KIP-848 any more; look again.
 *
 * 1 GetItem for the member and 2 for the group, 1 PutItem; for a new member, or another subscription, 1 Query, 1 UpdateItem and
 * often the computation of a target.
 * @throws EventLogError `group_type_mismatch` (it is no consumer), `inconsistent_group_protocol`, `shutting_down`
 */
export async function joinUpgradedGroup(
  context: BrokerContext,
  items: ItemStore,
  joiner: Joiner,
): Promise<number | undefined> {
  const { request, key } = joiner;
  const { group: name, protocolType, protocols } = request;
  const subscription = consumerSubscription(protocolType, protocols);
  if (subscription === undefined) throw groupTypeMismatch(name, 'consumer');
  const group = await readGroup(items, name);
  const stored = await readMember(items, name, key);
  joiner.check(stored);
  if (group === undefined || group.isDeleted || group.isClassic) return undefined;
  const seen = stored?.isGone === false ? stored : undefined;
  if (seen === undefined || protocols.some((each, i) => each.name !== seen.classic?.protocols[i]?.name))
    await checkProtocolShared(items, joiner);
  const hash = subscriptionHash({ topics: subscription.topics });
  const isCounted =
    seen !== undefined &&
    group.hasClassicMembers &&
    subscriptionHash(seen.subscription) === hash &&
    (group.targetEpoch < group.epoch || (await knows(context, items, name, group, key, hash)));
  const changed = joinUpgraded(
    memberOf(joiner, stored, context.clock.nowMs()),
    protocols,
    isCounted ? group.epoch : group.epoch + 1,
  );
  const joined = await store(items, name, stored, changed);
  if (joined === undefined) return undefined;
  joiner.noteStored();
  // The member is stored before: a target of this epoch knows it.
  const raised = isCounted
    ? group
    : await raiseEpoch(items, context.random, name, { hasMember: true, hasClassicMember: true });
  const now = await waitForTarget(context, items, joiner, raised);
  if (now === undefined) return undefined;
  if (now.targetEpoch <= joined.epoch) return joined.epoch;
  // A fence is a target's epoch, and must not be above the generation that commits.
  return (await replaceMember(items, name, joined, joinUpgraded(joined, protocols, now.targetEpoch)))?.epoch;
}

/** If the group becomes a classic one, its members must have a protocol in common. */
async function checkProtocolShared(items: ItemStore, { request, key }: Joiner): Promise<void> {
  const others = (await listMembers(items, request.group)).filter((member) => !member.isGone && member.key !== key);
  const protocols = others.flatMap(({ classic }) => (classic === undefined ? [] : [classic.protocols]));
  if (chooseProtocol([...protocols, request.protocols]) === undefined) throw inconsistentProtocol(request.group);
}

async function knows(
  context: BrokerContext,
  items: ItemStore,
  name: string,
  group: Group,
  key: string,
  hash: number,
): Promise<boolean> {
  const target = await readTarget(context, items, name, group);
  return target?.members.some((member) => member.key === key && member.subscriptionHash === hash) ?? false;
}

/** The member as it was stored, with what this request says of it. One that is gone begins again with nothing. */
function memberOf({ request, key, memberId }: Joiner, stored: Member | undefined, nowMs: number): Member {
  const given = {
    memberId,
    seenAtMs: nowMs,
    sessionTimeoutMs: request.sessionTimeoutMs,
    rebalanceTimeoutMs: rebalanceTimeout(request),
    client: { clientId: clientText(request.clientId), host: clientText(request.clientHost) },
    isGone: false,
  };
  if (stored?.isGone === false) return { ...stored, ...given };
  return {
    ...given,
    key,
    version: 0,
    epoch: stored?.epoch ?? 0,
    targetEpoch: 0,
    assigned: NO_PARTITIONS,
    revoking: NO_PARTITIONS,
    wanted: NO_PARTITIONS,
    unclaimed: NO_PARTITIONS,
    subscription: { topics: [] },
    computedFrom: undefined,
    assignor: undefined,
    releaseByMs: undefined,
    isAway: false,
    classic: {
      protocolType: CONSUMER_PROTOCOL,
      protocols: [],
      round: stored?.classic?.round ?? 0,
      memberSinceMs: nowMs,
      mustSync: true,
      isUnlisted: false,
    },
  };
}

async function store(
  items: ItemStore,
  name: string,
  stored: Member | undefined,
  changed: Member,
): Promise<Member | undefined> {
  if (stored !== undefined) return replaceMember(items, name, stored, changed);
  const made = { ...changed, version: 1 };
  return (await putNewMember(items, name, made)).ok ? made : undefined;
}

/**
 * Computes a target that is due, or waits for another process that does. Returns the group, if it is one of KIP-848 and has
 * members of that protocol.
 */
async function waitForTarget(
  context: BrokerContext,
  items: ItemStore,
  { request: { group: name, signal } }: Joiner,
  { epoch }: Group,
): Promise<Group | undefined> {
  const untilMs = context.clock.nowMs() + WAIT_MS;
  for (;;) {
    const group = await readGroup(items, name);
    if (group === undefined || group.isDeleted || group.isClassic) return undefined;
    if (group.targetEpoch >= epoch) return group;
    if (needsTarget(group, context.clock.nowMs())) {
      const members = await context.groups.computingOnce(name, () => computeTarget(context, items, name, group));
      if (becomesClassic(context, members)) return undefined;
      continue;
    }
    if (context.clock.nowMs() >= untilMs) return group;
    const change = context.classicGroups.nextChange(name);
    try {
      await waitForLook(context, name, change, signal);
    } finally {
      change.stop();
    }
  }
}

/**
 * A static member by the classic protocol follows one by KIP-848 under its instance id, as in Kafka: that one is ended. 1
 * GetItem; 1 PutItem and 1 UpdateItem if there is one.
 */
export async function takeInstanceFromConsumer(
  context: BrokerContext,
  items: ItemStore,
  group: string,
  { memberId, instanceId }: { readonly memberId: string; readonly instanceId: string },
): Promise<void> {
  for (let tries = 0; tries < TRIES; tries++) {
    const former = await readMember(items, group, memberKey(memberId, instanceId));
    if (former === undefined || former.isGone) return;
    if ((await replaceMember(items, group, former, { ...end(former), memberId })) === undefined) continue;
    await raiseEpoch(items, context.random, group);
    return;
  }
}
