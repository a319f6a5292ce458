import { concatBytes } from '../../../log/bytes.ts';
import { assign } from '../../../log/group/assign.ts';
import type { AssignorName } from '../../../log/group/assignor.ts';
import { allowsDowngrade } from '../../../log/group/classic/migration-policy.ts';
import type { Group } from '../../../log/group/group.ts';
import { CLOCK_MARGIN_MS, type Member } from '../../../log/group/member.ts';
import {
  difference,
  eachPartition,
  GROUP_PAGE_PARTITIONS,
  partitionSet,
  union,
} from '../../../log/group/partition-set.ts';
import { subscriptionHash } from '../../../log/group/subscription.ts';
import { packTarget, type TargetAssignment, unpackTarget } from '../../../log/group/target.ts';
import {
  GROUP,
  groupKey,
  MEMBER,
  memberItemKey,
  offsetsPartitionKey,
  parseOffsetPageSortKey,
  TARGET,
  targetItemKey,
  targetName,
} from '../../../storage/group-keys.ts';
import type { ItemPage, ItemStore } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import { eachOf } from '../../topics/each-head.ts';
import { listMembers } from '../items.ts';
import { pageFromAttributes } from '../offsets/pages.ts';
import { subscribedTopics, topicsHash } from './subscribed-topics.ts';

/** Computes target assignments and reads them. A target is stored under a new name, and the group then switches to it. */

/** A target is stored in parts of this size. An item can hold 400 KB. */
const PART_BYTES = 256 * 1024;
/** After a computation nobody computes for this long, so that members that come one after the other share the next. */
const COMPUTE_EVERY_MS = 500;
/** A member that is gone is remembered for this long; requests of it that come later find no member. */
const GONE_KEPT_MS = 600_000;
const GONE_DELETED_MAX = 8;
const PAGES_PER_QUERY = 1_000;

/**
 * Computes a target for the group's epoch, and switches to it. The group must have been read before this call: the members
 * are read here, so the target knows every change up to that epoch. If two processes compute at once, one
 * switches, and the other's target is garbage for the sweep. Returns the members that were found.
 *
 * If all members use Kafka's classic protocol, and the group may become a classic one, there will be no target: the next of them
 * that joins changes it.
 *
 * 1 Query for each megabyte of members, the reads of their topics, 1 PutItem for each 256 KiB of the target, 1 UpdateItem. After
 * a classic group has become one of KIP-848, also 1 Query for each megabyte of offsets.
 */
export async function computeTarget(
  context: BrokerContext,
  items: ItemStore,
  name: string,
  { epoch, hasClassicMembers }: Group,
): Promise<Member[]> {
  const nowMs = context.clock.nowMs();
  const all = await listMembers(items, name);
  const members = all.filter(({ isGone }) => !isGone);
  if (becomesClassic(context, members)) return all;
  const target = await assignPartitions(context, await withHeld(items, name, members));
  const id = targetName(epoch, nowMs, context.random.bytes(4));
  const parts = partsOf(packTarget(target));
  await eachOf([...parts.entries()], ([i, part]) => items.put(targetItemKey(name, id, i), { [TARGET.part]: part }));
  await items.update(
    groupKey(name),
    [
      { do: 'set', name: GROUP.targetEpoch, value: epoch },
      { do: 'set', name: GROUP.target, value: id },
      { do: 'set', name: GROUP.targetParts, value: parts.length },
      { do: 'set', name: GROUP.targetMembers, value: members.length },
      { do: 'set', name: GROUP.computeAfterMs, value: nowMs + COMPUTE_EVERY_MS },
    ],
    [{ if: 'item_exists' }, { if: 'at_most', name: GROUP.targetEpoch, value: epoch - 1 }],
  );
  if (hasClassicMembers && members.every(({ classic }) => classic === undefined))
    await forgetClassic(items, name, epoch);
  await forgetGone(items, name, all, nowMs);
  return all;
}

/** Whether the group becomes a classic one with the next member that joins. */
export function becomesClassic({ settings }: BrokerContext, members: readonly Member[]): boolean {
  if (!allowsDowngrade(settings.groupMigrationPolicy)) return false;
  const present = members.filter(({ isGone }) => !isGone);
  return present.length > 0 && present.every(({ classic }) => classic !== undefined);
}

