import type { ClassicGroup, ClassicPhase, StoredParts } from '../../../../log/group/classic/classic-group.ts';
import { type ClassicMember, isClassicKey } from '../../../../log/group/classic/classic-member.ts';
import { packProtocols, unpackProtocols } from '../../../../log/group/classic/protocols.ts';
import type { MemberClient } from '../../../../log/group/member.ts';
import {
  CLASSIC_MEMBER,
  CLASSIC_MEMBERS_END,
  GROUP,
  groupKey,
  memberItemKey,
  memberPartitionKey,
} from '../../../../storage/group-keys.ts';
import type { Attributes, Condition, ItemStore, Update, WriteResult } from '../../../../storage/ports.ts';

/** Converts classic groups and their members from and to items, and changes both on the condition of what was read. */

/** The value of `GROUP.type`. */
export const CLASSIC = 2;
const PHASES: readonly ClassicPhase[] = ['empty', 'joining', 'syncing', 'stable'];

/** 1 GetItem. A group that does not exist has the type `none`. */
export async function readClassicGroup(items: ItemStore, group: string): Promise<ClassicGroup> {
  const { attributes } = await items.get(groupKey(group));
  return classicGroupFromAttributes(attributes);
}

export function classicGroupFromAttributes(attributes: Attributes | undefined): ClassicGroup {
  const found = attributes ?? {};
  const text = (name: string): string | undefined => (found[name] === undefined ? undefined : String(found[name]));
  const number = (name: string): number => Number(found[name] ?? 0);
  const parts = (name: string, count: string): StoredParts | undefined =>
    found[name] === undefined ? undefined : { name: String(found[name]), parts: number(count) };
  const isClassic = found[GROUP.type] === CLASSIC;
  const deleted = found[GROUP.deleted];
  return {
    type: attributes === undefined || deleted !== undefined ? 'none' : isClassic ? 'classic' : 'consumer',
    epoch: number(GROUP.epoch),
    phase: PHASES[number(GROUP.phase)] ?? 'empty',
    round: number(GROUP.round),
    deadlineMs: number(GROUP.deadlineMs),
    isInitialRound: found[GROUP.initialRound] !== undefined,
    leader: text(GROUP.leader),
    protocol: text(GROUP.protocol),
    protocolType: text(GROUP.protocolType),
    roster: parts(GROUP.roster, GROUP.rosterParts),
    assignment: parts(GROUP.assignment, GROUP.assignmentParts),
    rebalanceTimeoutMs: number(GROUP.rebalanceTimeoutMs),
    memberCount: number(GROUP.memberCount),
    hasClassicMembers: !isClassic && found[GROUP.hasClassicMembers] !== undefined,
    deleted: deleted === undefined ? undefined : Number(deleted),
  };
}

/**
 * Moves a group from the state that was read to another one. The epoch, the phase and the round that were read are required:
 * together they name one state (`ClassicGroup`), so of several processes one makes the move. Returns whether this one did. After
 * a lost reply it can return false although it did: the group shows it. 1 UpdateItem.
 */
export async function moveClassicGroup(
  items: ItemStore,
  group: string,
  seen: ClassicGroup,
  next: ClassicGroup,
): Promise<boolean> {
  const conditions: Condition[] = [
    { if: 'equals', name: GROUP.epoch, value: seen.epoch },
    { if: 'equals', name: GROUP.phase, value: PHASES.indexOf(seen.phase) },
    { if: 'equals', name: GROUP.round, value: seen.round },
    ...isStill(seen),
  ];
  const values: readonly (readonly [string, string | number | undefined])[] = [
    [GROUP.type, next.type === 'classic' ? CLASSIC : undefined],
    [GROUP.epoch, next.epoch],
    [GROUP.phase, PHASES.indexOf(next.phase)],
    [GROUP.round, next.round],
    [GROUP.deadlineMs, next.deadlineMs],
    [GROUP.initialRound, next.isInitialRound ? 1 : undefined],
    [GROUP.leader, next.leader],
    [GROUP.protocol, next.protocol],
    [GROUP.protocolType, next.protocolType],
    [GROUP.roster, next.roster?.name],
    [GROUP.rosterParts, next.roster?.parts],
    [GROUP.assignment, next.assignment?.name],
    [GROUP.assignmentParts, next.assignment?.parts],
    [GROUP.rebalanceTimeoutMs, next.rebalanceTimeoutMs],
    [GROUP.memberCount, next.memberCount],
    [GROUP.hasClassicMembers, next.hasClassicMembers ? 1 : undefined],
    [GROUP.deleted, undefined],
    [GROUP.expiresAt, undefined],
    // The time without members begins again.
    [GROUP.emptySinceMs, undefined],
  ];
  const updates = values.map(
    ([name, value]): Update => (value === undefined ? { do: 'remove', name } : { do: 'set', name, value }),
  );
  return (await items.update(groupKey(group), updates, conditions)).ok;
}

/** The group is as much there as it was, and of the same type. */
function isStill({ type, deleted }: ClassicGroup): Condition[] {
  if (deleted !== undefined) return [{ if: 'equals', name: GROUP.deleted, value: deleted }];
  if (type === 'classic')
    return [
      { if: 'equals', name: GROUP.type, value: CLASSIC },
      { if: 'absent', name: GROUP.deleted },
    ];
  return [
    { if: 'absent', name: GROUP.type },
    { if: 'absent', name: GROUP.deleted },
  ];
}

