import { placeBatch, type RecordBatchHeader, readBatchHeader } from '../../log/batch/record-batch.ts';
import type { StoredBatch } from '../../log/batch/stored-batch.ts';
import { EventLogError } from '../../log/errors.ts';
import type { BatchId } from '../../log/head/batch-id.ts';
import { batchIdText } from '../../log/head/batch-id.ts';
import type { Entry, EntryPart } from '../../log/head/entry.ts';
import type { PlacedPart } from '../../log/head/head.ts';
import { hotObjectKey, INLINE_BATCH, inlineBatchKey } from '../../storage/keys.ts';
import type { Stores } from '../../storage/ports.ts';
import type { BrokerContext } from '../context.ts';

function dataKey(batchId: BatchId, part: Pick<EntryPart, 'position'>): string {
  return `${batchIdText(batchId)}:${part.position}`;
}

/** The name under which an entry's data is stored: an object's key, or an item's partition key. */
export function dataName(entry: Entry): string {
  return entry.location === 'hot' ? hotObjectKey(entry.batchId) : inlineBatchKey(entry.batchId).pk;
}

/**
 * Returns the batches of a part, checked against their CRC and the part's counts, with their offsets set. Costs nothing if
 * they are cached, otherwise 1 GetObject or 1 GetItem.
 * @throws EventLogError `corrupt_data` naming the missing or damaged data
 */
export async function readPart(
  context: BrokerContext,
  stores: Stores,
  placed: PlacedPart,
): Promise<readonly StoredBatch[]> {
  const key = dataKey(placed.entry.batchId, placed.part);
  const kept = context.cache.getBatches(key);
  if (kept !== undefined) return kept;
  const batches = placeBatches(await fetchPart(stores, placed), placed);
  context.cache.putBatches(key, batches);
  return batches;
}

/** Caches the batches of a part that was just appended. The cache takes over `data`. */
export function keepPart(context: BrokerContext, data: Uint8Array, placed: PlacedPart): void {
  context.cache.putBatches(dataKey(placed.entry.batchId, placed.part), placeBatches(data, placed));
}

/**
 * Fetches the stored bytes of a part, unchecked: the batches' own base offsets are not set. 1 GetObject or 1 GetItem.
 * @throws EventLogError `corrupt_data` naming the missing data
 */
export async function fetchPart(stores: Stores, { entry, part }: PlacedPart): Promise<Uint8Array> {
  const range = { start: part.position, end: part.position + part.bytes };
  const data =
    entry.location === 'hot'
      ? await stores.objects.get(hotObjectKey(entry.batchId), range)
      : (await stores.items.get(inlineBatchKey(entry.batchId))).attributes?.[INLINE_BATCH.data];
  if (!(data instanceof Uint8Array)) throw corrupt(entry, 'is missing.');
  return entry.location === 'hot' ? data : data.slice(range.start, range.end);
}

/** Sets the offsets in `data` itself: a part's offsets never change. */
function placeBatches(data: Uint8Array, { entry, part, baseOffset }: PlacedPart): StoredBatch[] {
  if (data.length !== part.bytes)
    throw corrupt(entry, `has ${data.length} bytes at position ${part.position}; expected ${part.bytes}.`);
  const batches: StoredBatch[] = [];
  let position = 0;
  let offset = baseOffset;
  while (position < data.length) {
    const header = readStored(data, position, entry);
    placeBatch(data, position, offset);
    const endOffset = offset + header.lastOffsetDelta + 1;
    batches.push({ bytes: data.subarray(position, position + header.bytes), header, baseOffset: offset, endOffset });
    position += header.bytes;
    offset = endOffset;
  }
  if (offset !== baseOffset + part.records)
    throw corrupt(entry, `holds ${offset - baseOffset} records; expected ${part.records}.`);
  return batches;
}

function readStored(bytes: Uint8Array, position: number, entry: Entry): RecordBatchHeader {
  try {
    return readBatchHeader(bytes, position);
  } catch (cause) {
    throw corrupt(entry, cause instanceof Error ? `is damaged: ${cause.message}` : 'is damaged.', cause);
  }
}

function corrupt(entry: Entry, what: string, cause?: unknown): EventLogError {
  const name = dataName(entry);
  return new EventLogError('corrupt_data', `The stored data '${name}' ${what}`, { details: { storedAs: name }, cause });
}
