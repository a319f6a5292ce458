import { type Head, TAIL_NODE_ENTRIES } from '../../log/head/head.ts';
import { type AbortedTransaction, unpackAborted } from '../../log/head/open-transactions.ts';
import { paddedNumber } from '../../storage/key-parts.ts';
import type { ItemStore } from '../../storage/ports.ts';
import { ABORTED, abortedPartitionKey } from '../../storage/transaction-keys.ts';
import type { BrokerContext } from '../context.ts';
import type { AbortedInNodes } from '../memory/aborted-cache.ts';
import type { HeadName } from './items.ts';

export interface AbortsWanted {
  readonly slot: number;
  /** The node in which the read begins. */
  readonly fromEntry: number;
  /** Where the read ends: transactions that begin at or behind this offset do not matter. */
  readonly toOffset: number;
}

const ITEMS_PER_QUERY = 100;

/**
 * The aborted transactions of a slot that may have records between a node and an offset, as far as their markers are in tail
 * nodes. Costs nothing if no node has abort markers from there on, or if they are in memory; otherwise 1 Query for every 100
 * nodes with such markers, up to the first that shows that nothing below the offset was open behind it.
 */
export async function abortedInNodes(
  { abortedTransactions }: BrokerContext,
  items: ItemStore,
  { topicId, headNumber }: HeadName,
  head: Head,
  { slot, fromEntry, toOffset }: AbortsWanted,
): Promise<readonly AbortedTransaction[]> {
  const last = head.lastAbortingNode;
  if (last === undefined || last < fromEntry) return [];
  const pk = abortedPartitionKey(topicId, headNumber);
  const kept = abortedTransactions.get(pk);
  let known: AbortedInNodes =
    kept !== undefined && kept.fromEntry <= fromEntry && kept.toEntry >= fromEntry
      ? kept
      : { fromEntry, toEntry: fromEntry, aborted: [] };
  const isEnough = (): boolean =>
    known.aborted.some((one) => one.slot === slot && one.nodeEntry >= fromEntry && one.lastStableOffset >= toOffset);
  while (known.toEntry <= last && !isEnough()) {
    const from = paddedNumber(known.toEntry);
    const page = await items.query({ pk, from, to: paddedNumber(last + 1), limit: ITEMS_PER_QUERY });
    const found = page.items.flatMap(({ sk, attributes }) =>
      unpackAborted(attributes[ABORTED.transactions] as Uint8Array).map((one) => ({ ...one, nodeEntry: Number(sk) })),
    );
    const lastFound = Number(page.items.at(-1)?.sk ?? last);
    known = {
      fromEntry: known.fromEntry,
      toEntry: (page.more ? lastFound : last) + TAIL_NODE_ENTRIES,
      aborted: [...known.aborted, ...found],
    };
  }
  abortedTransactions.put(pk, known);
  return known.aborted.filter((one) => one.slot === slot && one.nodeEntry >= fromEntry);
}
