import { crc32c } from '../batch/crc32c.ts';
import { ByteReader, ByteWriter, concatBytes } from '../bytes.ts';
import { EventLogError, invariant } from '../errors.ts';
import { type AbortedRange, joinAborted } from './aborted.ts';

/**
 * The index of a segment divides its batches into blocks of about 64 KiB, so that a reader finds an offset or a time with
 * one small read. It also has the aborted transactions. Index and footer follow the batches; see `docs/format.md`.
 */
export interface SegmentIndex {
  /** In the order of positions; the first at position 0. Empty only if the segment has no batches. */
  readonly entries: readonly IndexEntry[];
  /** The bytes of the batches. */
  readonly bytes: number;
  /**
   * All aborted transactions that a reader of the segment needs: those of which it has a batch. Also those of which it has
   * only the marker, if it was never compacted. In the order of their markers.
   */
  readonly aborted: readonly AbortedRange[];
}

export interface IndexEntry {
  /** The base offset of the block's first batch. */
  readonly offset: number;
  readonly position: number;
  /**
   * The largest timestamp of this block and of all blocks before it. So the first entry that has at least a certain
   * timestamp is exactly the first block that has a record of that time or later.
   */
  readonly maxTimestampMs: number;
  /**
   * The low 32 bits of the block's set hash (`set-hash.ts`). The CRC of a batch does not cover its base offset, so only this
   * tells a reader that a base offset is damaged.
   */
  readonly hash: number;
}

/** A block ends with the first batch that makes it as large as this. */
export const INDEX_BLOCK_BYTES = 64 * 1024;

const INDEX_VERSION = 1;
const FOOTER_VERSION = 1;
/** ASCII "TLRS". */
const MAGIC = Uint8Array.from([0x54, 0x4c, 0x52, 0x53]);
const FOOTER_CRC_AT = 21;
export const FOOTER_BYTES = 25;

/** Returns index and footer, as they follow the batches. */
export function packIndex(index: SegmentIndex): Uint8Array {
  const writer = new ByteWriter(16 + index.entries.length * 16);
  writer.uint8(INDEX_VERSION);
  writer.varuint(index.entries.length);
  let before: IndexEntry | undefined;
  for (const entry of index.entries) {
    writer.varuint(entry.offset - (before?.offset ?? 0));
    writer.varuint(entry.position - (before?.position ?? 0));
    if (before === undefined) writer.varint(entry.maxTimestampMs);
    else writer.varuint(entry.maxTimestampMs - before.maxTimestampMs);
    writer.uint32(entry.hash);
    before = entry;
  }
  writer.varuint(index.aborted.length);
  for (const { producerId, firstOffset, lastOffset } of index.aborted) {
    writer.varuint(producerId);
    writer.varuint(firstOffset);
    writer.varuint(lastOffset - firstOffset);
  }
  const packed = writer.finish();
  const footer = new ByteWriter(FOOTER_CRC_AT);
  footer.write(MAGIC);
  footer.uint8(FOOTER_VERSION);
  footer.uint32(packed.length);
  footer.int64(index.bytes);
  footer.uint32(crc32c(packed));
  const checked = footer.finish();
  const end = new ByteWriter(4);
  end.uint32(crc32c(checked));
  return concatBytes([packed, checked, end.finish()]);
}

/**
 * Reads index and footer. `packed` is exactly the two, which are the last `indexBytes` of the segment.
 * @throws EventLogError `corrupt_data` if anything in them is damaged
 */
export function unpackIndex(packed: Uint8Array): SegmentIndex {
  try {
    invariant(packed.length >= FOOTER_BYTES, () => `${packed.length} bytes are too few for a footer`);
    const footerAt = packed.length - FOOTER_BYTES;
    const footer = new ByteReader(packed, footerAt);
    const magic = footer.view(MAGIC.length);
    invariant(
      MAGIC.every((byte, i) => byte === magic[i]),
      'the footer does not begin with TLRS',
    );
    const version = footer.uint8();
    const indexLength = footer.uint32();
    const bytes = footer.int64();
    const indexCrc = footer.uint32();
    const footerCrc = crc32c(packed.subarray(footerAt, footerAt + FOOTER_CRC_AT));
    invariant(footer.uint32() === footerCrc, 'the footer does not match its CRC-32C');
    invariant(version === FOOTER_VERSION, () => `footer version ${version} is not ${FOOTER_VERSION}`);
    invariant(indexLength === footerAt, () => `the index has ${footerAt} bytes, and its footer says ${indexLength}`);
    invariant(bytes >= 0, 'the segment has less than no bytes');
    invariant(crc32c(packed.subarray(0, footerAt)) === indexCrc, 'the index does not match its CRC-32C');
    const index = { ...unpackContent(packed.subarray(0, footerAt)), bytes };
    checkIndex(index);
    return index;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new EventLogError('corrupt_data', `The index of a segment cannot be read: ${why}.`, { cause });
  }
}

