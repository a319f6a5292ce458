import { addTotals, type Head, placeNode, TAIL_NODE_ENTRIES, type TailNode } from '../../../log/head/head.ts';
import {
  type AbortedTransaction,
  followTransactions,
  type OpenTransaction,
  type OpenTransactions,
} from '../../../log/head/open-transactions.ts';
import type { ItemStore } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import { abortedInNodes } from '../../heads/aborted-items.ts';
import type { HeadName } from '../../heads/items.ts';
import { transactionsOf } from '../../heads/known-nodes.ts';

/** An open transaction that keeps nodes from being merged; `sinceMs`: when its first data in the head was written. */
export type HeldUpBy = Pick<OpenTransaction, 'producerId' | 'sinceMs'>;

/**
 * The nodes that lie in every partition below the last stable offset, up to the first that does not, and the oldest open
 * transaction that holds that one up. `open`: as of the head. Only of what is below the last stable offset is it known
 * which transactions were aborted, and a segment never changes.
 */
export function stableNodes(
  nodes: readonly TailNode[],
  open: OpenTransactions,
): { readonly stable: readonly TailNode[]; readonly heldUpBy?: HeldUpBy | undefined } {
  for (const [i, node] of nodes.entries()) {
    const after = addTotals(node.before, node.entries);
    const holding = open.filter(({ firstOffsets }) =>
      [...firstOffsets].some(([slot, firstOffset]) => firstOffset < (after[slot]?.nextOffset ?? 0)),
    );
    const [first, ...others] = holding;
    if (first === undefined) continue;
    const { producerId, sinceMs } = others.reduce(
      (oldest, one) => (one.sinceMs < oldest.sinceMs ? one : oldest),
      first,
    );
    return { stable: nodes.slice(0, i), heldUpBy: { producerId, sinceMs } };
  }
  return { stable: nodes };
}

/**
 * All aborted transactions that concern consecutive nodes, which lie below the last stable offsets of the head, in the order of
 * their markers by slot. Markers can be in later nodes and in the tail. Costs nothing if all transactions of the nodes end in
 * them, else what `abortedInNodes` does.
 * @throws MissingNodeError if the head has moved on, and what it refers to was merged and swept since
 */
export async function abortedOf(
  context: BrokerContext,
  items: ItemStore,
  name: HeadName,
  head: Head,
  nodes: readonly TailNode[],
): Promise<readonly AbortedTransaction[]> {
  const [first] = nodes;
  const last = nodes.at(-1);
  if (first === undefined || last === undefined) return [];
  const { open, aborted } = followTransactions(first.openBefore, nodes.flatMap(placeNode));
  const found = [...aborted];
  const ends = addTotals(last.before, last.entries);
  const fromEntry = last.firstEntry + TAIL_NODE_ENTRIES;
  for (const slot of new Set(open.flatMap(({ firstOffsets }) => [...firstOffsets.keys()]))) {
    const toOffset = ends[slot]?.nextOffset ?? 0;
    const inNodes = await abortedInNodes(context, items, name, head, { slot, fromEntry, toOffset });
    const inTail = (await transactionsOf(context, items, name, head)).aborted.filter((one) => one.slot === slot);
    found.push(...[...inNodes, ...inTail].filter(({ firstOffset }) => firstOffset < toOffset));
  }
  return found;
}
