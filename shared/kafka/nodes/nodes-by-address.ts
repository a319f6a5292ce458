import type { GatewayNode } from '../gateway.ts';
import { scoreOf } from './leaders.ts';

/**
 * The gateways as clients must see them: one node for each address. Gateways behind a load balancer all advertise its address,
 * and a gateway that replaces another may have its address before that one is gone. librdkafka takes nodes with one address
 * and several ids for one node whose id changes, and asks for metadata for ever (its issues 3784, 3919 and 4212). So the id
 * follows from the address: all gateways name the same one.
 */
export function nodesByAddress(nodes: readonly GatewayNode[]): readonly GatewayNode[] {
  const byId = new Map<number, GatewayNode>();
  for (const node of [...nodes].sort(byAddress)) {
    const nodeId = nodeIdOf(node);
    // Of two addresses with one id the second is left out: clients do without it, as any gateway serves all.
    if (!byId.has(nodeId)) byId.set(nodeId, { ...node, nodeId });
  }
  return [...byId.values()];
}

/** Java's client counts connections to coordinators down from 2^31 - 1, so ids stay in the lower half. */
const NODE_IDS = 2 ** 30;

/** From 1 on. */
export function nodeIdOf({ host, port }: Pick<GatewayNode, 'host' | 'port'>): number {
  return 1 + (scoreOf(`${host} ${port}`) % (NODE_IDS - 1));
}

function byAddress(a: GatewayNode, b: GatewayNode): number {
  if (a.host !== b.host) return a.host < b.host ? -1 : 1;
  return a.port - b.port;
}