function unpackContent(packed: Uint8Array): Omit<SegmentIndex, 'bytes'> {
  const reader = new ByteReader(packed);
  const version = reader.uint8();
  invariant(version === INDEX_VERSION, () => `index version ${version} is not ${INDEX_VERSION}`);
  const entries: IndexEntry[] = [];
  let before: IndexEntry | undefined;
  for (let left = reader.varuint(); left > 0; left--) {
    before = {
      offset: (before?.offset ?? 0) + reader.varuint(),
      position: (before?.position ?? 0) + reader.varuint(),
      maxTimestampMs: before === undefined ? reader.varint() : before.maxTimestampMs + reader.varuint(),
      hash: reader.uint32(),
    };
    entries.push(before);
  }
  const aborted: AbortedRange[] = [];
  for (let left = reader.varuint(); left > 0; left--) {
    const [producerId, firstOffset] = [reader.varuint(), reader.varuint()];
    aborted.push({ producerId, firstOffset, lastOffset: firstOffset + reader.varuint() });
  }
  invariant(reader.remaining === 0, 'the index ends with its last aborted transaction');
  return { entries, aborted };
}

function checkIndex({ entries, bytes, aborted }: SegmentIndex): void {
  invariant((entries[0]?.position ?? bytes) === 0, 'the first block is at position 0');
  for (const [i, entry] of entries.entries()) {
    const next = entries[i + 1];
    invariant(entry.position < (next?.position ?? bytes), 'each block has bytes');
    invariant(next === undefined || entry.offset < next.offset, 'offsets ascend');
    invariant(
      Number.isSafeInteger(entry.offset) && Number.isSafeInteger(entry.maxTimestampMs),
      'offsets and timestamps are within ±(2^53 − 1)',
    );
  }
  for (const [i, { firstOffset, lastOffset }] of aborted.entries()) {
    invariant(firstOffset < lastOffset && Number.isSafeInteger(lastOffset), 'a marker follows its transaction');
    invariant(
      lastOffset > (aborted[i - 1]?.lastOffset ?? -1),
      'aborted transactions are in the order of their markers',
    );
  }
}

/** Where the block begins that can have `offset`: the last that begins at or below it, or the first of all. */
export function positionOfOffset(index: SegmentIndex, offset: number): number {
  const after = firstWhere(index.entries, (entry) => entry.offset > offset);
  return index.entries[Math.max(0, after - 1)]?.position ?? 0;
}

/** Where the first block begins that has a record of `timestampMs` or later; `undefined` if the segment has none. */
export function positionOfTime(index: SegmentIndex, timestampMs: number): number | undefined {
  return index.entries[firstWhere(index.entries, (entry) => entry.maxTimestampMs >= timestampMs)]?.position;
}

/**
 * Returns the range of bytes to read at `position`, from the beginning of its block to the end of the first block that
 * makes the range as large as `bytesMin`. Only the last range of a segment is smaller, so who reads one after another needs
 * at most `ceil(bytes / bytesMin)`. `undefined` at the end of the batches.
 */
export function chunkAt(
  index: SegmentIndex,
  position: number,
  bytesMin: number,
): { readonly start: number; readonly end: number } | undefined {
  if (position >= index.bytes) return undefined;
  const after = firstWhere(index.entries, (entry) => entry.position > position);
  const start = index.entries[after - 1]?.position ?? 0;
  const endAt = firstWhere(index.entries, (entry) => entry.position > start && entry.position >= start + bytesMin);
  return { start, end: index.entries[endAt]?.position ?? index.bytes };
}

/** The index of adjacent segments whose batches are stored one after another. Blocks that are too small are joined. */
export function joinIndexes(indexes: readonly SegmentIndex[]): SegmentIndex {
  const entries: IndexEntry[] = [];
  let bytes = 0;
  for (const index of indexes) {
    for (const entry of index.entries) addBlock(entries, { ...entry, position: bytes + entry.position });
    bytes += index.bytes;
  }
  return { entries, bytes, aborted: joinAborted(indexes.map(({ aborted }) => aborted)) };
}

/** Adds a block, or a batch, to the last block if that is not full yet, and otherwise as a block of its own. */
export function addBlock(entries: IndexEntry[], block: IndexEntry): void {
  const last = entries.at(-1);
  const maxTimestampMs = Math.max(last?.maxTimestampMs ?? block.maxTimestampMs, block.maxTimestampMs);
  if (last !== undefined && block.position - last.position < INDEX_BLOCK_BYTES) {
    entries[entries.length - 1] = { ...last, maxTimestampMs, hash: (last.hash + block.hash) >>> 0 };
  } else entries.push({ ...block, maxTimestampMs });
}

/** The number of the first entry for which `matches`, which is false up to some entry and true from there on. */
function firstWhere(entries: readonly IndexEntry[], matches: (entry: IndexEntry) => boolean): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (matches(entries[middle] as IndexEntry)) high = middle;
    else low = middle + 1;
  }
  return low;
}
