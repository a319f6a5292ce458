import { checkGroupName } from '../../../log/group/group.ts';
import type { BrokerContext } from '../../context.ts';
import { NO_TOPIC } from '../../usage/usage-meter.ts';
import { readClassicGroup } from './state/items.ts';

/** Whether the members of a group use Kafka's classic protocol. 1 GetItem. @throws EventLogError `invalid_request` */
export async function isClassicGroup(context: BrokerContext, group: string): Promise<boolean> {
  checkGroupName(group, 'group');
  const { type } = await readClassicGroup(context.usage.of(NO_TOPIC, 'group').items, group);
  return type === 'classic';
}
