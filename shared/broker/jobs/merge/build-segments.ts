import { readBatchHeader } from '../../../log/batch/record-batch.ts';
import type { StoredBatch } from '../../../log/batch/stored-batch.ts';
import { EventLogError } from '../../../log/errors.ts';
import {
  addTotals,
  type Head,
  type PlacedPart,
  partitionState,
  placeNode,
  type SlotTotals,
  TAIL_NODE_ENTRIES,
  type TailNode,
  writtenAtMs,
} from '../../../log/head/head.ts';
import type { AbortedTransaction } from '../../../log/head/open-transactions.ts';
import type { SegmentLimits } from '../../../log/segment/merge-policy.ts';
import { type BuiltSegment, SegmentBuilder } from '../../../log/segment/segment-builder.ts';
import { addHashes, batchHash } from '../../../log/segment/set-hash.ts';
import type { Stores } from '../../../storage/ports.ts';
import { batchesOf, fetchParts } from '../../data/read-part.ts';
import type { HeadName } from '../../heads/items.ts';
import type { Pace } from '../pace.ts';

/** A segment in memory, not written yet. */
export interface NewSegment {
  readonly slot: number;
  readonly built: BuiltSegment;
  /** When the oldest of its data was appended. */
  readonly writtenAtMs: number;
}

export interface MergedNodes {
  readonly toEntry: number;
  /** The totals by slot as of `toEntry`. */
  readonly totals: readonly SlotTotals[];
  /** In the order of slots and offsets. */
  readonly segments: readonly NewSegment[];
  /** The bytes that were read. */
  readonly bytes: number;
}

export interface ToMerge {
  readonly head: Head;
  readonly nodes: readonly TailNode[];
  /** The totals by slot before the nodes. */
  readonly before: readonly SlotTotals[];
  /** All aborted transactions that have data or a marker in the nodes, in the order of their markers. */
  readonly aborted: readonly AbortedTransaction[];
}

/** Entries whose data is read at once, if it is not more than this. */
const READS_AT_ONCE = 16;
const READ_BYTES_MAX = 1024 * 1024;

/**
 * Reads the data of consecutive nodes, at least one, and makes segments of it, in memory. What lies below the log start is
 * left out, since its data may be gone. Costs 1 GetItem or GetObject for each entry.
 * @throws EventLogError `corrupt_data` naming what is damaged or missing
 */
export async function buildSegments(
  stores: Stores,
  name: HeadName,
  { head, nodes, before, aborted }: ToMerge,
  limits: SegmentLimits,
  pace: Pace,
): Promise<MergedNodes> {
  const first = nodes[0] as TailNode;
  const last = nodes.at(-1) as TailNode;
  if (!sameTotals(first.before, before))
    throw new EventLogError('corrupt_data', `Tail node ${first.firstEntry} does not begin where the segments end.`, {
      details: { ...name, firstEntry: first.firstEntry },
    });
  const builders = new SlotBuilders(limits, aborted);
  const isKept = (placed: PlacedPart): boolean =>
    endOffset(placed) > partitionState(head, placed.part.slot).logStartOffset;
  const entries = nodes.flatMap(entriesOf).map((parts) => parts.filter(isKept));
  let bytes = 0;
  for (let at = 0; at < entries.length; ) {
    const some = entries.slice(at, at + entriesAtOnce(entries, at));
    at += some.length;
    for (const fetched of await Promise.all(some.map((parts) => fetchParts(stores, name, parts)))) {
      for (const placed of fetched.placed) {
        bytes += placed.part.bytes;
        for (const batch of batchesOf(fetched, name, placed)) {
          builders.add(placed, batch);
          if (pace.worked(batch.bytes.length)) await pace.rest();
        }
      }
    }
  }
  const segments = builders.finish();
  for (const one of segments) await checkBuilt(one, one.hash, pace);
  const totals = addTotals(last.before, last.entries);
  checkComplete(segments, head, before, totals);
  return { toEntry: last.firstEntry + TAIL_NODE_ENTRIES, totals, segments, bytes };
}

function entriesAtOnce(entries: readonly (readonly PlacedPart[])[], from: number): number {
  let bytes = 0;
  for (let count = 0; count < READS_AT_ONCE; count++) {
    for (const { part } of entries[from + count] ?? []) bytes += part.bytes;
    if (bytes > READ_BYTES_MAX) return Math.max(1, count);
  }
  return READS_AT_ONCE;
}

