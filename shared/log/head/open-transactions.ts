import { sealed, unsealed } from '../batch/sealed.ts';
import { ByteReader, ByteWriter } from '../bytes.ts';
import { EventLogError, invariant } from '../errors.ts';
import { PARTITIONS_PER_HEAD_MAX } from '../limits.ts';
import { batchTimeMs } from './batch-id.ts';
import type { Entry, EntryPart } from './entry.ts';

/**
 * The transactions that have data in a head and no marker there, as of an entry. They follow from the entries, like
 * offsets: the first batch of a transaction in a slot opens it there, and its marker closes it.
 */
export type OpenTransactions = readonly OpenTransaction[];

export interface OpenTransaction {
  readonly producerId: number;
  /** The number of the transaction. */
  readonly transaction: number;
  /** When its first data here was written. */
  readonly sinceMs: number;
  /** Its first offset by slot. */
  readonly firstOffsets: ReadonlyMap<number, number>;
}

/** A transaction that was aborted, in one partition. A reader of committed records leaves out its batches. */
export interface AbortedTransaction {
  readonly slot: number;
  readonly producerId: number;
  readonly firstOffset: number;
  /** The offset of its marker. */
  readonly lastOffset: number;
  /** The partition's last stable offset after the marker: every transaction that was aborted later begins there or behind. */
  readonly lastStableOffset: number;
}

/** A part of an entry with its assigned offset. */
interface TransactionPart {
  readonly entry: Pick<Entry, 'batchId'>;
  readonly part: EntryPart;
  readonly baseOffset: number;
}

/** The open transactions after some parts of consecutive entries, and those that the parts abort. */
export function followTransactions(
  before: OpenTransactions,
  placed: readonly TransactionPart[],
): { readonly open: OpenTransactions; readonly aborted: readonly AbortedTransaction[] } {
  if (before.length === 0 && placed.every(({ part }) => part.marker === undefined && !isTransactional(part))) {
    return { open: before, aborted: [] };
  }
  const open = new Map(before.map((one) => [one.producerId, one]));
  const aborted: AbortedTransaction[] = [];
  for (const { entry, part, baseOffset } of placed) {
    const { slot, marker, producer } = part;
    if (marker !== undefined) {
      const firstOffset = close(open, marker.producerId, slot);
      if (firstOffset === undefined || marker.outcome === 'committed') continue;
      const lastStableOffset = lastStableOffsetOf([...open.values()], slot, baseOffset + 1);
      aborted.push({ slot, producerId: marker.producerId, firstOffset, lastOffset: baseOffset, lastStableOffset });
    } else if (producer?.transaction !== undefined) {
      const { producerId, transaction } = producer;
      const known = open.get(producerId);
      if (known?.firstOffsets.has(slot)) continue;
      open.set(producerId, {
        producerId,
        transaction,
        sinceMs: known?.sinceMs ?? batchTimeMs(entry.batchId),
        firstOffsets: new Map([...(known?.firstOffsets ?? []), [slot, baseOffset]]),
      });
    }
  }
  return { open: [...open.values()], aborted };
}

function isTransactional({ producer }: EntryPart): boolean {
  return producer?.transaction !== undefined;
}

/** Ends a producer's transaction in one slot. Returns its first offset there. */
function close(open: Map<number, OpenTransaction>, producerId: number, slot: number): number | undefined {
  const known = open.get(producerId);
  const firstOffset = known?.firstOffsets.get(slot);
  if (known === undefined || firstOffset === undefined) return undefined;
  const firstOffsets = new Map(known.firstOffsets);
  firstOffsets.delete(slot);
  if (firstOffsets.size === 0) open.delete(producerId);
  else open.set(producerId, { ...known, firstOffsets });
  return firstOffset;
}

/** The first offset of the oldest transaction that is open in the slot; without one `nextOffset`, the high watermark. */
export function lastStableOffsetOf(open: OpenTransactions, slot: number, nextOffset: number): number {
  return open.reduce((min, { firstOffsets }) => Math.min(min, firstOffsets.get(slot) ?? min), nextOffset);
}