/** A member that comes from a classic group keeps what its slots name, so that the target moves little. */
async function withHeld(items: ItemStore, name: string, members: readonly Member[]): Promise<readonly Member[]> {
  const unlisted = new Set(members.flatMap(({ key, classic }) => (classic?.isUnlisted ? [key] : [])));
  if (unlisted.size === 0) return members;
  const held = new Map<string, [topicId: string, partition: number][]>();
  for (let from: string | undefined = ''; from !== undefined; ) {
    const page: ItemPage = await items.query({ pk: offsetsPartitionKey(name), from, limit: PAGES_PER_QUERY });
    for (const { sk, attributes } of page.items) {
      const found = parseOffsetPageSortKey(sk);
      if (found === undefined) continue;
      pageFromAttributes(attributes).slots.forEach(({ owner }, i) => {
        if (owner === undefined || !unlisted.has(owner.memberKey)) return;
        const partition: [string, number] = [found.topicId, found.page * GROUP_PAGE_PARTITIONS + i];
        held.set(owner.memberKey, [...(held.get(owner.memberKey) ?? []), partition]);
      });
    }
    const last: string | undefined = page.items.at(-1)?.sk;
    from = page.more && last !== undefined ? `${last}\0` : undefined;
  }
  return members.map((member) => {
    const partitions = held.get(member.key);
    return partitions === undefined ? member : { ...member, assigned: partitionSet(partitions) };
  });
}

/** The last member by the classic protocol is gone. One that has joined since has raised the epoch. */
async function forgetClassic(items: ItemStore, name: string, epoch: number): Promise<void> {
  await items.update(
    groupKey(name),
    [{ do: 'remove', name: GROUP.hasClassicMembers }],
    [{ if: 'item_exists' }, { if: 'equals', name: GROUP.epoch, value: epoch }],
  );
}

async function assignPartitions(context: BrokerContext, members: readonly Member[]): Promise<TargetAssignment> {
  const topicsOf = await subscribedTopics(
    context,
    members.map(({ subscription }) => subscription),
  );
  const topics = new Map(topicsOf.flat().map((topic) => [topic.topicId, topic]));
  const allAssigned = partitionSet(members.flatMap(({ assigned }) => [...eachPartition(assigned)]));
  const assignorMembers = members.map((member, i) => ({
    key: member.key,
    ...(member.client.rack === undefined ? {} : { rack: member.client.rack }),
    topics: (topicsOf[i] ?? []).map(({ topicId }) => topicId),
    // It keeps what it reads, and what it was to get and nobody reads.
    owned: union(member.assigned, difference(member.wanted, allAssigned)),
  }));
  return {
    members: members.map(({ key, subscription }, i) => ({
      key,
      subscriptionHash: subscriptionHash(subscription),
      topicsHash: topicsHash(topicsOf[i] ?? []),
    })),
    topics: assign(assignorOf(members), assignorMembers, [...topics.values()]),
  };
}

/** The assignor that most members ask for, the first by name among equals; `uniform` if none asks. */
export function assignorOf(members: readonly Member[]): AssignorName {
  const votes = new Map<AssignorName, number>();
  for (const { assignor } of members) if (assignor !== undefined) votes.set(assignor, (votes.get(assignor) ?? 0) + 1);
  const [first] = [...votes].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
  return first?.[0] ?? 'uniform';
}

function partsOf(bytes: Uint8Array): Uint8Array[] {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += PART_BYTES) parts.push(bytes.subarray(at, at + PART_BYTES));
  return parts;
}

/** Each on the condition that it is as it was read: one that has joined again is kept. */
async function forgetGone(items: ItemStore, group: string, all: readonly Member[], nowMs: number): Promise<void> {
  const old = all.filter(({ isGone, seenAtMs }) => isGone && nowMs > seenAtMs + GONE_KEPT_MS + CLOCK_MARGIN_MS);
  await eachOf(old.slice(0, GONE_DELETED_MAX), ({ key, version }) =>
    items.delete(memberItemKey(group, key), [{ if: 'equals', name: MEMBER.version, value: version }]),
  );
}

/**
 * The target in force, from memory or by 1 GetItem for each part. `undefined` before the first, and if it is not there any
 * more: it was replaced since, or a process that slept for an hour switched to one that had been swept.
 * @throws EventLogError `corrupt_data`
 */
export async function readTarget(
  context: BrokerContext,
  items: ItemStore,
  name: string,
  { target }: Group,
): Promise<TargetAssignment | undefined> {
  if (target === undefined) return undefined;
  const known = context.groups.getTarget(name, target.name);
  if (known !== undefined) return known;
  const parts = await eachOf([...Array(target.parts).keys()], async (part) => {
    const { attributes } = await items.get(targetItemKey(name, target.name, part));
    return attributes?.[TARGET.part];
  });
  const found = parts.filter((part) => part instanceof Uint8Array);
  if (found.length < parts.length) return undefined;
  const read = unpackTarget(concatBytes(found));
  context.groups.putTarget(name, target.name, read);
  return read;
}
