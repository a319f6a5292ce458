import { decideClaim } from '../../../log/group/claim.ts';
import { gain, giveUp, type Member } from '../../../log/group/member.ts';
import type { SlotState } from '../../../log/group/offset-page.ts';
import {
  type PartitionPage,
  type PartitionSet,
  pagesOf,
  partitionSet,
  samePartitions,
} from '../../../log/group/partition-set.ts';
import type { ItemStore } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import { eachOf } from '../../topics/each-head.ts';
import { listSomeMembers, readMember, replaceMember } from '../items.ts';
import { changeSlots, type PageName, readPage, type SlotChange, slotState } from '../offsets/pages.ts';

/**
 * How a member gets partitions. First the partitions are listed in the member, then their slots are claimed, and only then
 * an answer names them. So whoever finds a slot's owner without the partition in its item can take the slot.
 */

/** A member that lacks more than this many pages gets this many in one heartbeat; others get one. */
const PAGES_AT_ONCE = 8;

interface Gaining {
  readonly seen: Member;
  /** The member after what its request acknowledged. */
  readonly member: Member;
  readonly missing: PartitionSet;
}

interface Gained {
  readonly hasGained: boolean;
  /** What the member can be told: if claims are left to the next heartbeat, what it was told before. */
  readonly told: Member;
}

/**
 * Gets one page of the partitions that a member lacks, those of them that can be had. 1 GetItem, 1 request for the owners if
 * others own any, 1 PutItem for the member. The claim is 1 UpdateItem: in this heartbeat if nobody's items had to be read,
 * otherwise in the next. Returns `undefined` if another request changed the member or a slot.
 */
export async function gainPartitions(
  context: BrokerContext,
  items: ItemStore,
  group: string,
  { seen, member, missing }: Gaining,
): Promise<Gained | undefined> {
  const pages = pagesOf(missing);
  const count = pages.length > PAGES_AT_ONCE ? PAGES_AT_ONCE : 1;
  // Begins at another page each time, so that a page that is blocked holds up no other.
  const chosen = Array.from({ length: count }, (_, i) => pages[(seen.version + i) % pages.length] as PartitionPage);
  const looked = await eachOf(chosen, (page) => lookAt(items, group, member, page, member.epoch + 1));
  const free = looked.flatMap(({ page, claims }) => claims.map((claim) => ({ page, claim })));
  const gained = partitionSet(free.map(({ page, claim }) => [page.topicId, claim.partition]));
  if (gained.size === 0) {
    if (samePartitions(member.revoking, seen.revoking)) return { hasGained: false, told: member };
    const stored = await replaceMember(items, group, seen, member);
    return stored && { hasGained: false, told: stored };
  }
  const listed = await replaceMember(items, group, seen, gain(member, gained));
  if (listed === undefined) return undefined;
  if (looked.some(({ hasReadOwners }) => hasReadOwners)) return { hasGained: true, told: member };
  const claimed = await claimAll(context, items, group, looked);
  return claimed ? { hasGained: true, told: listed } : undefined;
}

/**
 * Claims what a member is assigned and may not own. What cannot be claimed any more, it has to let go of. Returns the
 * member, which can then be told of all that it is assigned; `undefined` if another request got in between. Nothing if
 * nothing is unclaimed; otherwise for each page the cost of a look and of a claim.
 */
export async function claimUnclaimed(
  context: BrokerContext,
  items: ItemStore,
  group: string,
  member: Member,
): Promise<Member | undefined> {
  if (member.unclaimed.size === 0) return member;
  const looked = await eachOf(pagesOf(member.unclaimed), (page) => lookAt(items, group, member, page, member.epoch));
  const refused = partitionSet(
    looked.flatMap(({ page, blocked }) => blocked.map((partition) => [page.topicId, partition] as const)),
  );
  let told = member;
  if (refused.size > 0) {
    const stored = await replaceMember(items, group, member, giveUp(member, refused, context.clock.nowMs()));
    if (stored === undefined) return undefined;
    told = stored;
  }
  return (await claimAll(context, items, group, looked)) ? told : undefined;
}

