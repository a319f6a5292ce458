import { CLUSTER, CLUSTER_KEY } from '../../storage/keys.ts';
import type { BrokerContext } from '../context.ts';
import { NO_TOPIC } from '../usage/usage-meter.ts';

const ID_BYTES = 16;

/**
 * The id of this log, by which Kafka's clients know a cluster again: 22 characters, as Kafka's own. Made when it is first asked
 * for, and then always the same. 1 GetItem; 1 PutItem more the first time.
 */
export async function clusterId(context: BrokerContext): Promise<string> {
  const { items } = context.usage.of(NO_TOPIC, 'admin');
  const known = (await items.get(CLUSTER_KEY)).attributes?.[CLUSTER.id];
  if (known !== undefined) return String(known);
  const id = Buffer.from(context.random.bytes(ID_BYTES)).toString('base64url');
  const made = await items.put(CLUSTER_KEY, { [CLUSTER.id]: id }, [{ if: 'item_absent' }]);
  return made.ok ? id : String(made.attributes?.[CLUSTER.id]);
}
