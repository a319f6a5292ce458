import { ByteReader, ByteWriter, equalBytes } from '../bytes.ts';
import { EventLogError, invariant } from '../errors.ts';
import { OFFSET_MAX, PARTITIONS_PER_HEAD_MAX } from '../limits.ts';
import { batchTimeMs } from './batch-id.ts';
import { type Entry, type EntryPart, type Location, unpackEntry } from './entry.ts';
import { followTransactions, type OpenTransactions } from './open-transactions.ts';

/**
 * A partition head decides the order of up to 16 partitions of one topic. Each commit adds one entry to the head's tail and
 * advances `next` of the affected partitions. Only the entry says where its records are stored. Later it is moved, together
 * with seven others, into an immutable tail node. `totalsBeforeTail` is the state of a partition as of `firstEntry`, so
 * `nextOffset = totalsBeforeTail.nextOffset + the records of the tail` always holds. This is checked whenever a head is
 * read.
 */
export interface Head {
  /** The topic is being deleted: no commit is accepted. */
  readonly closed: boolean;
  /** No commit is accepted whose data was written before this time: such data may have been swept. 0: none was. */
  readonly refusesBeforeMs: number;
  /**
   * The number of the tail's first entry, which is also the number of entries that were moved out. Entries count from 0.
   * The number never decreases.
   */
  readonly firstEntry: number;
  readonly tail: readonly TailEntry[];
  /** The once keys of the tail's entries, in their order. */
  readonly once: readonly Uint8Array[];
  /** The states of the partitions, by slot. */
  readonly partitions: readonly PartitionState[];
  /**
   * The open transactions as of `firstEntry`. `in_node`: there are too many of them for a head. They follow from the newest
   * tail node, the one before `firstEntry`.
   */
  readonly openBeforeTail: OpenTransactions | 'in_node';
  /** The first entry of the newest tail node that has abort markers; `undefined` if none ever had. */
  readonly lastAbortingNode: number | undefined;
}

export interface TailEntry {
  readonly packed: Uint8Array;
  readonly entry: Entry;
}

export interface PartitionState {
  readonly logStartOffset: number;
  /** The high watermark: the offset that the next record gets. */
  readonly nextOffset: number;
  /** The totals of the entries before the tail. */
  readonly totalsBeforeTail: SlotTotals;
}

/** The totals of one slot over all entries before a certain entry. */
export interface SlotTotals {
  readonly nextOffset: number;
  /** The largest timestamp so far. It never decreases, so nodes can be searched by it. −2 before the first record. */
  readonly maxTimestampMs: number;
  readonly bytes: number;
}

/** A value below every timestamp: −1 is Kafka's value for "none". */
export const NO_RECORDS_TIMESTAMP = -2;
export const EMPTY_TOTALS: SlotTotals = { nextOffset: 0, maxTimestampMs: NO_RECORDS_TIMESTAMP, bytes: 0 };

/**
 * Exactly eight entries that were moved out of a head's tail. A node never changes; the number of its first entry
 * determines its content.
 */
export interface TailNode {
  /** The number of the node's first entry, a multiple of eight. */
  readonly firstEntry: number;
  readonly entries: readonly Entry[];
  readonly once: readonly Uint8Array[];
  /** The totals by slot, before the node's first entry. */
  readonly before: readonly SlotTotals[];
  /** The open transactions before the node's first entry. */
  readonly openBefore: OpenTransactions;
}

export const TAIL_NODE_ENTRIES = 8;
/** A head with this many entries in its tail accepts no commit: a writer must first move the oldest entries. */
export const TAIL_ENTRIES_MAX = 32;

/** The number that the next entry of the head gets. */
export function nextEntry(head: Head): number {
  return head.firstEntry + head.tail.length;
}

export function partitionState(head: Head, slot: number): PartitionState {
  return head.partitions[slot] ?? EMPTY_PARTITION;
}

const EMPTY_PARTITION: PartitionState = { logStartOffset: 0, nextOffset: 0, totalsBeforeTail: EMPTY_TOTALS };

/** A part of an entry with its assigned offset. */
export interface PlacedPart {
  readonly entryNumber: number;
  readonly entry: Entry;
  readonly part: EntryPart;
  readonly baseOffset: number;
}

/**
 * Returns the parts of consecutive entries, with their offsets, from the entry `from` on. `before`: the totals as of the first
 * of the entries.
 */
export function placeParts(
  entries: readonly Entry[],
  firstEntry: number,
  before: readonly SlotTotals[],
  from = firstEntry,
): PlacedPart[] {
  const next: number[] = [];
  const placed: PlacedPart[] = [];
  for (const [i, entry] of entries.entries()) {
    const entryNumber = firstEntry + i;
    for (const part of entry.parts) {
      const baseOffset = next[part.slot] ?? before[part.slot]?.nextOffset ?? 0;
      next[part.slot] = baseOffset + part.records;
      if (entryNumber >= from) placed.push({ entryNumber, entry, part, baseOffset });
    }
  }
  return placed;
}

/** Returns the parts of one entry, with their offsets. `firstOffset` returns the entry's first offset in a slot. */
export function placeEntry(entry: Entry, entryNumber: number, firstOffset: (slot: number) => number): PlacedPart[] {
  const next: number[] = [];
  return entry.parts.map((part) => {
    const baseOffset = next[part.slot] ?? firstOffset(part.slot);
    next[part.slot] = baseOffset + part.records;
    return { entryNumber, entry, part, baseOffset };
  });
}

