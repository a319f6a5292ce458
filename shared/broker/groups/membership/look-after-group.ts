import type { Group } from '../../../log/group/group.ts';
import type { Member } from '../../../log/group/member.ts';
import { subscriptionHash } from '../../../log/group/subscription.ts';
import type { ItemStore } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import { expireNext } from './expire-members.ts';
import { raiseEpoch } from './raise-epoch.ts';
import { subscribedTopics, topicsHash } from './subscribed-topics.ts';

/** How often a process looks whether a member's topics have changed. */
const TOPICS_CHECKED_EVERY_MS = 5_000;

/**
 * What any heartbeat does for a group whose target is in force: it ends a member that is overdue, or raises the epoch if the
 * target does not fit any more. Returns whether there is more to do at once. 1 or 2 Queries; 1 PutItem or 1 UpdateItem if it
 * does something.
 */
export async function lookAfterGroup(
  context: BrokerContext,
  items: ItemStore,
  name: string,
  group: Group,
  { key, computedFrom, subscription }: Member,
): Promise<boolean> {
  // The target does not know the member, or what it subscribes to: whoever stored that died before raising the epoch.
  let isOutdated = computedFrom?.subscriptionHash !== subscriptionHash(subscription);
  if (!isOutdated) {
    const found = await expireNext(context, items, name, group, key);
    if (found === 'expired') return true;
    isOutdated = found === 'target_has_gone_member';
  }
  if (!isOutdated && context.groups.mustCheckTopics(name, key, context.clock.nowMs(), TOPICS_CHECKED_EVERY_MS)) {
    const [topics = []] = await subscribedTopics(context, [subscription]);
    isOutdated = topicsHash(topics) !== computedFrom?.topicsHash;
  }
  if (isOutdated) await raiseEpoch(items, context.random, name);
  return isOutdated;
}