/** The parts of each entry of a node. */
function entriesOf(node: TailNode): PlacedPart[][] {
  const byEntry: PlacedPart[][] = node.entries.map(() => []);
  for (const placed of placeNode(node)) byEntry[placed.entryNumber - node.firstEntry]?.push(placed);
  return byEntry;
}

function endOffset({ part, baseOffset }: PlacedPart): number {
  return baseOffset + part.records;
}

function sameTotals(a: readonly SlotTotals[], b: readonly SlotTotals[]): boolean {
  return Array.from({ length: Math.max(a.length, b.length) }, (_, slot) => slot).every(
    (slot) => (a[slot]?.nextOffset ?? 0) === (b[slot]?.nextOffset ?? 0),
  );
}

interface Growing {
  readonly builder: SegmentBuilder;
  readonly writtenAtMs: number;
  /** The set hash of what was read for the segment. */
  hash: bigint;
}

/** Makes the segments of each slot, and begins a new one where the topic's limits ask for it. */
class SlotBuilders {
  readonly #limits: SegmentLimits;
  readonly #aborted: readonly AbortedTransaction[];
  readonly #growing = new Map<number, Growing>();
  readonly #finished: (NewSegment & { readonly hash: bigint })[] = [];

  constructor(limits: SegmentLimits, aborted: readonly AbortedTransaction[]) {
    this.#limits = limits;
    this.#aborted = aborted;
  }

  add({ entry, part: { slot } }: PlacedPart, { bytes, header, baseOffset }: StoredBatch): void {
    const atMs = writtenAtMs(entry);
    let growing = this.#growing.get(slot);
    if (growing !== undefined && this.#isFull(growing, bytes.length, atMs)) {
      this.#close(slot, growing);
      growing = undefined;
    }
    growing ??= { builder: new SegmentBuilder(), writtenAtMs: atMs, hash: 0n };
    this.#growing.set(slot, growing);
    growing.builder.add(bytes, header, baseOffset);
    growing.hash = addHashes(growing.hash, batchHash(header, baseOffset));
  }

  finish(): (NewSegment & { readonly hash: bigint })[] {
    for (const [slot, growing] of this.#growing) this.#close(slot, growing);
    return this.#finished.sort((a, b) => a.slot - b.slot || a.built.facts.startOffset - b.built.facts.startOffset);
  }

  #isFull({ builder, writtenAtMs: sinceMs }: Growing, bytes: number, atMs: number): boolean {
    return builder.bytes + bytes > this.#limits.segmentBytes || atMs - sinceMs >= this.#limits.segmentMs;
  }

  #close(slot: number, { builder, writtenAtMs: sinceMs, hash }: Growing): void {
    const aborted = this.#aborted.filter((one) => one.slot === slot);
    this.#finished.push({ slot, built: builder.finish(undefined, aborted), writtenAtMs: sinceMs, hash });
    this.#growing.delete(slot);
  }
}

/**
 * Whether the segments have every record that the nodes count, but for those below the log start.
 * @throws EventLogError `internal` if one is missing
 */
export function checkComplete(
  segments: readonly NewSegment[],
  head: Head,
  before: readonly SlotTotals[],
  after: readonly SlotTotals[],
): void {
  for (let slot = 0; slot < after.length; slot++) {
    const nextOffset = after[slot]?.nextOffset ?? 0;
    let end = before[slot]?.nextOffset ?? 0;
    const { logStartOffset } = partitionState(head, slot);
    for (const { slot: of, built } of segments) {
      if (of !== slot) continue;
      if (built.facts.startOffset > Math.max(end, logStartOffset)) break;
      end = built.facts.endOffset;
    }
    if (end >= nextOffset || nextOffset <= logStartOffset) continue;
    throw new EventLogError('internal', `A merge lacks records of slot ${slot}, from offset ${end} on.`);
  }
}

/**
 * Reads back what is about to be written, and compares it with the set hash of what was read.
 * @throws EventLogError `internal` if a batch is missing, doubled, damaged or at another offset
 */
export async function checkBuilt({ slot, built }: NewSegment, hash: bigint, pace: Pace): Promise<void> {
  let written = 0n;
  let end = built.facts.startOffset;
  for (const chunk of built.chunks.slice(0, -1)) {
    const header = readBatchHeader(chunk);
    written = addHashes(written, batchHash(header, header.baseOffset));
    if (header.baseOffset !== end) break;
    end = header.baseOffset + header.lastOffsetDelta + 1;
    if (pace.worked(chunk.length)) await pace.rest();
  }
  if (written === hash && hash === built.facts.setHash && end === built.facts.endOffset) return;
  throw new EventLogError('internal', `A segment of slot ${slot} does not hold what was read for it.`);
}
