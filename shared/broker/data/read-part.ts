import { placeBatch, type RecordBatchHeader, readBatchHeader } from '../../log/batch/record-batch.ts';
import type { StoredBatch } from '../../log/batch/stored-batch.ts';
import { writeMarkerBatch } from '../../log/batch/transaction-marker.ts';
import { EventLogError, MissingDataError } from '../../log/errors.ts';
import { batchIdText, batchTimeMs } from '../../log/head/batch-id.ts';
import type { Entry, EntryMarker } from '../../log/head/entry.ts';
import type { PlacedPart } from '../../log/head/head.ts';
import { hotObjectKey, INLINE_BATCH, inlineBatchKey, sharedObjectKey } from '../../storage/keys.ts';
import type { Stores } from '../../storage/ports.ts';
import type { BrokerContext } from '../context.ts';
import type { HeadName } from '../heads/items.ts';

/** Names a part in the cache. A batch id is unique only among the data of its head that is stored in the same way. */
function cacheKey({ topicId, headNumber }: HeadName, { entry, part }: PlacedPart): string {
  return `${topicId}#${headNumber}#${entry.location}#${batchIdText(entry.batchId)}:${part.position}`;
}

/** The name under which an entry's data is stored: an object's key, or an item's `pk` and `sk`, joined by a slash. */
export function dataName(name: HeadName, entry: Entry): string {
  if (entry.location !== 'inline') return dataObjectKey(name, entry);
  const { pk, sk } = inlineBatchKey(name.topicId, name.headNumber, entry.batchId);
  return `${pk}/${sk}`;
}

/** The key of the object that holds the data of an entry that is not inline. */
export function dataObjectKey({ topicId, headNumber }: HeadName, { location, batchId }: Entry): string {
  return location === 'shared' ? sharedObjectKey(batchId) : hotObjectKey(batchId, topicId, headNumber);
}

/**
 * Returns the batches of a part, checked against their CRC and the part's counts, with their offsets set. Costs nothing if
 * they are cached, otherwise 1 GetObject or 1 GetItem.
 * @throws EventLogError `corrupt_data` naming the damaged data; MissingDataError
 */
export async function readPart(
  context: BrokerContext,
  stores: Stores,
  name: HeadName,
  placed: PlacedPart,
): Promise<readonly StoredBatch[]> {
  if (placed.part.marker !== undefined) return [markerBatch(placed, placed.part.marker)];
  const key = cacheKey(name, placed);
  const kept = context.cache.getBatches(key);
  if (kept !== undefined) return kept;
  const batches = [...placeBatches(await fetchPart(stores, name, placed), name, placed)];
  context.cache.putBatches(key, batches);
  return batches;
}

/** Caches the batches of a part that was just appended. The cache takes over `data`. */
export function keepPart(context: BrokerContext, data: Uint8Array, name: HeadName, placed: PlacedPart): void {
  context.cache.putBatches(cacheKey(name, placed), [...placeBatches(data, name, placed)]);
}

/** The batch of a marker, which has no stored data. */
function markerBatch({ entry, baseOffset }: PlacedPart, marker: EntryMarker): StoredBatch {
  const bytes = writeMarkerBatch(marker, batchTimeMs(entry.batchId));
  placeBatch(bytes, 0, baseOffset);
  return { bytes, header: readBatchHeader(bytes), baseOffset, endOffset: baseOffset + 1 };
}

/**
 * Fetches the stored bytes of a part, unchecked: the batches' own base offsets are not set. 1 GetObject or 1 GetItem, and
 * nothing for a marker. @throws MissingDataError naming the missing data
 */
export async function fetchPart(stores: Stores, name: HeadName, { entry, part }: PlacedPart): Promise<Uint8Array> {
  if (part.marker !== undefined) return writeMarkerBatch(part.marker, batchTimeMs(entry.batchId));
  const range = { start: part.position, end: part.position + part.bytes };
  const data =
    entry.location !== 'inline'
      ? await stores.objects.get(dataObjectKey(name, entry), range)
      : (await stores.items.get(inlineBatchKey(name.topicId, name.headNumber, entry.batchId))).attributes?.[
          INLINE_BATCH.data
        ];
  if (!(data instanceof Uint8Array)) {
    const storedAs = dataName(name, entry);
    throw new MissingDataError(`The stored data '${storedAs}' is missing.`, { storedAs });
  }
  return entry.location !== 'inline' ? data : data.slice(range.start, range.end);
}

