import type { Gateway, GatewayNode } from '../gateway.ts';

/**
 * The gateway that clients are sent to for a partition. Any could serve it: the same one for all saves requests, because
 * appends of several clients share commits there. The partitions of a head stay together, as its gateway alone then commits
 * to it. A gateway that comes or goes moves only its own share (rendezvous hashing).
 */
export function leaderOf(
  { nodes, self }: Pick<Gateway, 'nodes' | 'self'>,
  topicId: string,
  partition: number,
): GatewayNode {
  const all = nodes();
  if (all.length <= 1) return all[0] ?? self;
  const head = `${topicId}/${Math.floor(partition / PARTITIONS_TOGETHER)}`;
  let best = self;
  let bestScore = -1;
  for (const node of all) {
    const score = scoreOf(`${head}/${node.nodeId}`);
    if (score > bestScore) [best, bestScore] = [node, score];
  }
  return best;
}

/** As many as a head decides. */
const PARTITIONS_TOGETHER = 16;

/** From 0 to 2^32 - 1. FNV-1a with a final mix: spreads well, and is the same in every process. */
export function scoreOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x45d9f3b);
  return (hash ^ (hash >>> 16)) >>> 0;
}
