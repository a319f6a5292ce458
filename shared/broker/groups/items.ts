import type { AssignorName } from '../../log/group/assignor.ts';
import { isClassicKey } from '../../log/group/classic/classic-member.ts';
import { consumerSubscription } from '../../log/group/classic/consumer-subscription.ts';
import { packProtocols, unpackProtocols } from '../../log/group/classic/protocols.ts';
import type { Group } from '../../log/group/group.ts';
import type { ClassicSide, Member, MemberClient } from '../../log/group/member.ts';
import { NO_PARTITIONS, type PartitionSet, packPartitions, unpackPartitions } from '../../log/group/partition-set.ts';
import { packSubscription, unpackSubscription } from '../../log/group/subscription.ts';
import {
  CLASSIC_MEMBER,
  CLASSIC_MEMBERS_END,
  GROUP,
  groupKey,
  MEMBER,
  memberItemKey,
  memberPartitionKey,
} from '../../storage/group-keys.ts';
import type { Attributes, ItemStore, Update, WriteResult } from '../../storage/ports.ts';

/** Converts groups and members from and to items, and writes members on the condition that they are as they were read. */

/** The values of `GROUP.deleted`. */
export const GROUP_DELETED = 1;
export const GROUP_UNUSED = 2;

/** 1 GetItem. `undefined` if there is no such group. */
export async function readGroup(items: ItemStore, group: string): Promise<Group | undefined> {
  const { attributes } = await items.get(groupKey(group));
  return attributes && groupFromAttributes(attributes);
}

export function groupFromAttributes(attributes: Attributes): Group {
  const target = attributes[GROUP.target];
  const emptySince = attributes[GROUP.emptySinceMs];
  return {
    epoch: Number(attributes[GROUP.epoch] ?? 0),
    targetEpoch: Number(attributes[GROUP.targetEpoch] ?? 0),
    target:
      target === undefined
        ? undefined
        : {
            name: String(target),
            parts: Number(attributes[GROUP.targetParts]),
            members: Number(attributes[GROUP.targetMembers]),
          },
    computeAfterMs: Number(attributes[GROUP.computeAfterMs] ?? 0),
    emptySinceMs: emptySince === undefined ? undefined : Number(emptySince),
    isClassic: attributes[GROUP.type] !== undefined,
    hasClassicMembers: attributes[GROUP.type] === undefined && attributes[GROUP.hasClassicMembers] !== undefined,
    round: Number(attributes[GROUP.round] ?? 0),
    namedParts: [GROUP.target, GROUP.roster, GROUP.assignment].flatMap((name) =>
      attributes[name] === undefined ? [] : [String(attributes[name])],
    ),
    isDeleted: attributes[GROUP.deleted] !== undefined,
    isUnused: attributes[GROUP.deleted] === GROUP_UNUSED,
  };
}

export function memberFromAttributes(key: string, attributes: Attributes): Member {
  const subscriptionHash = attributes[MEMBER.subscriptionHash];
  const assignor = attributes[MEMBER.assignor];
  const releaseBy = attributes[MEMBER.releaseByMs];
  const classic = isClassicKey(key) ? classicSide(attributes) : undefined;
  const partitions = (name: string): PartitionSet =>
    classic !== undefined && attributes[name] === undefined
      ? NO_PARTITIONS
      : unpackPartitions(attributes[name] as Uint8Array);
  const subscribed = classic && consumerSubscription(classic.protocolType, classic.protocols);
  return {
    key,
    memberId: String(attributes[MEMBER.memberId]),
    version: Number(attributes[MEMBER.version]),
    epoch: Number(attributes[MEMBER.epoch] ?? 0),
    targetEpoch: Number(attributes[MEMBER.targetEpoch] ?? 0),
    assigned: partitions(MEMBER.assigned),
    revoking: partitions(MEMBER.revoking),
    wanted: partitions(MEMBER.wanted),
    unclaimed: partitions(MEMBER.unclaimed),
    subscription:
      classic === undefined
        ? unpackSubscription(attributes[MEMBER.subscription] as Uint8Array)
        : { topics: subscribed?.topics ?? [] },
    computedFrom:
      subscriptionHash === undefined
        ? undefined
        : { subscriptionHash: Number(subscriptionHash), topicsHash: Number(attributes[MEMBER.topicsHash]) },
    assignor: assignor === undefined ? undefined : (String(assignor) as AssignorName),
    seenAtMs: Number(attributes[MEMBER.seenAtMs]),
    sessionTimeoutMs: Number(attributes[MEMBER.sessionTimeoutMs]),
    rebalanceTimeoutMs: Number(attributes[MEMBER.rebalanceTimeoutMs]),
    releaseByMs: releaseBy === undefined ? undefined : Number(releaseBy),
    client: clientOf(attributes, subscribed?.rack),
    isAway: attributes[MEMBER.away] !== undefined,
    isGone: attributes[MEMBER.gone] !== undefined,
    ...(classic === undefined ? {} : { classic }),
  };
}

