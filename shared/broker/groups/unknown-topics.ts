import { EventLogError } from '../../log/errors.ts';
import type { BrokerContext } from '../context.ts';
import { eachOf } from '../topics/each-head.ts';

/** Returns which of these topics do not exist. 1 GetItem for each topic that is not in memory. */
export async function unknownTopics(context: BrokerContext, names: readonly string[]): Promise<string[]> {
  const exist = await eachOf(names, (name) => isThere(context, name));
  return names.filter((_, i) => !exist[i]);
}

async function isThere({ topics }: BrokerContext, name: string): Promise<boolean> {
  try {
    await topics.get(name);
    return true;
  } catch (error) {
    if (error instanceof EventLogError && error.code === 'unknown_topic') return false;
    throw error;
  }
}
