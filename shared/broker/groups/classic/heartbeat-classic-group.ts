import type { ClassicGroup } from '../../../log/group/classic/classic-group.ts';
import { type ClassicMember, classicKey } from '../../../log/group/classic/classic-member.ts';
import { checkGroupName } from '../../../log/group/group.ts';
import type { Attributes, ItemStore } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import { bounded } from '../../read/read.ts';
import { retrying } from '../../retry.ts';
import { NO_TOPIC } from '../../usage/usage-meter.ts';
import { memberFromAttributes } from '../items.ts';
import { heartbeatUpgradedGroup } from '../upgrade/heartbeat-upgraded-group.ts';
import { illegalGeneration, rebalanceInProgress, refusal, unknownClassicMember } from './state/errors.ts';
import { classicMemberFromAttributes, readClassicGroup, touchClassicMember } from './state/items.ts';
import { lookAfterClassicGroup } from './state/rounds.ts';
import type { InGeneration } from './sync-request.ts';

const GENERATION_MAX = 2 ** 31 - 1;
/** A member looks after the others this often, or three times in its session. */
const LOOK_AFTER_EVERY_MS = 10_000;

/**
 * A member of a classic group tells that it is alive: Kafka's Heartbeat. Every few heartbeats it looks after other members, so
 * no process needs to. Repeating it is safe.
 *
 * 1 UpdateItem and 1 GetItem; every 10 seconds at most 1 or 2 Queries. In a group of KIP-848 see `heartbeatUpgradedGroup`.
 * @throws EventLogError `invalid_request`, `unknown_member`, `fenced_instance_id`, `illegal_generation`,
 * `rebalance_in_progress`: join again
 */
export async function heartbeatClassicGroup(context: BrokerContext, request: InGeneration): Promise<void> {
  checkInGeneration(request);
  const { items } = context.usage.of(NO_TOPIC, 'group');
  await retrying(context, 'from_error', async () => {
    const { member, attributes } = await touchMember(context, items, request);
    const group = await readClassicGroup(items, request.group);
    if (group.type === 'consumer')
      return heartbeatUpgradedGroup(context, items, request, memberFromAttributes(member.key, attributes));
    checkGeneration(group, request);
    if (await lookAfterIfTime(context, items, request.group, group, member)) throw rebalanceInProgress(request.group);
  });
}

/** @throws EventLogError `invalid_request` naming the field */
export function checkInGeneration({ group, memberId, instanceId, generation }: InGeneration): void {
  checkGroupName(group, 'group');
  checkGroupName(memberId, 'memberId');
  if (instanceId !== undefined) checkGroupName(instanceId, 'instanceId');
  bounded('generation', generation, 0, GENERATION_MAX);
}

/** The member is there and alive. 1 UpdateItem. @throws EventLogError `unknown_member`, `fenced_instance_id` */
export async function touchMember(
  context: BrokerContext,
  items: ItemStore,
  { group, memberId, instanceId }: InGeneration,
): Promise<TouchedMember> {
  const key = classicKey(memberId, instanceId);
  const touched = await touchClassicMember(items, group, { key, memberId }, context.clock.nowMs());
  if (!touched.ok) throw refusal(group, memberId, instanceId, touched.attributes);
  return { member: classicMemberFromAttributes(key, touched.attributes), attributes: touched.attributes };
}

export interface TouchedMember {
  readonly member: ClassicMember;
  /** Its item. */
  readonly attributes: Attributes;
}

/**
 * The sender is a member of the present generation.
 * @throws EventLogError `unknown_member` if the group has no generation, `rebalance_in_progress`, `illegal_generation`
 */
export function checkGeneration(group: ClassicGroup, { group: name, memberId, generation }: InGeneration): void {
  if (group.type !== 'classic' || group.phase === 'empty') throw unknownClassicMember({ group: name, memberId });
  // Whatever generation it knows: it may come from a group of KIP-848, where it had one of its own.
  if (group.phase === 'joining') throw rebalanceInProgress(name);
  if (group.epoch !== generation) throw illegalGeneration(name, generation, group.epoch);
}

/** Returns whether the members have to join again. */
export async function lookAfterIfTime(
  context: BrokerContext,
  items: ItemStore,
  name: string,
  group: ClassicGroup,
  { key, sessionTimeoutMs }: ClassicMember,
): Promise<boolean> {
  const everyMs = Math.min(LOOK_AFTER_EVERY_MS, Math.floor(sessionTimeoutMs / 3));
  if (!context.classicGroups.isTimeFor(name, `look after ${key}`, context.clock.nowMs(), everyMs)) return false;
  return lookAfterClassicGroup(context, items, name, group, key);
}