function clientOf(attributes: Attributes, rack: string | undefined): MemberClient {
  const client = JSON.parse(String(attributes[MEMBER.client])) as MemberClient;
  return rack === undefined ? client : { ...client, rack };
}

/** A member of a classic group has the same item, without the partitions. */
function classicSide(attributes: Attributes): ClassicSide {
  const isGone = attributes[CLASSIC_MEMBER.gone] !== undefined;
  return {
    protocolType: String(attributes[CLASSIC_MEMBER.protocolType]),
    protocols: isGone ? [] : unpackProtocols(attributes[CLASSIC_MEMBER.protocols] as Uint8Array),
    round: Number(attributes[CLASSIC_MEMBER.round]),
    memberSinceMs: Number(attributes[CLASSIC_MEMBER.memberSinceMs]),
    mustSync: attributes[CLASSIC_MEMBER.mustSync] !== undefined,
    isUnlisted: attributes[MEMBER.assigned] === undefined && !isGone,
  };
}

/** A member that is gone is kept for this long, so that its epochs do not begin again while its requests may be under way. */
const GONE_KEPT_MS = 3_600_000;

export function memberToAttributes(member: Member): Attributes {
  const { computedFrom, assignor, releaseByMs } = member;
  return {
    [MEMBER.version]: member.version,
    [MEMBER.memberId]: member.memberId,
    [MEMBER.epoch]: member.epoch,
    [MEMBER.targetEpoch]: member.targetEpoch,
    ...partitionAttributes(member),
    ...protocolAttributes(member),
    [MEMBER.seenAtMs]: member.seenAtMs,
    [MEMBER.sessionTimeoutMs]: member.sessionTimeoutMs,
    [MEMBER.rebalanceTimeoutMs]: member.rebalanceTimeoutMs,
    [MEMBER.client]: JSON.stringify(member.client),
    ...(computedFrom === undefined
      ? {}
      : {
          [MEMBER.subscriptionHash]: computedFrom.subscriptionHash,
          [MEMBER.topicsHash]: computedFrom.topicsHash,
        }),
    ...(assignor === undefined ? {} : { [MEMBER.assignor]: assignor }),
    ...(releaseByMs === undefined ? {} : { [MEMBER.releaseByMs]: releaseByMs }),
    ...(member.isAway ? { [MEMBER.away]: 1 } : {}),
    ...(member.isGone
      ? { [MEMBER.gone]: 1, [MEMBER.expiresAt]: Math.ceil((member.seenAtMs + GONE_KEPT_MS) / 1_000) }
      : {}),
  };
}

function partitionAttributes({ assigned, revoking, wanted, unclaimed, classic }: Member): Attributes {
  if (classic?.isUnlisted) return {};
  return {
    [MEMBER.assigned]: packPartitions(assigned),
    [MEMBER.revoking]: packPartitions(revoking),
    [MEMBER.wanted]: packPartitions(wanted),
    [MEMBER.unclaimed]: packPartitions(unclaimed),
  };
}

