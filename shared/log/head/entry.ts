import { sealed, unsealed } from '../batch/sealed.ts';
import { MARKER_BATCH_BYTES, type TransactionOutcome } from '../batch/transaction-marker.ts';
import { NO_SEQUENCE } from '../batch/write-batch.ts';
import { ByteReader, ByteWriter } from '../bytes.ts';
import { EventLogError, invariant } from '../errors.ts';
import { PARTITIONS_PER_HEAD_MAX, SEQUENCE_MAX } from '../limits.ts';
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
 *         · if idempotent (flag 1): producerId varuint · producerEpoch varuint · baseSequence varuint (2^31: none)
 *         · if keyed (flag 2): which of the entry's once keys is its idempotency key, varuint
 *         · if transactional (flag 4, only with 1): the number of the transaction, varuint
 *   if it has markers (entry flag 8): their number varuint · markers
 *   marker: producerId varuint · producerEpoch varuint · number of the transaction × 2 (+ 1: aborted) varuint
 *           · slots varuint (bit i: slot i)
 *   if it is sealed (entry flag 16): the CRC-32C of all before, uint32. So is every entry with markers or transactional parts:
 *   no batch would show that one bit of them is wrong, and a reader would get other records. Older ones are not.
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
  /** In the order of their offsets. What `markers` take up comes last: see `markerParts`. */
  readonly parts: readonly EntryPart[];
  /** The ends of transactions. */
  readonly markers?: readonly EntryMarker[] | undefined;
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
  /** The part is this marker in one slot. It has no data: its batch is made whenever it is read. */
  readonly marker?: EntryMarker | undefined;
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
  readonly outcome: TransactionOutcome;
  /** Those where the transaction has data, ascending. */
  readonly slots: readonly number[];
}

export interface EntryProducer {
  readonly producerId: number;
  readonly producerEpoch: number;
  /** `NO_SEQUENCE` only within a transaction. */
  readonly baseSequence: number;
  /** The number of the transaction that the batch belongs to; absent if it belongs to none. */
  readonly transaction?: number | undefined;
}

const VERSION = 1;
const LOCATION_FLAGS: Readonly<Record<Location, number>> = { inline: 0, hot: 1, shared: 3 };
const LOCATIONS = Object.keys(LOCATION_FLAGS) as Location[];
const FLAG_CONTINUED = 4;
const FLAG_MARKERS = 8;
const FLAG_SEALED = 16;
const FLAGS_AT = 1;
const PART_FLAGS = 8;
const PART_IDEMPOTENT = 1;
const PART_KEYED = 2;
const PART_TRANSACTIONAL = 4;
const PACKED_NO_SEQUENCE = SEQUENCE_MAX + 1;

/** What an entry's markers take up: one offset for each slot of each marker, as in Kafka. */
export function markerParts(markers: readonly EntryMarker[], timeMs: number): EntryPart[] {
  return markers.flatMap((marker) =>
    marker.slots.map((slot) => ({
      slot,
      records: 1,
      position: 0,
      bytes: MARKER_BATCH_BYTES,
      maxTimestampMs: timeMs,
      marker,
    })),
  );
}

/** The parts that have data. */
export function dataParts({ parts }: Pick<Entry, 'parts'>): EntryPart[] {
  return parts.filter(({ marker }) => marker === undefined);
}