export function classicMemberFromAttributes(key: string, attributes: Attributes): ClassicMember {
  const isGone = attributes[CLASSIC_MEMBER.gone] !== undefined;
  return {
    key,
    memberId: String(attributes[CLASSIC_MEMBER.memberId]),
    version: Number(attributes[CLASSIC_MEMBER.version]),
    round: Number(attributes[CLASSIC_MEMBER.round]),
    epoch: Number(attributes[CLASSIC_MEMBER.epoch] ?? 0),
    protocolType: String(attributes[CLASSIC_MEMBER.protocolType]),
    protocols: isGone ? [] : unpackProtocols(attributes[CLASSIC_MEMBER.protocols] as Uint8Array),
    memberSinceMs: Number(attributes[CLASSIC_MEMBER.memberSinceMs]),
    seenAtMs: Number(attributes[CLASSIC_MEMBER.seenAtMs]),
    sessionTimeoutMs: Number(attributes[CLASSIC_MEMBER.sessionTimeoutMs]),
    rebalanceTimeoutMs: Number(attributes[CLASSIC_MEMBER.rebalanceTimeoutMs]),
    client: JSON.parse(String(attributes[CLASSIC_MEMBER.client])) as MemberClient,
    isGone,
  };
}

/** A member that is gone is kept for this long, so that a late request of it does not make it a member again. */
const GONE_KEPT_MS = 3_600_000;

function classicMemberToAttributes(member: ClassicMember): Attributes {
  return {
    [CLASSIC_MEMBER.version]: member.version,
    [CLASSIC_MEMBER.memberId]: member.memberId,
    [CLASSIC_MEMBER.round]: member.round,
    ...(member.epoch > 0 ? { [CLASSIC_MEMBER.epoch]: member.epoch } : {}),
    [CLASSIC_MEMBER.protocolType]: member.protocolType,
    [CLASSIC_MEMBER.memberSinceMs]: member.memberSinceMs,
    [CLASSIC_MEMBER.seenAtMs]: member.seenAtMs,
    [CLASSIC_MEMBER.sessionTimeoutMs]: member.sessionTimeoutMs,
    [CLASSIC_MEMBER.rebalanceTimeoutMs]: member.rebalanceTimeoutMs,
    [CLASSIC_MEMBER.client]: JSON.stringify(member.client),
    ...(member.isGone
      ? { [CLASSIC_MEMBER.gone]: 1, [CLASSIC_MEMBER.expiresAt]: Math.ceil((member.seenAtMs + GONE_KEPT_MS) / 1_000) }
      : { [CLASSIC_MEMBER.protocols]: packProtocols(member.protocols) }),
  };
}

/** 1 GetItem. */
export async function readClassicMember(
  items: ItemStore,
  group: string,
  key: string,
): Promise<ClassicMember | undefined> {
  const { attributes } = await items.get(memberItemKey(group, key));
  return attributes && classicMemberFromAttributes(key, attributes);
}

/**
 * Stores a member, if it is as it was read; `undefined`: there was none. Returns it as it is now, or `undefined` if another
 * request changed it. 1 PutItem.
 */
export async function storeClassicMember(
  items: ItemStore,
  group: string,
  seen: ClassicMember | undefined,
  changed: ClassicMember,
): Promise<ClassicMember | undefined> {
  const next = { ...changed, version: (seen?.version ?? 0) + 1 };
  const condition: Condition =
    seen === undefined ? { if: 'item_absent' } : { if: 'equals', name: CLASSIC_MEMBER.version, value: seen.version };
  const { ok } = await items.put(memberItemKey(group, changed.key), classicMemberToAttributes(next), [condition]);
  return ok ? next : undefined;
}

/** Notes that the member is alive, if it is there under this id. Returns the item as the request found it. 1 UpdateItem. */
export function touchClassicMember(
  items: ItemStore,
  group: string,
  { key, memberId }: { readonly key: string; readonly memberId: string },
  nowMs: number,
): Promise<WriteResult> {
  const updates: Update[] = [
    { do: 'add', name: CLASSIC_MEMBER.version, by: 1 },
    { do: 'set', name: CLASSIC_MEMBER.seenAtMs, value: nowMs },
  ];
  return items.update(memberItemKey(group, key), updates, [
    { if: 'item_exists' },
    { if: 'equals', name: CLASSIC_MEMBER.memberId, value: memberId },
    { if: 'absent', name: CLASSIC_MEMBER.gone },
  ]);
}

const MEMBERS_PER_QUERY = 1_000;

/** All members of a classic group in the order of their keys, also those that are gone. 1 Query for each megabyte. */
export async function listClassicMembers(items: ItemStore, group: string): Promise<ClassicMember[]> {
  const all: ClassicMember[] = [];
  for (let from: string | undefined = ''; from !== undefined; ) {
    const found: SomeClassicMembers = await listSomeClassicMembers(items, group, { from, limit: MEMBERS_PER_QUERY });
    all.push(...found.members);
    from = found.next;
  }
  return all;
}

interface SomeClassicMembers {
  readonly members: readonly ClassicMember[];
  /** The range may hold more members, from this key on. */
  readonly next: string | undefined;
}

/** 1 Query. */
export async function listSomeClassicMembers(
  items: ItemStore,
  group: string,
  { from, to = CLASSIC_MEMBERS_END, limit }: { readonly from: string; readonly to?: string; readonly limit: number },
): Promise<SomeClassicMembers> {
  const page = await items.query({ pk: memberPartitionKey(group), from, to, limit });
  const last = page.items.at(-1)?.sk;
  return {
    members: page.items
      .filter(({ sk }) => isClassicKey(sk))
      .map(({ sk, attributes }) => classicMemberFromAttributes(sk, attributes)),
    next: page.more && last !== undefined ? `${last}\0` : undefined,
  };
}
