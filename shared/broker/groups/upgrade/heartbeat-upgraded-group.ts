import { keepsShare, lackedBy } from '../../../log/group/classic/upgraded-member.ts';
import { needsTarget } from '../../../log/group/group.ts';
import type { Member } from '../../../log/group/member.ts';
import { type PartitionPage, pagesOf } from '../../../log/group/partition-set.ts';
import { shareOf } from '../../../log/group/target.ts';
import { MEMBER, memberItemKey } from '../../../storage/group-keys.ts';
import type { ItemStore } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import { rebalanceInProgress, unknownClassicMember } from '../classic/state/errors.ts';
import type { InGeneration } from '../classic/sync-request.ts';
import { readGroup, replaceMember } from '../items.ts';
import { freePartitions } from '../membership/claim-partitions.ts';
import { lookAfterGroup } from '../membership/look-after-group.ts';
import { raiseEpoch } from '../membership/raise-epoch.ts';
import { becomesClassic, computeTarget, readTarget } from '../membership/targets.ts';
import { checkUpgraded, claimListed } from './sync-upgraded-group.ts';

/**
 * A heartbeat of a member by the classic protocol in a group of KIP-848 (docs/design/0012). `member`: as the heartbeat was noted
 * in it. Like any heartbeat it does one step of what the group needs. The member must join again when the target takes something
 * from it or gives it something new, when a partition that it waits for is free, and when no member by KIP-848 is left
 * and the group may become a classic one.
 *
 * 1 GetItem; as for a heartbeat by KIP-848 what the step needs.
 * @throws EventLogError `unknown_member`, `fenced_instance_id`, `illegal_generation`, `rebalance_in_progress`
 */
export async function heartbeatUpgradedGroup(
  context: BrokerContext,
  items: ItemStore,
  request: InGeneration,
  member: Member,
): Promise<void> {
  const { group: name } = request;
  if (!(await mustJoin(context, items, request, member))) return;
  await setDeadline(context, items, name, member);
  throw rebalanceInProgress(name);
}

async function mustJoin(
  context: BrokerContext,
  items: ItemStore,
  request: InGeneration,
  member: Member,
): Promise<boolean> {
  const { group: name, memberId } = request;
  const group = await readGroup(items, name);
  if (group === undefined || group.isDeleted) throw unknownClassicMember({ group: name, memberId });
  if (group.isClassic) return true;
  if (needsTarget(group, context.clock.nowMs())) {
    const members = await context.groups.computingOnce(name, () => computeTarget(context, items, name, group));
    if (becomesClassic(context, members)) return true;
  }
  if (member.classic?.isUnlisted && !member.classic.mustSync) return true;
  // Its client has not got its answer, and joins again.
  if (request.generation < member.epoch) return true;
  if (checkUpgraded(member, request).mustSync) return false;
  if (member.revoking.size > 0) return true;
  if (member.unclaimed.size > 0) {
    await claimListed(context, items, name, member);
    return false;
  }
  if (group.targetEpoch > member.targetEpoch) {
    const target = await readTarget(context, items, name, group);
    const share = target && shareOf(target, member.key);
    if (share === undefined || !keepsShare(member, share)) return true;
    const computedFrom = target?.members.find(({ key }) => key === member.key);
    const { targetEpoch } = group;
    // If another request got in between, the next heartbeat does it.
    await replaceMember(items, name, member, { ...member, targetEpoch, wanted: share, computedFrom });
    return false;
  }
  if (group.targetEpoch < member.targetEpoch) {
    // Somebody restored a part of the table.
    await raiseEpoch(items, context.random, name);
    return false;
  }
  const pages = pagesOf(lackedBy(member));
  if (pages.length > 0) {
    const page = pages[member.version % pages.length] as PartitionPage;
    if ((await freePartitions(items, name, member, [page])).size > 0) return true;
  }
  if (group.targetEpoch === group.epoch) await lookAfterGroup(context, items, name, group, member);
  return false;
}

/** Until then the member must have joined again; otherwise it is ended. */
async function setDeadline(context: BrokerContext, items: ItemStore, name: string, member: Member): Promise<void> {
  if (member.releaseByMs !== undefined) return;
  await items.update(
    memberItemKey(name, member.key),
    [
      { do: 'add', name: MEMBER.version, by: 1 },
      { do: 'set', name: MEMBER.releaseByMs, value: context.clock.nowMs() + member.rebalanceTimeoutMs },
    ],
    [
      { if: 'item_exists' },
      { if: 'equals', name: MEMBER.version, value: member.version },
      { if: 'absent', name: MEMBER.gone },
    ],
  );
}
