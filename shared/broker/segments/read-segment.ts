import type { StoredBatch } from '../../log/batch/stored-batch.ts';
import { EventLogError, MissingDataError } from '../../log/errors.ts';
import type { AbortedRange } from '../../log/segment/aborted.ts';
import { chunkAt, type SegmentIndex, unpackIndex } from '../../log/segment/segment-index.ts';
import type { ByteRange, ObjectStore } from '../../storage/ports.ts';
import type { BrokerContext } from '../context.ts';
import { Chunk } from '../memory/data-cache.ts';
import type { BrokerSettings } from '../settings.ts';
import {
  type BlockRange,
  blockPosition,
  checkIndexOf,
  damagedSegment,
  readBlock,
  type SegmentPlace,
  segmentKey,
} from './segment-blocks.ts';

/**
 * Reading segments with few requests.
 *
 * A sequential read begins at the segment's start, or where the last read of this process ended. It fetches more than it was
 * asked for and keeps that in memory: the whole segment with its index if that is small enough, and otherwise large chunks.
 * So it takes at most one GetObject for each 8 MiB. Any other read fetches the index, if that is not in memory, and the
 * blocks that it needs.
 */

const MIB = 1024 * 1024;
/** A reader of fetch plans fetches a segment up to this size, index included, in one request. */
export const WHOLE_BYTES_MAX = 16 * MIB;
/** Any read fetches a segment up to this size as a whole: a second request would take longer than these bytes do. */
const SMALL_BYTES = MIB;

/** A segment whose index is known, and the blocks that came with it. */
export interface OpenedSegment {
  readonly index: SegmentIndex;
  /** Unchecked, by their numbers. */
  readonly blocks: ReadonlyMap<number, Uint8Array>;
}

export interface SegmentRead {
  readonly place: SegmentPlace;
  readonly isSequential: boolean;
  /** The read searches for something: no other read goes on where it ends. */
  readonly isSearch?: boolean;
}

/**
 * Returns the index of a segment. From memory, or 1 GetObject, which brings the blocks too if the segment is small, if it is
 * wanted as a whole, or if the read is sequential. `wantedBytes`: what the caller is going to read in any case; 0 if it only
 * needs the index.
 * @throws MissingDataError; EventLogError `corrupt_data`
 */
export async function openSegment(
  context: BrokerContext,
  objects: ObjectStore,
  { place, isSequential }: SegmentRead,
  wantedBytes: number,
): Promise<OpenedSegment> {
  const kept = context.segments.getIndex(segmentKey(place));
  if (kept !== undefined) return { index: kept, blocks: NO_BLOCKS };
  const { bytes, indexBytes } = place.segment;
  const total = bytes + indexBytes;
  const room = Math.max(SMALL_BYTES, aheadBytesMax(context, isSequential));
  const isWhole =
    total <= wholeBytesMax(context.settings) && wantedBytes > 0 && (wantedBytes >= bytes || total <= room);
  const start = isWhole ? 0 : bytes;
  const fetched = await context.cache.fetchAhead(isWhole ? total : 0, () =>
    fetchRange(objects, place, { start, end: total }),
  );
  const index = unpackIndexOf(place, fetched.subarray(bytes - start));
  context.segments.putIndex(segmentKey(place), index);
  if (!isWhole) return { index, blocks: NO_BLOCKS };
  const all = { from: 0, to: index.entries.length };
  return { index, blocks: keepBlocks(context, { place, isSequential }, index, all, fetched, room) };
}

/**
 * The aborted transactions that a reader of committed records needs in this segment, in the order of their markers. A
 * transaction can begin before the segment, or end behind it. Costs nothing if there are none, or if the index is in memory;
 * else 1 GetObject. @throws MissingDataError; EventLogError `corrupt_data`
 */
export async function abortedInSegment(
  context: BrokerContext,
  objects: ObjectStore,
  place: SegmentPlace,
): Promise<readonly AbortedRange[]> {
  if (place.segment.aborted === 0) return [];
  const { index } = await openSegment(context, objects, { place, isSequential: false }, 0);
  return index.aborted;
}

/** A third more than a chunk: a few requests more are worse than a chunk that is larger. */
function wholeBytesMax({ chunkBytesMax }: BrokerSettings): number {
  return Math.floor((chunkBytesMax * 4) / 3);
}

/**
 * Yields the batches of a segment block by block, as views on memory that others use too: callers must not change them.
 * `range`: undefined for all blocks. Each chunk is fetched when its first block is asked for. Blocks that a sequential read
 * has passed are dropped from memory.
 * @throws MissingDataError; EventLogError `corrupt_data`, after the batches of the blocks before
 */