export function packEntry(entry: Entry): Uint8Array {
  const timeMs = batchTimeMs(entry.batchId);
  const writer = new ByteWriter(32 + entry.parts.length * 24);
  writer.uint8(VERSION);
  const { markers = [] } = entry;
  const parts = dataParts(entry);
  const isSealed = markers.length > 0 || parts.some(({ producer }) => producer?.transaction !== undefined);
  writer.uint8(
    LOCATION_FLAGS[entry.location] +
      (entry.continued ? FLAG_CONTINUED : 0) +
      (markers.length > 0 ? FLAG_MARKERS : 0) +
      (isSealed ? FLAG_SEALED : 0),
  );
  writer.write(entry.batchId);
  invariant((entry.share !== undefined) === (entry.location === 'shared'), 'only a shared entry has a share');
  if (entry.share !== undefined) {
    writer.varuint(entry.share.sharer);
    writer.varuint(entry.share.sharers);
  }
  writer.varuint(entry.onceKeys);
  writer.varuint(parts.length);
  for (const part of parts) {
    const flags =
      (part.producer === undefined ? 0 : PART_IDEMPOTENT) +
      (part.keyed === undefined ? 0 : PART_KEYED) +
      (part.producer?.transaction === undefined ? 0 : PART_TRANSACTIONAL);
    writer.varuint(part.slot * PART_FLAGS + flags);
    writer.varuint(part.records);
    writer.varuint(part.position);
    writer.varuint(part.bytes);
    writer.varint(part.maxTimestampMs - timeMs);
    if (part.producer !== undefined) {
      writer.varuint(part.producer.producerId);
      writer.varuint(part.producer.producerEpoch);
      const { baseSequence } = part.producer;
      writer.varuint(baseSequence === NO_SEQUENCE ? PACKED_NO_SEQUENCE : baseSequence);
    }
    if (part.keyed !== undefined) writer.varuint(part.keyed);
    if (part.producer?.transaction !== undefined) writer.varuint(part.producer.transaction);
  }
  if (markers.length > 0) writer.varuint(markers.length);
  for (const { producerId, producerEpoch, transaction, outcome, slots } of markers) {
    writer.varuint(producerId);
    writer.varuint(producerEpoch);
    writer.varuint(transaction * 2 + (outcome === 'aborted' ? 1 : 0));
    writer.varuint(slots.reduce((bits, slot) => bits | (1 << slot), 0));
  }
  return isSealed ? sealed(writer) : writer.finish().slice();
}

/** @throws EventLogError `corrupt_data` if the bytes are not an entry of a known version */
export function unpackEntry(packed: Uint8Array): Entry {
  try {
    const reader = new ByteReader((packed[FLAGS_AT] ?? 0) & FLAG_SEALED ? unsealed(packed) : packed);
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
      const facts = {
        slot,
        records: reader.varuint(),
        position: reader.varuint(),
        bytes: reader.varuint(),
        maxTimestampMs: timeMs + reader.varint(),
      };
      const producer = slotAndFlags & PART_IDEMPOTENT ? readProducer(reader) : undefined;
      const keyed = slotAndFlags & PART_KEYED ? reader.varuint() : undefined;
      const isTransactional = (slotAndFlags & PART_TRANSACTIONAL) !== 0;
      invariant(!isTransactional || producer !== undefined, 'a transactional part has a producer');
      parts.push({
        ...facts,
        ...(producer && { producer: isTransactional ? { ...producer, transaction: reader.varuint() } : producer }),
        ...(keyed === undefined ? {} : { keyed }),
      });
    }
    const markers = flags & FLAG_MARKERS ? readMarkers(reader) : [];
    invariant(reader.remaining === 0, 'an entry ends with its last part or marker');
    return {
      batchId,
      location,
      ...(share === undefined ? {} : { share }),
      ...(flags & FLAG_CONTINUED ? { continued: true } : {}),
      onceKeys,
      parts: [...parts, ...markerParts(markers, timeMs)],
      ...(markers.length > 0 ? { markers } : {}),
    };
  } catch (cause) {
    throw new EventLogError('corrupt_data', 'An entry of a partition head or tail node cannot be read.', { cause });
  }
}

function readProducer(reader: ByteReader): EntryProducer {
  const [producerId, producerEpoch, baseSequence] = [reader.varuint(), reader.varuint(), reader.varuint()];
  return { producerId, producerEpoch, baseSequence: baseSequence === PACKED_NO_SEQUENCE ? NO_SEQUENCE : baseSequence };
}

function readMarkers(reader: ByteReader): EntryMarker[] {
  const markers: EntryMarker[] = [];
  for (let left = reader.varuint(); left > 0; left--) {
    const [producerId, producerEpoch, numberAndOutcome] = [reader.varuint(), reader.varuint(), reader.varuint()];
    const bits = reader.varuint();
    invariant(bits < 2 ** PARTITIONS_PER_HEAD_MAX, () => `no head has the slots ${bits}`);
    markers.push({
      producerId,
      producerEpoch,
      transaction: Math.floor(numberAndOutcome / 2),
      outcome: numberAndOutcome % 2 === 1 ? 'aborted' : 'committed',
      slots: [...Array(PARTITIONS_PER_HEAD_MAX).keys()].filter((slot) => (bits & (1 << slot)) !== 0),
    });
  }
  return markers;
}

function locationOf(flags: number): Location {
  const location = LOCATIONS.find(
    (one) => LOCATION_FLAGS[one] === (flags & ~(FLAG_CONTINUED | FLAG_MARKERS | FLAG_SEALED)),
  );
  invariant(location !== undefined, () => `the flags ${flags} are unknown`);
  return location;
}
