import { equalBytes } from '../../log/bytes.ts';
import { EventLogError, MissingDataError } from '../../log/errors.ts';
import { unpackEntry } from '../../log/head/entry.ts';
import {
  addTotals,
  checkHead,
  EMPTY_TOTALS,
  type Head,
  makeTailEntry,
  onceKeysOf,
  type PartitionState,
  packTotals,
  placeParts,
  TAIL_NODE_ENTRIES,
  type TailNode,
  unpackTotals,
} from '../../log/head/head.ts';
import {
  type AbortedTransaction,
  followTransactions,
  type OpenTransactions,
  packOpen,
  unpackOpen,
} from '../../log/head/open-transactions.ts';
import { PARTITIONS_PER_HEAD_MAX } from '../../log/limits.ts';
import { HEAD, headKey, NODE, nodePartitionKey, nodeSortKey } from '../../storage/keys.ts';
import type { Attributes, Condition, ItemKey, ItemStore, Update } from '../../storage/ports.ts';

/** Converts the heads and tail nodes of `log/head/head.ts` from and to items with the names of `storage/keys.ts`. */

export interface HeadName {
  readonly topicId: string;
  readonly headNumber: number;
}

/** 1 GetItem. */
export async function readHead(items: ItemStore, name: HeadName): Promise<Head> {
  const { attributes } = await items.get(headKey(name.topicId, name.headNumber));
  return headFromAttributes(attributes);
}

/**
 * Builds a head from an item. Entries with the same number and the same bytes are reused from `known`, since most of a busy
 * head is known from its last commit. @throws EventLogError `corrupt_data`, `internal` if the item contradicts itself
 */
export function headFromAttributes(attributes: Attributes = {}, known?: Head): Head {
  const packedTotals = attributes[HEAD.totalsBeforeTail];
  const totals = packedTotals === undefined ? [] : unpackTotals(bytesOf(packedTotals));
  const partitions: PartitionState[] = [];
  for (let slot = PARTITIONS_PER_HEAD_MAX - 1; slot >= 0; slot--) {
    const nextOffset = Number(attributes[HEAD.next(slot)] ?? 0);
    if (nextOffset === 0 && partitions.length === 0) continue;
    partitions[slot] = {
      nextOffset,
      logStartOffset: Number(attributes[HEAD.start(slot)] ?? 0),
      totalsBeforeTail: totals[slot] ?? EMPTY_TOTALS,
    };
  }
  const firstEntry = Number(attributes[HEAD.firstEntry] ?? 0);
  const head: Head = {
    closed: attributes[HEAD.closed] !== undefined,
    refusesBeforeMs: Number(attributes[HEAD.refusesBefore] ?? 0),
    firstEntry,
    tail: listOf(attributes[HEAD.tail]).map((packed, i) => {
      const entry = known?.tail[firstEntry + i - known.firstEntry];
      // A copy, so that an entry that is kept does not keep every other value of its item.
      return entry !== undefined && equalBytes(entry.packed, packed) ? entry : makeTailEntry(new Uint8Array(packed));
    }),
    once: listOf(attributes[HEAD.once]),
    partitions,
    openBeforeTail: openOf(attributes[HEAD.openBeforeTail]),
    lastAbortingNode: attributes[HEAD.lastAbortingNode] as number | undefined,
  };
  checkHead(head);
  return head;
}

/** A head holds so many bytes of open transactions; every commit pays for them. About 20 transactions of one partition. */
const OPEN_BYTES_MAX = 256;

function openOf(value: Attributes[string] | undefined): Head['openBeforeTail'] {
  if (value === undefined) return [];
  return typeof value === 'number' ? 'in_node' : unpackOpen(bytesOf(value));
}

/** The oldest eight entries of a head's tail, as they are moved out of it. */
export interface MovedEntries {
  readonly firstEntry: number;
  readonly node: Attributes;
  /** The transactions whose abort markers are in the node. */
  readonly aborted: readonly AbortedTransaction[];
  /** Removes the entries from the head if `firstEntry` is unchanged and `conditions` are met. */
  readonly updates: Update[];
  readonly conditions: Condition[];
}

/**
 * An expression of DynamoDB has 4,096 bytes at most, and names each element that it removes from a list, in up to ten bytes.
 * Of more once keys the move writes those that stay.
 */
const KEYS_REMOVED_MAX = 300;

