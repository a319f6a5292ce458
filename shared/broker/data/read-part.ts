import { placeBatch, type RecordBatchHeader, readBatchHeader } from '../../log/batch/record-batch.ts';
import type { StoredBatch } from '../../log/batch/stored-batch.ts';
import { writeMarkerBatch } from '../../log/batch/transaction-marker.ts';
import { EventLogError, MissingDataError } from '../../log/errors.ts';
import { batchIdText, batchTimeMs } from '../../log/head/batch-id.ts';
import { dataParts, type Entry, type EntryMarker, type EntryPart } from '../../log/head/entry.ts';
import type { PlacedPart } from '../../log/head/head.ts';
import { hotObjectKey, INLINE_BATCH, inlineBatchKey, sharedObjectKey } from '../../storage/keys.ts';
import type { Stores } from '../../storage/ports.ts';
import type { BrokerContext } from '../context.ts';
import type { HeadName } from '../heads/items.ts';
import { Chunk } from '../memory/data-cache.ts';

/** Names a part in the cache. A batch id is unique only among the data of its head that is stored in the same way. */
function cacheKey({ topicId, headNumber }: HeadName, { entry, part }: Pick<PlacedPart, 'entry' | 'part'>): string {
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
 * they are cached, otherwise what `readStored` costs.
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
  const data = await readStored(context, stores, name, placed);
  let batches: readonly StoredBatch[];
  try {
    batches = [...placeBatches(data, name, placed)];
  } catch (error) {
    // What arrived damaged may be whole in the store.
    context.cache.dropBlock(key);
    throw error;
  }
  context.cache.putBatches(key, batches);
  return batches;
}

/**
 * Returns a copy of the stored bytes of a part, unchecked: the batches' own base offsets are not set. Where one request
 * brings all parts of the entry (`wholeDataBytesMax`; an inline batch always comes as a whole), the others are kept for a
 * while: whoever reads one of them soon reads the next, or the other partitions of the head. Costs nothing if the part is
 * kept, or a marker, or if it is on the way to another reader, otherwise 1 GetItem or 1 GetObject.
 * @throws MissingDataError naming the missing data
 */
export async function readStored(
  context: BrokerContext,
  stores: Stores,
  name: HeadName,
  placed: PlacedPart,
): Promise<Uint8Array> {
  const { entry, part } = placed;
  if (part.marker !== undefined) return fetchPart(stores, name, placed);
  const kept = context.cache.getBlock(cacheKey(name, placed));
  // A copy: the caller may keep it for longer than the other parts are kept.
  if (kept !== undefined) return kept.slice();
  const stored = dataParts(entry);
  const { start, end } = extentOf(stored);
  const isWhole = entry.location === 'inline' || end - start <= context.settings.wholeDataBytesMax;
  if (!isWhole || stored.length === 1) return fetchPart(stores, name, placed);
  // Not only the name: entries of one group share its data, each with parts of its own.
  const data = await context.cache.fetchOnce(`${dataName(name, entry)}@${start}-${end}`, async () => {
    const whole = { ...placed, part: { ...part, position: start, bytes: end - start } };
    const fetched = await fetchPart(stores, name, whole);
    keepParts(context, name, entry, fetched);
    return fetched;
  });
  return data.slice(part.position - start, part.position - start + part.bytes);
}

/** Keeps those parts of an entry that are not in memory, if there is room for what is read ahead. */
function keepParts({ cache, clock }: BrokerContext, name: HeadName, entry: Entry, data: Uint8Array): void {
  const nowMs = clock.nowMs();
  if (data.buffer.byteLength > cache.aheadBytesMax(nowMs)) return;
  const stored = dataParts(entry);
  const { start } = extentOf(stored);
  const chunk = new Chunk(data.buffer.byteLength);
  for (const part of stored) {
    const key = cacheKey(name, { entry, part });
    const from = part.position - start;
    if (cache.getBatches(key) === undefined) cache.putBlock(key, data.subarray(from, from + part.bytes), nowMs, chunk);
  }
}

/** From the first of these parts to the last; there must be one. */
function extentOf(parts: readonly EntryPart[]): { readonly start: number; readonly end: number } {
  let [start, end] = [Number.POSITIVE_INFINITY, 0];
  for (const { position, bytes } of parts) {
    start = Math.min(start, position);
    end = Math.max(end, position + bytes);
  }
  return { start, end };
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
  const { start, end } = extentOf(stored.map(({ part }) => part));
  const part = { ...first.part, position: start, bytes: end - start };
  return { placed, data: await fetchPart(stores, name, { ...first, part }), start };
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
    const header = headerAt(data, position, name, entry);
    placeBatch(data, position, offset);
    const endOffset = offset + header.lastOffsetDelta + 1;
    yield { bytes: data.subarray(position, position + header.bytes), header, baseOffset: offset, endOffset };
    position += header.bytes;
    offset = endOffset;
  }
  if (offset !== baseOffset + part.records)
    throw corrupt(name, entry, `holds ${offset - baseOffset} records; expected ${part.records}.`);
}

function headerAt(bytes: Uint8Array, position: number, name: HeadName, entry: Entry): RecordBatchHeader {
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
