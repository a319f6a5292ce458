import { ByteReader, ByteWriter } from '../bytes.ts';
import { EventLogError, invariant } from '../errors.ts';
import { PARTITIONS_PER_TOPIC_MAX } from '../limits.ts';

/**
 * Partitions of several topics: topic id -> partition numbers, ascending, without duplicates. No topic is empty. The sets
 * that this module makes name their topics in ascending order of their ids.
 */
export type PartitionSet = ReadonlyMap<string, readonly number[]>;

export const NO_PARTITIONS: PartitionSet = new Map();

/** Makes a set of partitions in any order, with or without duplicates. */
export function partitionSet(entries: Iterable<readonly [topicId: string, partition: number]>): PartitionSet {
  const topics = new Map<string, number[]>();
  for (const [topicId, partition] of entries) {
    const partitions = topics.get(topicId);
    if (partitions === undefined) topics.set(topicId, [partition]);
    else partitions.push(partition);
  }
  const set = new Map<string, readonly number[]>();
  for (const topicId of [...topics.keys()].sort()) {
    const sorted = (topics.get(topicId) as number[]).sort((a, b) => a - b);
    set.set(
      topicId,
      sorted.filter((partition, i) => i === 0 || partition !== sorted[i - 1]),
    );
  }
  return set;
}

/** Takes O(log n). */
export function hasPartition(set: PartitionSet, topicId: string, partition: number): boolean {
  const partitions = set.get(topicId);
  if (partitions === undefined) return false;
  let low = 0;
  let high = partitions.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((partitions[middle] as number) < partition) low = middle + 1;
    else high = middle;
  }
  return partitions[low] === partition;
}

export function union(a: PartitionSet, b: PartitionSet): PartitionSet {
  return combine(a, b, { onlyFirst: true, both: true, onlySecond: true });
}

export function intersection(a: PartitionSet, b: PartitionSet): PartitionSet {
  return combine(a, b, { onlyFirst: false, both: true, onlySecond: false });
}

/** The partitions of `a` that are not in `b`. */
export function difference(a: PartitionSet, b: PartitionSet): PartitionSet {
  return combine(a, b, { onlyFirst: true, both: false, onlySecond: false });
}

interface Keep {
  readonly onlyFirst: boolean;
  readonly both: boolean;
  readonly onlySecond: boolean;
}

function combine(a: PartitionSet, b: PartitionSet, keep: Keep): PartitionSet {
  const set = new Map<string, readonly number[]>();
  for (const topicId of [...new Set([...a.keys(), ...b.keys()])].sort()) {
    const partitions = combineSorted(a.get(topicId) ?? [], b.get(topicId) ?? [], keep);
    if (partitions.length > 0) set.set(topicId, partitions);
  }
  return set;
}

function combineSorted(a: readonly number[], b: readonly number[], keep: Keep): number[] {
  const kept: number[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    const first = a[i] ?? Number.POSITIVE_INFINITY;
    const second = b[j] ?? Number.POSITIVE_INFINITY;
    if (first === second ? keep.both : first < second ? keep.onlyFirst : keep.onlySecond)
      kept.push(Math.min(first, second));
    if (first <= second) i++;
    if (second <= first) j++;
  }
  return kept;
}

export function countPartitions(set: PartitionSet): number {
  let count = 0;
  for (const partitions of set.values()) count += partitions.length;
  return count;
}

export function samePartitions(a: PartitionSet, b: PartitionSet): boolean {
  if (a.size !== b.size) return false;
  for (const [topicId, partitions] of a) {
    const others = b.get(topicId);
    if (others?.length !== partitions.length) return false;
    if (partitions.some((partition, i) => partition !== others[i])) return false;
  }
  return true;
}

export function* eachPartition(set: PartitionSet): Generator<[topicId: string, partition: number]> {
  for (const [topicId, partitions] of set) for (const partition of partitions) yield [topicId, partition];
}

/** A page has the partitions from `page` × 16 on. The number is persisted: the offsets of a page are one item. */
export const GROUP_PAGE_PARTITIONS = 16;

export interface PartitionPage {
  readonly topicId: string;
  readonly page: number;
  /** Ascending; never empty. */
  readonly partitions: readonly number[];
}

/** Divides a set into pages, in order of topic id, then page. */
export function pagesOf(set: PartitionSet): PartitionPage[] {
  const pages: PartitionPage[] = [];
  for (const topicId of [...set.keys()].sort()) {
    const partitions = set.get(topicId) as readonly number[];
    for (let from = 0; from < partitions.length; ) {
      const page = Math.floor((partitions[from] as number) / GROUP_PAGE_PARTITIONS);
      let to = from + 1;
      while (to < partitions.length && (partitions[to] as number) < (page + 1) * GROUP_PAGE_PARTITIONS) to++;
      pages.push({ topicId, page, partitions: partitions.slice(from, to) });
      from = to;
    }
  }
  return pages;
}

const VERSION = 1;

/** The packed form is persisted (`docs/format.md`). A page takes 3 bytes, so 10,000 partitions of a topic take 2 KB. */
export function packPartitions(set: PartitionSet): Uint8Array {
  const pages = Map.groupBy(pagesOf(set), ({ topicId }) => topicId);
  const writer = new ByteWriter();
  writer.uint8(VERSION);
  writer.varuint(pages.size);
  for (const [topicId, topicPages] of pages) {
    writer.text(topicId);
    writer.varuint(topicPages.length);
    let next = 0;
    for (const { page, partitions } of topicPages) {
      writer.varuint(page - next);
      writer.int16(maskOf(partitions));
      next = page + 1;
    }
  }
  return writer.finish().slice();
}

function maskOf(partitions: readonly number[]): number {
  let mask = 0;
  for (const partition of partitions) {
    invariant(
      Number.isInteger(partition) && partition >= 0 && partition < PARTITIONS_PER_TOPIC_MAX,
      () => `no topic has a partition ${partition}`,
    );
    mask |= 1 << (partition % GROUP_PAGE_PARTITIONS);
  }
  return mask;
}

/** Takes memory for at most 16 partitions per byte. @throws EventLogError `corrupt_data` */
export function unpackPartitions(packed: Uint8Array): PartitionSet {
  try {
    const reader = new ByteReader(packed);
    const version = reader.uint8();
    invariant(version === VERSION, () => `version ${version} is not ${VERSION}`);
    const set = new Map<string, readonly number[]>();
    let before = '';
    for (let left = reader.varuint(); left > 0; left--) {
      const topicId = reader.text();
      invariant(topicId > before, 'topics are in order of their ids');
      set.set(topicId, readPages(reader));
      before = topicId;
    }
    invariant(reader.remaining === 0, () => `${reader.remaining} bytes follow the last page`);
    return set;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new EventLogError('corrupt_data', `A set of partitions cannot be read: ${why}.`, { cause });
  }
}

function readPages(reader: ByteReader): number[] {
  const partitions: number[] = [];
  let next = 0;
  for (let left = reader.varuint(); left > 0; left--) {
    const page = next + reader.varuint();
    const mask = reader.int16() & 0xffff;
    invariant(mask !== 0, () => `page ${page} has no partition`);
    for (let i = 0; i < GROUP_PAGE_PARTITIONS; i++)
      if (mask & (1 << i)) partitions.push(page * GROUP_PAGE_PARTITIONS + i);
    const last = partitions.at(-1) as number;
    invariant(last < PARTITIONS_PER_TOPIC_MAX, () => `no topic has a partition ${last}`);
    next = page + 1;
  }
  invariant(partitions.length > 0, 'a topic has partitions');
  return partitions;
}