/** `open`: the open transactions as of `head.firstEntry`. */
export function nodeToMove(head: Head, open: OpenTransactions): MovedEntries {
  const moving = head.tail.slice(0, TAIL_NODE_ENTRIES);
  const entries = moving.map((tail) => tail.entry);
  const before = head.partitions.map((partition) => partition.totalsBeforeTail);
  const keys = onceKeysOf(head, moving.length);
  const once = head.once.slice(0, keys);
  const followed = followTransactions(open, placeParts(entries, head.firstEntry, before));
  const updates: Update[] = [
    { do: 'remove_first', name: HEAD.tail, count: moving.length },
    { do: 'add', name: HEAD.firstEntry, by: moving.length },
    { do: 'set', name: HEAD.totalsBeforeTail, value: packTotals(addTotals(before, entries)) },
  ];
  const conditions: Condition[] = [];
  if (keys > KEYS_REMOVED_MAX) {
    updates.push({ do: 'set', name: HEAD.once, value: head.once.slice(keys) });
    // While `firstEntry` is unchanged, the list only grows: at this length it is the one that was seen.
    conditions.push({ if: 'shorter_than', name: HEAD.once, length: head.once.length + 1 });
  } else if (keys > 0) updates.push({ do: 'remove_first', name: HEAD.once, count: keys });
  if (followed.open.length > 0) {
    const packed = packOpen(followed.open);
    const value = packed.length <= OPEN_BYTES_MAX ? packed : 0;
    updates.push({ do: 'set', name: HEAD.openBeforeTail, value });
  } else if (open.length > 0) updates.push({ do: 'remove', name: HEAD.openBeforeTail });
  if (followed.aborted.length > 0) updates.push({ do: 'set', name: HEAD.lastAbortingNode, value: head.firstEntry });
  const node: Attributes = {
    [NODE.entries]: moving.map((tail) => tail.packed),
    [NODE.before]: packTotals(before),
    ...(keys > 0 ? { [NODE.once]: once } : {}),
    ...(open.length > 0 ? { [NODE.openBefore]: packOpen(open) } : {}),
  };
  return { firstEntry: head.firstEntry, node, aborted: followed.aborted, updates, conditions };
}

export function nodeKey(name: HeadName, firstEntry: number): ItemKey {
  return { pk: nodePartitionKey(name.topicId, name.headNumber), sk: nodeSortKey(firstEntry) };
}

export function nodeFromAttributes(firstEntry: number, attributes: Attributes): TailNode {
  const before = attributes[NODE.before];
  const openBefore = attributes[NODE.openBefore];
  if (before === undefined) throw new EventLogError('corrupt_data', `Tail node ${firstEntry} has no totals.`);
  return {
    firstEntry,
    entries: listOf(attributes[NODE.entries]).map(unpackEntry),
    once: listOf(attributes[NODE.once]),
    before: unpackTotals(bytesOf(before)),
    openBefore: openBefore === undefined ? [] : unpackOpen(bytesOf(openBefore)),
  };
}

/**
 * Returns the tail nodes with entry numbers in `[from, to)`, in order, at most `limit`. 1 Query.
 * All nodes below a head's `firstEntry` exist, since a node is put before its entries are removed from the head.
 */
export async function queryNodes(
  items: ItemStore,
  name: HeadName,
  from: number,
  to: number,
  limit: number,
): Promise<TailNode[]> {
  const pk = nodePartitionKey(name.topicId, name.headNumber);
  const page = await items.query({ pk, from: nodeSortKey(from), to: nodeSortKey(to), limit });
  return page.items.map((item) => nodeFromAttributes(Number(item.sk), item.attributes));
}

const NODES_PER_QUERY = 64;

/** Runs a query; callers pass a wrapper that retries. */
export type Ask = <T>(request: () => Promise<T>) => Promise<T>;

/**
 * Yields the tail nodes that hold the entries `[from, to)`, all of them below the head's `firstEntry`. 1 Query for every 64.
 * @throws MissingNodeError: a search must not treat a missing node as empty
 */
export async function* nodesBetween(
  items: ItemStore,
  name: HeadName,
  from: number,
  to: number,
  ask: Ask = (request) => request(),
): AsyncGenerator<TailNode> {
  let next = from - (from % TAIL_NODE_ENTRIES);
  while (next < to) {
    const start = next;
    const nodes = await ask(() => queryNodes(items, name, start, to, NODES_PER_QUERY));
    if (nodes.length === 0) throw new MissingNodeError(name, next);
    for (const node of nodes) {
      if (node.firstEntry !== next) throw new MissingNodeError(name, next);
      yield node;
      next += TAIL_NODE_ENTRIES;
    }
  }
}

/** A tail node does not exist. If the segment list does not say that it was deleted, this is damage. */
export class MissingNodeError extends MissingDataError {
  constructor({ topicId, headNumber }: HeadName, firstEntry: number) {
    super(`Tail node ${firstEntry} of head ${headNumber} of the topic with the id ${topicId} is missing.`, {
      topicId,
      headNumber,
      firstEntry,
    });
  }
}

function bytesOf(value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value;
  throw new EventLogError('corrupt_data', 'An attribute of an item is not of the type it should have.');
}

function listOf(value: Attributes[string] | undefined): readonly Uint8Array[] {
  if (value === undefined) return [];
  if (Array.isArray(value)) return value as readonly Uint8Array[];
  throw new EventLogError('corrupt_data', 'An attribute of an item is not of the type it should have.');
}