/**
 * Fetches the stored bytes of some parts of one entry, from the first part to the last, unchecked. 1 GetObject or 1 GetItem,
 * and nothing for markers. @throws MissingDataError naming the missing data
 */
export async function fetchParts(stores: Stores, name: HeadName, placed: readonly PlacedPart[]): Promise<FetchedParts> {
  const stored = placed.filter(({ part }) => part.marker === undefined);
  const [first] = stored;
  if (first === undefined) return { placed, data: new Uint8Array(0), start: 0 };
  const start = Math.min(...stored.map(({ part }) => part.position));
  const end = Math.max(...stored.map(({ part }) => part.position + part.bytes));
  const data = await fetchPart(stores, name, {
    ...first,
    part: { ...first.part, position: start, bytes: end - start },
  });
  return { placed, data, start };
}

/**
 * Returns the batches of some parts of one entry, checked like those of `readPart`. Keeps nothing in memory. Costs what
 * `fetchParts` does. @throws EventLogError `corrupt_data`; MissingDataError
 */
export async function readParts(
  stores: Stores,
  name: HeadName,
  placed: readonly PlacedPart[],
): Promise<readonly StoredBatch[][]> {
  const fetched = await fetchParts(stores, name, placed);
  return placed.map((one) => [...batchesOf(fetched, name, one)]);
}

/** Parts of one entry, and the bytes that hold them. */
export interface FetchedParts {
  readonly placed: readonly PlacedPart[];
  readonly data: Uint8Array;
  /** The position of the first byte of `data`. */
  readonly start: number;
}

/**
 * Yields the batches of one of the parts that were fetched, checked like those of `readPart`. So what was yielded must not be
 * used before all were taken. @throws EventLogError `corrupt_data`
 */
export function batchesOf({ data, start }: FetchedParts, name: HeadName, placed: PlacedPart): Iterable<StoredBatch> {
  const { marker, position, bytes } = placed.part;
  if (marker !== undefined) return [markerBatch(placed, marker)];
  return placeBatches(data.subarray(position - start, position - start + bytes), name, placed);
}

/** Sets the offsets in `data` itself: a part's offsets never change. */
function* placeBatches(
  data: Uint8Array,
  name: HeadName,
  { entry, part, baseOffset }: PlacedPart,
): Generator<StoredBatch, void> {
  if (data.length !== part.bytes)
    throw corrupt(name, entry, `has ${data.length} bytes at position ${part.position}; expected ${part.bytes}.`);
  let position = 0;
  let offset = baseOffset;
  while (position < data.length) {
    const header = readStored(data, position, name, entry);
    placeBatch(data, position, offset);
    const endOffset = offset + header.lastOffsetDelta + 1;
    yield { bytes: data.subarray(position, position + header.bytes), header, baseOffset: offset, endOffset };
    position += header.bytes;
    offset = endOffset;
  }
  if (offset !== baseOffset + part.records)
    throw corrupt(name, entry, `holds ${offset - baseOffset} records; expected ${part.records}.`);
}

function readStored(bytes: Uint8Array, position: number, name: HeadName, entry: Entry): RecordBatchHeader {
  try {
    return readBatchHeader(bytes, position);
  } catch (cause) {
    throw corrupt(name, entry, cause instanceof Error ? `is damaged: ${cause.message}` : 'is damaged.', cause);
  }
}

function corrupt(name: HeadName, entry: Entry, what: string, cause?: unknown): EventLogError {
  const storedAs = dataName(name, entry);
  return new EventLogError('corrupt_data', `The stored data '${storedAs}' ${what}`, { details: { storedAs }, cause });
}