export async function* readSegment(
  context: BrokerContext,
  objects: ObjectStore,
  read: SegmentRead,
  opened?: OpenedSegment,
  range?: BlockRange,
): AsyncGenerator<readonly StoredBatch[]> {
  const { place, isSequential } = read;
  if (place.segment.bytes === 0) return;
  const { index, blocks } = opened ?? (await openSegment(context, objects, read, place.segment.bytes));
  const { from, to } = range ?? { from: 0, to: index.entries.length };
  let fetched = blocks;
  for (let block = from; block < to; block++) {
    const key = blockKey(place, index, block);
    let bytes = fetched.get(block) ?? context.cache.getBlock(key);
    if (bytes === undefined) {
      fetched = await fetchChunk(context, objects, read, index, { from: block, to });
      bytes = fetched.get(block) as Uint8Array;
    }
    let batches: readonly StoredBatch[];
    try {
      batches = readBlock(place, index, block, bytes);
    } catch (error) {
      // What arrived damaged may be whole in the store.
      context.cache.dropBlock(key);
      throw error;
    }
    if (!read.isSearch) {
      context.segments.noteEnd(key);
      context.segments.noteEnd(blockKey(place, index, block + 1));
    }
    yield batches;
    if (isSequential) context.cache.dropBlock(key);
  }
}

/** Whether a read that begins in this block goes on where an earlier one of this process ended. */
export function goesOn(context: BrokerContext, place: SegmentPlace, index: SegmentIndex, block: number): boolean {
  return context.segments.endedAt(blockKey(place, index, block));
}

function aheadBytesMax(context: BrokerContext, isSequential: boolean): number {
  return isSequential ? context.cache.aheadBytesMax(context.clock.nowMs()) : 0;
}

/** Fetches the blocks from `from` on that are not in memory, at most a chunk of them, and more if the read is sequential. */
async function fetchChunk(
  context: BrokerContext,
  objects: ObjectStore,
  { place, isSequential }: SegmentRead,
  index: SegmentIndex,
  { from, to }: BlockRange,
): Promise<ReadonlyMap<number, Uint8Array>> {
  const start = blockPosition(index, from);
  const chunkEnd = chunkAt(index, start, context.settings.chunkBytesMax)?.end ?? index.bytes;
  const room = aheadBytesMax(context, isSequential);
  const aheadEnd = Math.min(chunkEnd, start + room);
  let end = from + 1;
  while (end < index.entries.length && !context.cache.hasBlock(blockKey(place, index, end))) {
    const isWanted = end < to && blockPosition(index, end) < chunkEnd;
    if (!isWanted && blockPosition(index, end + 1) > aheadEnd) break;
    end++;
  }
  const fetchedEnd = blockPosition(index, end);
  const bytes = await context.cache.fetchAhead(fetchedEnd - start, () =>
    fetchRange(objects, place, { start, end: fetchedEnd }),
  );
  return keepBlocks(context, { place, isSequential }, index, { from, to: end }, bytes, Math.max(SMALL_BYTES, room));
}

/**
 * Blocks of a chunk up to this size are views on it, and keep it in memory until a sequential read has dropped the last of
 * them. The blocks of larger chunks are copies, so that those that were read make room for the next chunk.
 */
const SHARED_CHUNK_BYTES_MAX = 4 * MIB;

/** Divides `bytes` into blocks, and keeps the first ones in memory. */
function keepBlocks(
  context: BrokerContext,
  { place, isSequential }: SegmentRead,
  index: SegmentIndex,
  { from, to }: BlockRange,
  bytes: Uint8Array,
  keptBytesMax: number,
): ReadonlyMap<number, Uint8Array> {
  const nowMs = context.clock.nowMs();
  const blocks = new Map<number, Uint8Array>();
  const start = blockPosition(index, from);
  const isShared = isSequential && bytes.length <= SHARED_CHUNK_BYTES_MAX;
  const chunk = isShared ? new Chunk(bytes.length) : undefined;
  for (let block = from; block < to; block++) {
    const [begin, end] = [blockPosition(index, block) - start, blockPosition(index, block + 1) - start];
    const content = isShared ? bytes.subarray(begin, end) : bytes.slice(begin, end);
    blocks.set(block, content);
    if (end <= keptBytesMax) context.cache.putBlock(blockKey(place, index, block), content, nowMs, chunk);
  }
  return blocks;
}

const NO_BLOCKS: ReadonlyMap<number, Uint8Array> = new Map();

function blockKey(place: SegmentPlace, index: SegmentIndex, block: number): string {
  return `${segmentKey(place)}@${blockPosition(index, block)}`;
}

function unpackIndexOf(place: SegmentPlace, packed: Uint8Array): SegmentIndex {
  let index: SegmentIndex;
  try {
    index = unpackIndex(packed);
  } catch (cause) {
    if (!(cause instanceof EventLogError)) throw cause;
    throw damagedSegment(place, place.segment.bytes, `is damaged: ${cause.message}`, cause);
  }
  checkIndexOf(place, index);
  return index;
}

/** 1 GetObject. */
async function fetchRange(objects: ObjectStore, place: SegmentPlace, range: ByteRange): Promise<Uint8Array> {
  const storedAs = segmentKey(place);
  const bytes = await objects.get(storedAs, range);
  if (bytes === undefined) throw new MissingDataError(`The segment '${storedAs}' is missing.`, { storedAs });
  if (bytes.length !== range.end - range.start)
    throw damagedSegment(place, range.start + bytes.length, 'ends too early.');
  return bytes;
}
