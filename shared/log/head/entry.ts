import { ByteReader, ByteWriter } from '../bytes.ts';
import { EventLogError, invariant } from '../errors.ts';
import { PARTITIONS_PER_HEAD_MAX } from '../limits.ts';
import { BATCH_ID_BYTES, type BatchId, batchTimeMs } from './batch-id.ts';

/**
 * An entry records what one commit appended to the partitions of one head. It is packed, because it is stored in the head
 * item and every commit is billed by the item's whole size: about 22 bytes for one batch of one partition. The packed form
 * is persisted; see `docs/format.md`.
 *
 *   version uint8 = 1 · flags uint8 (0 inline, 1 hot, 3 shared; +4 continued) · batchId 12 bytes
 *   if shared: sharer varuint · sharers varuint
 *   onceKeys varuint · parts varuint · parts
 *   part: slotAndFlags varuint (slot × 8 + flags) · records varuint · position varuint · bytes varuint
 *         · maxTimestamp varint (milliseconds after the batch id's time)
 *         · if idempotent (flag 1): producerId varuint · producerEpoch varuint · baseSequence varuint
 *         · if keyed (flag 2): which of the entry's once keys is its idempotency key, varuint
 */
export interface Entry {
  readonly batchId: BatchId;
  readonly location: Location;
  /** Which of the heads that share the data this one is; only if the location is `shared`. */
  readonly share?: Share | undefined;
  /** A later entry has further parts of the same data, so the data must outlive this entry. */
  readonly continued?: true | undefined;
  /** The number of once keys that this commit left in the head, next to its entry and in order. */
  readonly onceKeys: number;
  readonly parts: readonly EntryPart[];
}

/** Where the data is: `inline` in an item of the table, `hot` in an object of the head, `shared` in one of several heads. */
export type Location = 'inline' | 'hot' | 'shared';

/** One head's place among the heads of a shared object, whose names are at its beginning (`sharers.ts`). */
export interface Share {
  readonly sharer: number;
  readonly sharers: number;
}

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

/**
 * The end of a transaction in one head: it gives the transaction's outcome to all data of the transaction there. It takes up
 * one offset in each of `slots`, after all parts of the entry. Without slots it only shuts out later data.
 */
export interface EntryMarker {
  readonly producerId: number;
  readonly producerEpoch: number;
  /** The number of the transaction. */
  readonly transaction: number;
  readonly outcome: 'committed' | 'aborted';
  /** Ascending. */
  readonly slots: readonly number[];
}

export interface EntryProducer {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
  /** The number of the transaction that the batch belongs to; absent if it belongs to none. */
  readonly transaction?: number | undefined;
}

const VERSION = 1;
const LOCATION_FLAGS: Readonly<Record<Location, number>> = { inline: 0, hot: 1, shared: 3 };
const LOCATIONS = Object.keys(LOCATION_FLAGS) as Location[];
const FLAG_CONTINUED = 4;
const PART_FLAGS = 8;
const PART_IDEMPOTENT = 1;
const PART_KEYED = 2;

export function packEntry(entry: Entry): Uint8Array {
  const timeMs = batchTimeMs(entry.batchId);
  const writer = new ByteWriter(32 + entry.parts.length * 24);
  writer.uint8(VERSION);
  writer.uint8(LOCATION_FLAGS[entry.location] + (entry.continued ? FLAG_CONTINUED : 0));
  writer.write(entry.batchId);
  invariant((entry.share !== undefined) === (entry.location === 'shared'), 'only a shared entry has a share');
  if (entry.share !== undefined) {
    writer.varuint(entry.share.sharer);
    writer.varuint(entry.share.sharers);
  }
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
    const location = locationOf(flags);
    const batchId = reader.view(BATCH_ID_BYTES);
    const timeMs = batchTimeMs(batchId);
    const share = location === 'shared' ? { sharer: reader.varuint(), sharers: reader.varuint() } : undefined;
    invariant(share === undefined || share.sharer < share.sharers, 'a sharer is one of the sharers');
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
    return {
      batchId,
      location,
      ...(share === undefined ? {} : { share }),
      ...(flags & FLAG_CONTINUED ? { continued: true } : {}),
      onceKeys,
      parts,
    };
  } catch (cause) {
    throw new EventLogError('corrupt_data', 'An entry of a partition head or tail node cannot be read.', { cause });
  }
}

function locationOf(flags: number): Location {
  const location = LOCATIONS.find((one) => LOCATION_FLAGS[one] === (flags & ~FLAG_CONTINUED));
  invariant(location !== undefined, () => `the flags ${flags} are unknown`);
  return location;
}