const VERSION = 2;
const UNSEALED_VERSION = 1;

/**
 * Open transactions, packed: version uint8 = 2 · count varuint · per transaction: producerId varuint · number varuint
 * · since varuint (ms) · slots varuint · per slot: slot varuint · first offset varuint · CRC-32C uint32, which version 1 does not have. Persisted in heads and tail nodes.
 */

export function packOpen(open: OpenTransactions): Uint8Array {
  const writer = new ByteWriter(2 + open.length * 24);
  writer.uint8(VERSION);
  writer.varuint(open.length);
  for (const { producerId, transaction, sinceMs, firstOffsets } of open) {
    writer.varuint(producerId);
    writer.varuint(transaction);
    writer.varuint(sinceMs);
    writeOffsets(writer, firstOffsets);
  }
  return sealed(writer);
}

function writeOffsets(writer: ByteWriter, offsets: ReadonlyMap<number, number>): void {
  writer.varuint(offsets.size);
  for (const [slot, offset] of offsets) {
    writer.varuint(slot);
    writer.varuint(offset);
  }
}

/** @throws EventLogError `corrupt_data` */
export function unpackOpen(packed: Uint8Array): OpenTransaction[] {
  return unpack(packed, 'open transactions', (reader) => {
    const [producerId, transaction, sinceMs] = [reader.varuint(), reader.varuint(), reader.varuint()];
    const firstOffsets = new Map<number, number>();
    for (let left = reader.varuint(); left > 0; left--) firstOffsets.set(readSlot(reader), reader.varuint());
    return { producerId, transaction, sinceMs, firstOffsets };
  });
}

/**
 * Aborted transactions, packed: version uint8 = 2 · count varuint · per transaction: slot varuint · producerId varuint
 * · first offset varuint · last offset varuint, minus the first · last stable offset varuint · CRC-32C uint32, which
 * version 1 does not have. Persisted in items of their own.
 */

export function packAborted(aborted: readonly AbortedTransaction[]): Uint8Array {
  const writer = new ByteWriter(2 + aborted.length * 24);
  writer.uint8(VERSION);
  writer.varuint(aborted.length);
  for (const { slot, producerId, firstOffset, lastOffset, lastStableOffset } of aborted) {
    writer.varuint(slot);
    writer.varuint(producerId);
    writer.varuint(firstOffset);
    writer.varuint(lastOffset - firstOffset);
    writer.varuint(lastStableOffset);
  }
  return sealed(writer);
}

/** @throws EventLogError `corrupt_data` */
export function unpackAborted(packed: Uint8Array): AbortedTransaction[] {
  return unpack(packed, 'aborted transactions', (reader) => {
    const [slot, producerId, firstOffset] = [readSlot(reader), reader.varuint(), reader.varuint()];
    const lastOffset = firstOffset + reader.varuint();
    return { slot, producerId, firstOffset, lastOffset, lastStableOffset: reader.varuint() };
  });
}

function readSlot(reader: ByteReader): number {
  const slot = reader.varuint();
  invariant(slot < PARTITIONS_PER_HEAD_MAX, () => `no head has a slot ${slot}`);
  return slot;
}

function unpack<One>(packed: Uint8Array, what: string, read: (reader: ByteReader) => One): One[] {
  try {
    const [version] = packed;
    invariant(version === VERSION || version === UNSEALED_VERSION, () => `version ${version} is not ${VERSION}`);
    const reader = new ByteReader(version === VERSION ? unsealed(packed) : packed, 1);
    const list: One[] = [];
    for (let left = reader.varuint(); left > 0; left--) list.push(read(reader));
    invariant(reader.remaining === 0, 'the list ends with its last transaction');
    return list;
  } catch (cause) {
    throw new EventLogError('corrupt_data', `The list of ${what} of a partition head cannot be read.`, { cause });
  }
}
