import { concatBytes } from '../../../log/bytes.ts';
import { assign } from '../../../log/group/assign.ts';
import type { AssignorName } from '../../../log/group/assignor.ts';
import type { Group } from '../../../log/group/group.ts';
import { CLOCK_MARGIN_MS, type Member } from '../../../log/group/member.ts';
import { difference, eachPartition, partitionSet, union } from '../../../log/group/partition-set.ts';
import { subscriptionHash } from '../../../log/group/subscription.ts';
import { packTarget, type TargetAssignment, unpackTarget } from '../../../log/group/target.ts';
import {
  GROUP,
  groupKey,
  MEMBER,
  memberItemKey,
  TARGET,
  targetItemKey,
  targetName,
} from '../../../storage/group-keys.ts';
import type { ItemStore } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import { eachOf } from '../../topics/each-head.ts';
import { listMembers } from '../items.ts';
import { subscribedTopics, topicsHash } from './subscribed-topics.ts';

/** Computes target assignments and reads them. A target is stored under a new name, and the group then switches to it. */

/** A target is stored in parts of this size. An item can hold 400 KB. */
const PART_BYTES = 256 * 1024;
/** After a computation nobody computes for this long, so that members that come one after the other share the next. */
const COMPUTE_EVERY_MS = 500;
/** A member that is gone is remembered for this long; requests of it that come later find no member. */
const GONE_KEPT_MS = 600_000;
const GONE_DELETED_MAX = 8;

/**
 * Computes a target for the group's epoch, and switches to it. The group must have been read before this call: the members
 * are read here, so the target knows every change up to that epoch. If two processes compute at once, one
 * switches, and the other's target is garbage for the sweep. Returns the members that were found.
 *
 * 1 Query for each megabyte of members, the reads of their topics, 1 PutItem for each 256 KiB of the target, 1 UpdateItem.
 */
export async function computeTarget(
  context: BrokerContext,
  items: ItemStore,
  name: string,
  { epoch }: Group,
): Promise<Member[]> {
  const nowMs = context.clock.nowMs();
  const all = await listMembers(items, name);
  const members = all.filter(({ isGone }) => !isGone);
  const target = await assignPartitions(context, members);
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
  await forgetGone(items, name, all, nowMs);
  return all;
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
