import { type Head, openAfterNode, placeTail, TAIL_NODE_ENTRIES, type TailNode } from '../../log/head/head.ts';
import { followTransactions, type OpenTransactions } from '../../log/head/open-transactions.ts';
import type { ItemStore } from '../../storage/ports.ts';
import type { BrokerContext } from '../context.ts';
import { type HeadName, MissingNodeError, nodeFromAttributes, nodeKey, queryNodes } from './items.ts';

/** Tail nodes never change, so those that were read are kept in memory. */
export function keptNode({ cache }: BrokerContext, name: HeadName, firstEntry: number): TailNode | undefined {
  return cache.getNode(cacheKey(name, firstEntry));
}

export function keepNode({ cache }: BrokerContext, name: HeadName, node: TailNode): void {
  cache.putNode(cacheKey(name, node.firstEntry), node);
}

/** Costs nothing if the node is in memory, else 1 GetItem. @throws MissingNodeError */
export async function readNode(
  context: BrokerContext,
  items: ItemStore,
  name: HeadName,
  firstEntry: number,
): Promise<TailNode> {
  const kept = keptNode(context, name, firstEntry);
  if (kept !== undefined) return kept;
  const { attributes } = await items.get(nodeKey(name, firstEntry));
  if (attributes === undefined) throw new MissingNodeError(name, firstEntry);
  const node = nodeFromAttributes(firstEntry, attributes);
  keepNode(context, name, node);
  return node;
}

/**
 * The open transactions of a head before its tail. Costs nothing, or 1 Query where there are many and their node is not in
 * memory.
 * @throws MissingNodeError if the head has moved on, and the node was merged since
 */
export async function openBeforeTail(
  context: BrokerContext,
  items: ItemStore,
  name: HeadName,
  head: Head,
): Promise<OpenTransactions> {
  if (head.openBeforeTail !== 'in_node') return head.openBeforeTail;
  const firstEntry = head.firstEntry - TAIL_NODE_ENTRIES;
  // Not by `readNode`: who may only append can query nodes, and not get them.
  const node =
    keptNode(context, name, firstEntry) ?? (await queryNodes(items, name, firstEntry, head.firstEntry, 1))[0];
  if (node === undefined) throw new MissingNodeError(name, firstEntry);
  keepNode(context, name, node);
  return openAfterNode(node);
}

/**
 * The open transactions of a head as it was observed, and those whose abort markers are in its tail. Costs what
 * `openBeforeTail` does, the first time for each observation. @throws MissingNodeError
 */
export async function transactionsOf(
  context: BrokerContext,
  items: ItemStore,
  name: HeadName,
  head: Head,
): Promise<HeadTransactions> {
  const known = FOLLOWED.get(head);
  if (known !== undefined) return known;
  const before = await openBeforeTail(context, items, name, head);
  const followed = before.length === 0 && !hasTransactions(head) ? NONE : followTransactions(before, placeTail(head));
  FOLLOWED.set(head, followed);
  return followed;
}

type HeadTransactions = ReturnType<typeof followTransactions>;
const NONE: HeadTransactions = { open: [], aborted: [] };
/** Every read of each partition asks for it. */
const FOLLOWED = new WeakMap<Head, HeadTransactions>();

function hasTransactions({ tail }: Head): boolean {
  return tail.some(
    ({ entry }) =>
      entry.markers !== undefined || entry.parts.some(({ producer }) => producer?.transaction !== undefined),
  );
}

function cacheKey(name: HeadName, firstEntry: number): string {
  return `${name.topicId}#${name.headNumber}#${firstEntry}`;
}