/** The parts of the tail's entries, from the entry `from` on. */
export function placeTail(head: Head, from = head.firstEntry): PlacedPart[] {
  return placeParts(
    head.tail.map((tail) => tail.entry),
    head.firstEntry,
    head.partitions.map((partition) => partition.totalsBeforeTail),
    from,
  );
}

export function placeNode(node: TailNode): PlacedPart[] {
  return placeParts(node.entries, node.firstEntry, node.before);
}

/** The open transactions after the entries of a node. */
export function openAfterNode(node: TailNode): OpenTransactions {
  return followTransactions(node.openBefore, placeNode(node)).open;
}

/** The totals by slot after these entries. */
export function addTotals(before: readonly SlotTotals[], entries: readonly Entry[]): SlotTotals[] {
  const totals = before.slice();
  for (const entry of entries) {
    for (const part of entry.parts) {
      const was = totals[part.slot] ?? EMPTY_TOTALS;
      totals[part.slot] = {
        nextOffset: was.nextOffset + part.records,
        maxTimestampMs: Math.max(was.maxTimestampMs, part.maxTimestampMs),
        bytes: was.bytes + part.bytes,
      };
    }
  }
  return totals;
}

/** The bytes of all record batches that were ever appended to a partition, also of those that are gone. */
export function partitionBytes(head: Head, slot: number): number {
  let bytes = partitionState(head, slot).totalsBeforeTail.bytes;
  for (const { entry } of head.tail) for (const part of entry.parts) if (part.slot === slot) bytes += part.bytes;
  return bytes;
}

/** The index of this exact entry in the tail, or −1. */
export function indexInTail(head: Head, packed: Uint8Array): number {
  return head.tail.findIndex((tail) => equalBytes(tail.packed, packed));
}

export function holdsOnceKey(head: Head, key: Uint8Array): boolean {
  return head.once.some((left) => equalBytes(left, key));
}

/** The number of once keys that belong to the first `count` entries of the tail. */
export function onceKeysOf(head: Head, count: number): number {
  let keys = 0;
  for (const { entry } of head.tail.slice(0, count)) keys += entry.onceKeys;
  return keys;
}

/** @throws EventLogError `internal` if the parts of a head contradict each other */
export function checkHead(head: Head): void {
  const totals = addTotals(
    head.partitions.map((partition) => partition.totalsBeforeTail),
    head.tail.map((tail) => tail.entry),
  );
  head.partitions.forEach((partition, slot) => {
    const counted = totals[slot]?.nextOffset ?? 0;
    invariant(
      partition.nextOffset === counted,
      () => `slot ${slot} ends at ${partition.nextOffset}, but its entries end at ${counted}`,
    );
    invariant(partition.logStartOffset <= partition.nextOffset, () => `slot ${slot} starts after its end`);
    invariant(partition.nextOffset <= OFFSET_MAX, () => `slot ${slot} has passed the largest offset`);
  });
  invariant(onceKeysOf(head, head.tail.length) === head.once.length, 'the once keys are those of the tail');
}

export function makeTailEntry(packed: Uint8Array): TailEntry {
  return { packed, entry: unpackEntry(packed) };
}

/** The time at which the data of an entry was written. */
export function writtenAtMs(entry: Entry): number {
  return batchTimeMs(entry.batchId);
}

export type { Entry, EntryPart, Location };

/**
 * Totals by slot, packed: version uint8 = 1 · count varuint · then for each slot that has records:
 * slot varuint · nextOffset varuint · maxTimestamp varint · bytes varuint. Persisted in heads and tail nodes.
 */
const TOTALS_VERSION = 1;

export function packTotals(totals: readonly (SlotTotals | undefined)[]): Uint8Array {
  const present = [...totals.entries()].filter(([, total]) => total !== undefined && total.nextOffset > 0);
  const writer = new ByteWriter(4 + present.length * 24);
  writer.uint8(TOTALS_VERSION);
  writer.varuint(present.length);
  for (const [slot, total] of present) {
    const { nextOffset, maxTimestampMs, bytes } = total as SlotTotals;
    writer.varuint(slot);
    writer.varuint(nextOffset);
    writer.varint(maxTimestampMs);
    writer.varuint(bytes);
  }
  return writer.finish().slice();
}

/** @throws EventLogError `corrupt_data` */
export function unpackTotals(packed: Uint8Array): SlotTotals[] {
  try {
    const reader = new ByteReader(packed);
    const version = reader.uint8();
    invariant(version === TOTALS_VERSION, () => `totals version ${version} is not ${TOTALS_VERSION}`);
    const totals: SlotTotals[] = [];
    for (let left = reader.varuint(); left > 0; left--) {
      const slot = reader.varuint();
      invariant(slot < PARTITIONS_PER_HEAD_MAX, () => `no head has a slot ${slot}`);
      totals[slot] = { nextOffset: reader.varuint(), maxTimestampMs: reader.varint(), bytes: reader.varuint() };
    }
    invariant(reader.remaining === 0, 'totals end with their last slot');
    return Array.from(totals, (total) => total ?? EMPTY_TOTALS);
  } catch (cause) {
    throw new EventLogError('corrupt_data', 'The totals of a partition head or tail node cannot be read.', { cause });
  }
}
