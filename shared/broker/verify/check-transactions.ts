import { crc32c } from '../../log/batch/crc32c.ts';
import type { StoredBatch } from '../../log/batch/stored-batch.ts';
import { markerOutcome } from '../../log/batch/transaction-marker.ts';
import { ByteWriter, equalBytes } from '../../log/bytes.ts';
import { type Head, openAfterNode, placeNode, TAIL_NODE_ENTRIES, type TailNode } from '../../log/head/head.ts';
import {
  followTransactions,
  type OpenTransactions,
  packAborted,
  packOpen,
  unpackAborted,
} from '../../log/head/open-transactions.ts';
import { type AbortedRange, abortedWithin } from '../../log/segment/aborted.ts';
import { ABORTED, abortedKey, abortedPartitionKey } from '../../storage/transaction-keys.ts';
import { abortedInNodes } from '../heads/aborted-items.ts';
import { transactionsOf } from '../heads/known-nodes.ts';
import { isDamage, storedAs, type Verification, type View } from './verification.ts';

/** What a verification checks about transactions. Everything follows from the entries, so all of it can be checked. */

/** What the items beside some tail nodes say was aborted in them, by the nodes' first entries. */
export type AbortedItems = ReadonlyMap<number, Uint8Array>;

const NO_BYTES = new Uint8Array();

/** The items beside the nodes with entries in `[from, to)`. 1 Query for each 64. */
export async function readAbortedItems(run: Verification, from: number, to: number): Promise<AbortedItems> {
  const { topicId, headNumber } = run.name;
  const pk = abortedPartitionKey(topicId, headNumber);
  const end = abortedKey(topicId, headNumber, to).sk;
  const found = new Map<number, Uint8Array>();
  for (let start = abortedKey(topicId, headNumber, from).sk; ; ) {
    const page = await run.ask(() => run.stores.items.query({ pk, from: start, to: end, limit: 64 }));
    for (const { sk, attributes } of page.items) {
      const packed = attributes[ABORTED.transactions];
      found.set(Number(sk), packed instanceof Uint8Array ? packed : NO_BYTES);
    }
    if (!page.more) return found;
    start = `${page.items.at(-1)?.sk}\0`;
  }
}

/** A contradiction about transactions, and the item that has it. */
export interface WrongTransactions {
  readonly storedAs?: string;
  readonly message: string;
}

/**
 * What is wrong about the transactions of a node. `open`: those before it, as the node before tells it; `undefined` if none
 * does.
 */
export function wrongInNode(
  run: Verification,
  head: Head,
  node: TailNode,
  items: AbortedItems,
  open: OpenTransactions | undefined,
): WrongTransactions | undefined {
  const { topicId, headNumber } = run.name;
  const { firstEntry } = node;
  if (open !== undefined && !equalBytes(packOpen(open), packOpen(node.openBefore)))
    return { message: `Tail node ${firstEntry} has other open transactions than those before it leave.` };
  const { aborted } = followTransactions(node.openBefore, placeNode(node));
  const item = items.get(firstEntry);
  const about = { storedAs: storedAs(abortedKey(topicId, headNumber, firstEntry)) };
  if (aborted.length > 0 && item === undefined)
    return { ...about, message: `The list of the transactions that tail node ${firstEntry} aborts is missing.` };
  if (item !== undefined && !equalBytes(repacked(item), aborted.length > 0 ? packAborted(aborted) : NO_BYTES))
    return { ...about, message: `The list of aborted transactions is not that of tail node ${firstEntry}.` };
  const last = head.lastAbortingNode ?? -1;
  if (aborted.length > 0 ? last < firstEntry : last === firstEntry)
    return {
      message: `The head says that ${last < 0 ? 'no tail node' : `tail node ${last}`} is the last with aborted transactions, and node ${firstEntry} has ${aborted.length} of them.`,
    };
  return undefined;
}

/** As it is packed now; a list that cannot be read stays as it is. */
function repacked(item: Uint8Array): Uint8Array {
  try {
    return packAborted(unpackAborted(item));
  } catch (error) {
    if (!isDamage(error)) throw error;
    return item;
  }
}

/** Whether the head has other open transactions before its tail than the nodes leave. */
export function isOpenWrong({ openBeforeTail }: Head, open: OpenTransactions | undefined): boolean {
  if (open === undefined) return false;
  if (openBeforeTail === 'in_node') return open.length === 0;
  return !equalBytes(packOpen(open), packOpen(openBeforeTail));
}

/** The open transactions as of an entry, if the node before it tells. */
export function openAfter(node: TailNode | undefined, entry: number): OpenTransactions | undefined {
  if (entry === 0) return [];
  return node?.firstEntry === entry - TAIL_NODE_ENTRIES ? openAfterNode(node) : undefined;
}

/**
 * What is wrong in a block of a segment: each abort marker must be in the list of the segment, and the marker and the first
 * batch of what is listed must be there, as far as their offsets are in the block. `isCompacted`: batches may be gone, and what
 * lost its batches is not listed.
 */
export function wrongInBlock(
  batches: readonly StoredBatch[],
  aborted: readonly AbortedRange[],
  block: { readonly startOffset: number; readonly endOffset: number },
  isCompacted: boolean,
): string | undefined {
  const isInBlock = (offset: number): boolean => offset >= block.startOffset && offset < block.endOffset;
  const byOffset = new Map(batches.map((batch) => [batch.baseOffset, batch]));
  const byMarker = new Map(abortedWithin(aborted, block).map((range) => [range.lastOffset, range]));
  for (const { firstOffset, lastOffset, producerId } of byMarker.values()) {
    const marker = byOffset.get(lastOffset);
    const isMarker =
      marker?.header.producerId === producerId && markerOutcome(marker.bytes, marker.header) === 'aborted';
    if (isInBlock(lastOffset) && !isMarker)
      return `There is no abort marker of producer ${producerId} at offset ${lastOffset}, and the segment lists one.`;
    const first = byOffset.get(firstOffset)?.header;
    const isFirst = first?.producerId === producerId && first.transactional && !first.control;
    if (isInBlock(firstOffset) && !isFirst && !isCompacted)
      return `The transaction of producer ${producerId} that was aborted does not begin at offset ${firstOffset}.`;
  }
  for (const { bytes, header, baseOffset } of batches) {
    if (isCompacted || byMarker.has(baseOffset) || markerOutcome(bytes, header) !== 'aborted') continue;
    return `The segment does not list the transaction whose abort marker is at offset ${baseOffset}.`;
  }
  return undefined;
}

/** The transactions of a list that have begun before an offset and end at it or behind, as one number. */
export function crossing(aborted: readonly AbortedRange[], offset: number): number {
  const writer = new ByteWriter(64);
  for (const { producerId, firstOffset, lastOffset } of aborted) {
    if (firstOffset >= offset || lastOffset < offset) continue;
    writer.varuint(producerId);
    writer.varuint(firstOffset);
    writer.varuint(lastOffset);
  }
  return crc32c(writer.finish());
}

/** `crossing` at the end of what is merged, as nodes and tail tell it. Costs what `abortedInNodes` does. */
export async function crossingIntoEntries(run: Verification, { list, head }: View, offset: number): Promise<number> {
  const { context, stores, name, slot } = run;
  const wanted = { slot, fromEntry: list.mergedEntry, toOffset: offset };
  const inNodes = await run.ask(() => abortedInNodes(context, stores.items, name, head, wanted));
  const { aborted } = await run.ask(() => transactionsOf(context, stores.items, name, head));
  return crossing([...inNodes, ...aborted.filter((one) => one.slot === slot)], offset);
}
