import { toHex } from '../log/bytes.ts';
import { ALONE, EXPIRES_AT, paddedNumber } from './key-parts.ts';
import type { ItemKey } from './ports.ts';

/** The keys of consumer groups in the table; see `keys.ts`. */

/**
 * pk `groups`, sk the group's id: a consumer group exists. Written before the group's first member or committed offset, with
 * a new `nonce` each time, so that a deletion that is late does not remove a group that was made again.
 */
export const GROUPS = 'groups';
export function groupListingKey(group: string): ItemKey {
  return { pk: GROUPS, sk: group };
}
export const GROUP_LISTING = { nonce: 'n' } as const;

/** pk `group#<group id, percent-encoded>`: what the members of a consumer group share (`log/group/group.ts`). Updated in place. */
export function groupKey(group: string): ItemKey {
  return { pk: `group#${encodeURIComponent(group)}`, sk: ALONE };
}
export const GROUP = {
  epoch: 'E',
  targetEpoch: 'A',
  /** The sort key of the target in force, without the number of its part. */
  target: 'a',
  targetParts: 'p',
  /** The members of the target in force. */
  targetMembers: 'm',
  /** Nobody computes a target before this time (milliseconds): it only saves work. */
  computeAfterMs: 'c',
  assignor: 's',
  /** Since when the sweep has found no member (milliseconds). */
  emptySinceMs: 'z',
  /**
   * From when the group begins to be deleted until it has a member or an offset again. 1: with its offsets. 2: because it is
   * not used, and only if it has no offsets.
   */
  deleted: 'd',
  expiresAt: EXPIRES_AT,
  /** 2: the group uses Kafka's classic protocol. Absent: KIP-848 or HTTP. The attributes below are those of a classic group. */
  type: 'y',
  /** 0: empty. 1: joining. 2: syncing. 3: stable. */
  phase: 'f',
  round: 'j',
  deadlineMs: 'J',
  /** 1: the first round of an empty group. */
  initialRound: 'i',
  leader: 'L',
  protocol: 'P',
  protocolType: 'k',
  /** Where the generation's roster is, like `target`. */
  roster: 'r',
  rosterParts: 'q',
  /** Where the leader's assignment is, like `target`. */
  assignment: 'b',
  assignmentParts: 'g',
  rebalanceTimeoutMs: 'rt',
  memberCount: 'w',
  /** 1: not a classic group, but members by the classic protocol belong to it, or did until its next target. */
  hasClassicMembers: 'h',
} as const;

/**
 * pk `member#<group id, percent-encoded>`, sk the member's key: of a member by KIP-848 or HTTP (`log/group/member.ts`) from
 * `i:` on, of a member of a classic group (`log/group/classic/classic-member.ts`) before. Updated in place by `version`.
 */
export function memberPartitionKey(group: string): string {
  return `member#${encodeURIComponent(group)}`;
}
export function memberItemKey(group: string, memberKey: string): ItemKey {
  return { pk: memberPartitionKey(group), sk: memberKey };
}
export const MEMBER = {
  version: 'v',
  memberId: 'id',
  epoch: 'q',
  targetEpoch: 't',
  /** Packed partitions (`log/group/partition-set.ts`). */
  assigned: 'x',
  revoking: 'r',
  wanted: 'w',
  unclaimed: 'u',
  subscription: 's',
  subscriptionHash: 'h',
  topicsHash: 'k',
  assignor: 'o',
  seenAtMs: 'n',
  sessionTimeoutMs: 'st',
  rebalanceTimeoutMs: 'rt',
  releaseByMs: 'g',
  /** JSON. */
  client: 'c',
  /** 1: a static member that will come back. */
  away: 'a',
  /** 1: the member has left, or its session has ended. */
  gone: 'y',
  /** Only of a member that is gone. */
  expiresAt: EXPIRES_AT,
} as const;

/** The sort keys of members by the classic protocol are below this one, those of other members above. */
export const CLASSIC_MEMBERS_END = 'e';
/**
 * In a group of KIP-848 such a member also has the attributes `MEMBER` (without `subscription`), once it has synced there. No
 * attribute has two meanings, so either kind of group can read what the other has left.
 */
export const CLASSIC_MEMBER = {
  version: 'v',
  memberId: 'id',
  round: 'j',
  protocolType: 'b',
  /** Packed (`log/group/classic/protocols.ts`). */
  protocols: 'p',
  memberSinceMs: 'm',
  /** The last generation that it got in a group of KIP-848: `MEMBER.epoch`. */
  epoch: 'q',
  /** 1: it has joined a group of KIP-848 and has not synced. */
  mustSync: 'f',
  seenAtMs: 'n',
  sessionTimeoutMs: 'st',
  rebalanceTimeoutMs: 'rt',
  /** JSON. */
  client: 'c',
  /** 1: the member has left, or its session has ended. */
  gone: 'y',
  /** Only of a member that is gone. */
  expiresAt: EXPIRES_AT,
} as const;

/**
 * pk `target#<group id, percent-encoded>`, sk `<group epoch, 16 digits>#<time, 16 digits>#<random, 8 hex digits>#<part, 4
 * digits>`: a part of a target assignment (`log/group/target.ts`) that was computed at that time; in a classic group of a roster
 * or an assignment (`log/group/classic/generation.ts`). Never changes.
 */
export function targetPartitionKey(group: string): string {
  return `target#${encodeURIComponent(group)}`;
}
export function targetName(groupEpoch: number, timeMs: number, random: Uint8Array): string {
  return `${paddedNumber(groupEpoch)}#${paddedNumber(timeMs)}#${toHex(random)}`;
}
export function targetItemKey(group: string, name: string, part: number): ItemKey {
  return { pk: targetPartitionKey(group), sk: `${name}#${part.toString().padStart(4, '0')}` };
}
/** Reads a sort key of `targetItemKey`; `undefined` if it is none. */
export function parseTargetSortKey(sk: string): { readonly name: string; readonly timeMs: number } | undefined {
  const [, name, timeMs] = /^(\d{16}#(\d{16})#[0-9a-f]+)#\d{4}$/.exec(sk) ?? [];
  return name === undefined ? undefined : { name, timeMs: Number(timeMs) };
}
export const TARGET = { part: 't' } as const;

/**
 * pk `offsets#<group id, percent-encoded>`, sk `<topic id>#<page, 6 digits>`: for 16 partitions of a topic who owns them and
 * what the group has committed (`log/group/offset-page.ts`). Each slot changes on the condition of its tag.
 */
export function offsetsPartitionKey(group: string): string {
  return `offsets#${encodeURIComponent(group)}`;
}
export function offsetPageKey(group: string, topicId: string, page: number): ItemKey {
  return { pk: offsetsPartitionKey(group), sk: `${topicId}#${page.toString().padStart(6, '0')}` };
}
/** Reads a sort key of `offsetPageKey`; `undefined` if it is none. */
export function parseOffsetPageSortKey(sk: string): { readonly topicId: string; readonly page: number } | undefined {
  const [, topicId, page] = /^([\w-]+)#(\d{6})$/.exec(sk) ?? [];
  return topicId === undefined ? undefined : { topicId, page: Number(page) };
}
export const OFFSET_PAGE = {
  /** Rises with every update of the page. */
  version: 'v',
  state: (slot: number) => `o${slot}`,
  /** Random, and another one with every change of the slot. Absent: the slot has no state. */
  tag: (slot: number) => `c${slot}`,
} as const;