/** The subscription of a member by the classic protocol is in its protocols. */
function protocolAttributes({ subscription, classic, isGone }: Member): Attributes {
  if (classic === undefined) return { [MEMBER.subscription]: packSubscription(subscription) };
  return {
    [CLASSIC_MEMBER.protocolType]: classic.protocolType,
    [CLASSIC_MEMBER.round]: classic.round,
    [CLASSIC_MEMBER.memberSinceMs]: classic.memberSinceMs,
    ...(isGone ? {} : { [CLASSIC_MEMBER.protocols]: packProtocols(classic.protocols) }),
    ...(classic.mustSync ? { [CLASSIC_MEMBER.mustSync]: 1 } : {}),
  };
}

/** 1 PutItem: makes the member if there is no item of it. */
export function putNewMember(items: ItemStore, group: string, member: Member): Promise<WriteResult> {
  return items.put(memberItemKey(group, member.key), memberToAttributes(member), [{ if: 'item_absent' }]);
}

/**
 * Replaces a member by what was computed from it, if it is still as it was read. Returns the member as it is now, or
 * `undefined` if another request changed it. 1 PutItem.
 */
export async function replaceMember(
  items: ItemStore,
  group: string,
  seen: Member,
  changed: Member,
): Promise<Member | undefined> {
  const next = { ...changed, version: seen.version + 1 };
  const { ok } = await items.put(memberItemKey(group, seen.key), memberToAttributes(next), [
    { if: 'equals', name: MEMBER.version, value: seen.version },
  ]);
  return ok ? next : undefined;
}

/**
 * Notes that the member is alive, if it is at this epoch and neither gone nor away. Returns the member as the request found it,
 * or `undefined` if there is none. 1 UpdateItem.
 */
export async function noteHeartbeat(
  items: ItemStore,
  group: string,
  { key, memberId, memberEpoch }: { readonly key: string; readonly memberId: string; readonly memberEpoch: number },
  nowMs: number,
): Promise<{ readonly noted: boolean; readonly member: Member | undefined }> {
  const updates: Update[] = [
    { do: 'add', name: MEMBER.version, by: 1 },
    { do: 'set', name: MEMBER.seenAtMs, value: nowMs },
  ];
  const { ok, attributes } = await items.update(memberItemKey(group, key), updates, [
    { if: 'item_exists' },
    { if: 'equals', name: MEMBER.epoch, value: memberEpoch },
    { if: 'equals', name: MEMBER.memberId, value: memberId },
    { if: 'absent', name: MEMBER.gone },
    { if: 'absent', name: MEMBER.away },
  ]);
  return { noted: ok, member: attributes && memberFromAttributes(key, attributes) };
}

/** 1 GetItem. */
export async function readMember(items: ItemStore, group: string, key: string): Promise<Member | undefined> {
  const { attributes } = await items.get(memberItemKey(group, key));
  return attributes && memberFromAttributes(key, attributes);
}

/** All members of a group in the order of their keys, by either protocol, also those that are gone. 1 Query for each megabyte. */
export function listMembers(items: ItemStore, group: string): Promise<Member[]> {
  return listFrom(items, group, '');
}

/** The same without members by the classic protocol. */
export function listConsumers(items: ItemStore, group: string): Promise<Member[]> {
  return listFrom(items, group, CLASSIC_MEMBERS_END);
}

async function listFrom(items: ItemStore, group: string, first: string): Promise<Member[]> {
  const all: Member[] = [];
  for (let from: string | undefined = first; from !== undefined; ) {
    const found: SomeMembers = await listSomeMembers(items, group, { from, limit: MEMBERS_PER_QUERY });
    all.push(...found.members);
    from = found.next;
  }
  return all;
}
const MEMBERS_PER_QUERY = 1_000;

interface SomeMembers {
  readonly members: readonly Member[];
  /** The range may hold more members, from this key on. */
  readonly next: string | undefined;
}

/** Up to `limit` members with keys in `[from, to)`, in their order, also those that are gone. 1 Query. */
export async function listSomeMembers(
  items: ItemStore,
  group: string,
  range: { readonly from: string; readonly to?: string; readonly limit: number },
): Promise<SomeMembers> {
  const page = await items.query({ pk: memberPartitionKey(group), ...range });
  const last = page.items.at(-1)?.sk;
  return {
    members: page.items.map(({ sk, attributes }) => memberFromAttributes(sk, attributes)),
    next: page.more && last !== undefined ? `${last}\0` : undefined,
  };
}