/**
 * The partitions that a member by the classic protocol can have of those that it lacks. Nothing is claimed. For each page 1
 * GetItem, and 1 request for the owners if others own any.
 */
export async function freePartitions(
  items: ItemStore,
  group: string,
  member: Member,
  missing: readonly PartitionPage[],
): Promise<PartitionSet> {
  const looked = await eachOf(missing, (page) => lookAt(items, group, member, page, member.epoch));
  return partitionSet(
    looked.flatMap(({ page, claims }) => claims.map(({ partition }) => [page.topicId, partition] as const)),
  );
}

interface LookedAt {
  readonly page: PageName;
  readonly claims: readonly SlotChange[];
  readonly blocked: readonly number[];
  readonly hasReadOwners: boolean;
}

/**
 * Reads a page, then the owners that it names, in this order (`decideClaim`). `memberEpoch`: at most the epoch under which the
 * member learns of the partitions.
 */
async function lookAt(
  items: ItemStore,
  group: string,
  member: Member,
  { topicId, page: number, partitions }: PartitionPage,
  memberEpoch: number,
): Promise<LookedAt> {
  const name = { group, topicId, page: number };
  const page = await readPage(items, name);
  const slots = partitions.map((partition) => ({ topicId, partition, slot: slotState(page, partition) }));
  const owners = await readOwners(
    items,
    group,
    member.key,
    slots.map(({ slot }) => slot),
  );
  const claims: SlotChange[] = [];
  const blocked: number[] = [];
  for (const each of slots) {
    const { partition, slot } = each;
    const found = decideClaim(member, each, owners.get(slot.owner?.memberKey ?? ''));
    // A classic member claims again what it let go of in between, so its late commits are refused.
    const isOfFormerJoin = member.classic !== undefined && slot.owner?.memberEpoch !== memberEpoch;
    const decision = found === 'own' && isOfFormerJoin ? 'free' : found;
    if (decision === 'blocked') blocked.push(partition);
    if (decision !== 'free') continue;
    const owner = { memberKey: member.key, memberId: member.memberId, memberEpoch };
    claims.push({ partition, seen: slot, content: { ...slot, owner, fence: member.targetEpoch } });
  }
  return { page: name, claims, blocked, hasReadOwners: owners.size > 0 };
}

/** The other members that own slots, by key. 1 GetItem for one, 1 Query from the first to the last for several. */
async function readOwners(
  items: ItemStore,
  group: string,
  ownKey: string,
  slots: readonly SlotState[],
): Promise<ReadonlyMap<string, Member | undefined>> {
  const keys = [...new Set(slots.flatMap(({ owner }) => owner?.memberKey ?? []))]
    .filter((key) => key !== ownKey)
    .sort();
  const [first, last] = [keys[0], keys.at(-1)];
  if (first === undefined || last === undefined) return new Map();
  if (keys.length === 1) return new Map([[first, await readMember(items, group, first)]]);
  const owners = new Map<string, Member | undefined>(keys.map((key) => [key, undefined]));
  for (let from = first; ; ) {
    const found = await listSomeMembers(items, group, { from, to: `${last}\0`, limit: 1_000 });
    for (const each of found.members) if (owners.has(each.key)) owners.set(each.key, each);
    if (found.next === undefined) return owners;
    from = found.next;
  }
}

/** Each page with its claims all or none. Returns whether every claim was applied. */
async function claimAll(
  context: BrokerContext,
  items: ItemStore,
  group: string,
  looked: readonly LookedAt[],
): Promise<boolean> {
  const results = await eachOf(
    looked.filter(({ claims }) => claims.length > 0),
    ({ page, claims }) => changeSlots(items, context.random, { ...page, group }, claims),
  );
  return results.every(({ ok }) => ok);
}
