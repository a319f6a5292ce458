import { classicKey } from '../../../log/group/classic/classic-member.ts';
import { checkGroupName } from '../../../log/group/group.ts';
import type { BrokerContext } from '../../context.ts';
import { retrying } from '../../retry.ts';
import { NO_TOPIC } from '../../usage/usage-meter.ts';
import { readClassicGroup, readClassicMember } from './state/items.ts';

export interface NamedMember {
  readonly group: string;
  readonly memberId: string;
  readonly instanceId?: string | undefined;
}

/**
 * Whether a member uses Kafka's classic protocol, for requests that do not say it. 1 GetItem; 2 for a group that has members of
 * both protocols. @throws EventLogError `invalid_request`
 */
export async function usesClassicProtocol(
  context: BrokerContext,
  { group: name, memberId, instanceId }: NamedMember,
): Promise<boolean> {
  checkGroupName(name, 'group');
  const { items } = context.usage.of(NO_TOPIC, 'group');
  return retrying(context, 'from_error', async () => {
    const group = await readClassicGroup(items, name);
    if (!group.hasClassicMembers) return group.type === 'classic';
    const member = await readClassicMember(items, name, classicKey(memberId, instanceId));
    return member !== undefined && !member.isGone;
  });
}
