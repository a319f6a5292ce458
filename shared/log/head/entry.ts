import { ByteReader, ByteWriter } from '../bytes.ts';
import { EventLogError, invariant } from '../errors.ts';
import { PARTITIONS_PER_HEAD_MAX } from '../limits.ts';
import { BATCH_ID_BYTES, type BatchId, batchTimeMs } from './batch-id.ts';

/**
 * An entry records what one commit appended to the partitions of one head. It is packed, because it is stored in the head
 * item and every commit is billed by the item's whole size: about 22 bytes for one batch of one partition. The packed form
 * is persisted; see `docs/format.md`.
 *
 *   version uint8 = 1 · flags uint8 · batchId 12 bytes · onceKeys varuint · parts varuint · parts
 *   part: slotAndFlags varuint (slot × 8 + flags) · records varuint · position varuint · bytes varuint
 *         · maxTimestamp varint (milliseconds after the batch id's time)
 *         · if idempotent (flag 1): producerId varuint · producerEpoch varuint · baseSequence varuint
 *         · if keyed (flag 2): which of the entry's once keys is its idempotency key, varuint
 */
export interface Entry {
  readonly batchId: BatchId;
  readonly location: Location;
  /** The number of once keys that this commit left in the head, next to its entry and in order. */
  readonly onceKeys: number;
  readonly parts: readonly EntryPart[];
}

/** Where the data is: `inline` in an item of the table, `hot` in an object that heads of one group commit can share. */
export type Location = 'inline' | 'hot';

/**
 * Consecutive record batches of one partition, back to back in `[position, position + bytes)` of the data. Their base
 * offsets there count from the part's own first offset, which follows from the head.
 */
export interface EntryPart {
  /** The partition's index in its head. */
  readonly slot: number;
  /** The number of offsets that the part takes up. */
  readonly records: number;
  readonly position: number;
  readonly bytes: number;
  readonly maxTimestampMs: number;
  /** The producer, if it is idempotent. Each batch of an idempotent producer is a separate part. */
  readonly producer?: EntryProducer | undefined;
  /** The key's index among the entry's once keys. Each batch appended under an idempotency key is a separate part. */
  readonly keyed?: number | undefined;
}

export interface EntryProducer {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
}

const VERSION = 1;
const FLAG_HOT = 1;
const PART_FLAGS = 8;
const PART_IDEMPOTENT = 1;
const PART_KEYED = 2;

export function packEntry(entry: Entry): Uint8Array {
  const timeMs = batchTimeMs(entry.batchId);
  const writer = new ByteWriter(32 + entry.parts.length * 24);
  writer.uint8(VERSION);
  writer.uint8(entry.location === 'hot' ? FLAG_HOT : 0);
  writer.write(entry.batchId);
  writer.varuint(entry.onceKeys);
  writer.varuint(entry.parts.length);
  for (const part of entry.parts) {
    const flags = (part.producer === undefined ? 0 : PART_IDEMPOTENT) + (part.keyed === undefined ? 0 : PART_KEYED);
    writer.varuint(part.slot * PART_FLAGS + flags);
    writer.varuint(part.records);
    writer.varuint(part.position);
    writer.varuint(part.bytes);
    writer.varint(part.maxTimestampMs - timeMs);
    if (part.producer !== undefined) {
      writer.varuint(part.producer.producerId);
      writer.varuint(part.producer.producerEpoch);
      writer.varuint(part.producer.baseSequence);
    }
    if (part.keyed !== undefined) writer.varuint(part.keyed);
  }
  return writer.finish().slice();
}

/** @throws EventLogError `corrupt_data` if the bytes are not an entry of a known version */
export function unpackEntry(packed: Uint8Array): Entry {
  try {
    const reader = new ByteReader(packed);
    const version = reader.uint8();
    invariant(version === VERSION, () => `entry version ${version} is not ${VERSION}`);
    const flags = reader.uint8();
    const batchId = reader.view(BATCH_ID_BYTES);
    const timeMs = batchTimeMs(batchId);
    const onceKeys = reader.varuint();
    const count = reader.varuint();
    const parts: EntryPart[] = [];
    for (let i = 0; i < count; i++) {
      const slotAndFlags = reader.varuint();
      const slot = Math.floor(slotAndFlags / PART_FLAGS);
      invariant(slot < PARTITIONS_PER_HEAD_MAX, () => `no head has a slot ${slot}`);
      parts.push({
        slot,
        records: reader.varuint(),
        position: reader.varuint(),
        bytes: reader.varuint(),
        maxTimestampMs: timeMs + reader.varint(),
        ...(slotAndFlags & PART_IDEMPOTENT
          ? {
              producer: {
                producerId: reader.varuint(),
                producerEpoch: reader.varuint(),
                baseSequence: reader.varuint(),
              },
            }
          : {}),
        ...(slotAndFlags & PART_KEYED ? { keyed: reader.varuint() } : {}),
      });
    }
    invariant(reader.remaining === 0, 'an entry ends with its last part');
    return { batchId, location: flags & FLAG_HOT ? 'hot' : 'inline', onceKeys, parts };
  } catch (cause) {
    throw new EventLogError('corrupt_data', 'An entry of a partition head or tail node cannot be read.', { cause });
  }
}
