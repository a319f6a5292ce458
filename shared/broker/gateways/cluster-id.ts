import { CLUSTER, CLUSTER_KEY } from '../../storage/keys.ts';
import type { Attributes } from '../../storage/ports.ts';
import type { BrokerContext } from '../context.ts';
import { NO_TOPIC } from '../usage/usage-meter.ts';

const ID_BYTES = 16;
const SALT_SECRET_BYTES = 32;

/**
 * The id of this log, by which Kafka's clients know a cluster again: 22 characters, as Kafka's own. Made when it is first asked
 * for, and then always the same. 1 GetItem; 1 PutItem more the first time.
 */
export async function clusterId(context: BrokerContext): Promise<string> {
  return String((await clusterItem(context))[CLUSTER.id]);
}

/** A secret that all gateways share. It is made, and costs, as `clusterId`. */
export async function saltSecret(context: BrokerContext): Promise<Uint8Array> {
  return (await clusterItem(context))[CLUSTER.saltSecret] as Uint8Array;
}

async function clusterItem(context: BrokerContext): Promise<Attributes> {
  const { items } = context.usage.of(NO_TOPIC, 'admin');
  const known = (await items.get(CLUSTER_KEY)).attributes;
  if (known !== undefined) return known;
  const mine: Attributes = {
    [CLUSTER.id]: Buffer.from(context.random.bytes(ID_BYTES)).toString('base64url'),
    [CLUSTER.saltSecret]: context.random.bytes(SALT_SECRET_BYTES),
  };
  const made = await items.put(CLUSTER_KEY, mine, [{ if: 'item_absent' }]);
  return made.ok ? mine : (made.attributes ?? mine);
}
