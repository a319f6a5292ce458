import {
  addTotals,
  type Head,
  placeNode,
  placeTail,
  TAIL_NODE_ENTRIES,
  type TailNode,
} from '../../../log/head/head.ts';
import {
  type AbortedTransaction,
  followTransactions,
  type OpenTransactions,
  unpackAborted,
} from '../../../log/head/open-transactions.ts';
import type { ItemStore } from '../../../storage/ports.ts';
import { ABORTED, abortedKey, abortedPartitionKey } from '../../../storage/transaction-keys.ts';
import type { BrokerContext } from '../../context.ts';
import type { Ask, HeadName } from '../../heads/items.ts';
import { openBeforeTail } from '../../heads/known-nodes.ts';

/** An open transaction that keeps nodes from being merged. */
export interface HeldUpBy {
  readonly producerId: number;
  /** When its first data in the head was written. */
  readonly sinceMs: number;
}

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
 * All aborted transactions that have data or a marker in consecutive nodes, which lie below the last stable offsets of the
 * head, in the order of their markers. Markers can be in later nodes and in the tail. Costs nothing if all transactions of the
 * nodes end in them or if no later node has an abort marker, else 1 Query for 64 nodes with abort markers.
 * @throws MissingNodeError if the head has moved on, and what it refers to was merged and swept since
 */
export async function abortedOf(
  context: BrokerContext,
  items: ItemStore,
  name: HeadName,
  head: Head,
  nodes: readonly TailNode[],
  ask: Ask,
): Promise<readonly AbortedTransaction[]> {
  const [first] = nodes;
  const last = nodes.at(-1);
  if (first === undefined || last === undefined) return [];
  const { open, aborted } = followTransactions(first.openBefore, nodes.flatMap(placeNode));
  const ends = addTotals(last.before, last.entries);
  /** By slot, the transactions that have data in the nodes and whose outcome comes later. */
  const unsettled = new Map<number, Set<number>>();
  for (const { producerId, firstOffsets } of open)
    for (const slot of firstOffsets.keys()) unsettled.set(slot, (unsettled.get(slot) ?? new Set()).add(producerId));
  const found = [...aborted];
  const take = (later: readonly AbortedTransaction[]): void => {
    for (const one of later) {
      const endOffset = ends[one.slot]?.nextOffset ?? 0;
      if (one.firstOffset < endOffset && unsettled.get(one.slot)?.delete(one.producerId)) found.push(one);
      // All that is aborted later begins there or behind.
      if (one.lastStableOffset >= endOffset || unsettled.get(one.slot)?.size === 0) unsettled.delete(one.slot);
    }
  };
  const from = last.firstEntry + TAIL_NODE_ENTRIES;
  if (unsettled.size > 0 && (head.lastAbortingNode ?? 0) >= from)
    for await (const later of abortedBetween(items, name, from, head.firstEntry, ask)) {
      take(later);
      if (unsettled.size === 0) break;
    }
  if (unsettled.size > 0) {
    const before = await ask(() => openBeforeTail(context, items, name, head));
    take(followTransactions(before, placeTail(head)).aborted);
  }
  return found;
}

const ITEMS_PER_QUERY = 64;

/** The transactions whose abort markers are in the nodes of the entries `[from, to)`. */
async function* abortedBetween(
  items: ItemStore,
  { topicId, headNumber }: HeadName,
  from: number,
  to: number,
  ask: Ask,
): AsyncGenerator<readonly AbortedTransaction[]> {
  const pk = abortedPartitionKey(topicId, headNumber);
  const end = abortedKey(topicId, headNumber, to).sk;
  for (let start = abortedKey(topicId, headNumber, from).sk; ; ) {
    const page = await ask(() => items.query({ pk, from: start, to: end, limit: ITEMS_PER_QUERY }));
    for (const { attributes } of page.items) {
      const packed = attributes[ABORTED.transactions];
      yield unpackAborted(packed instanceof Uint8Array ? packed : new Uint8Array());
    }
    if (!page.more) return;
    start = `${page.items.at(-1)?.sk}\0`;
  }
}
