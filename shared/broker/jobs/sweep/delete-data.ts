import type { BatchId } from '../../../log/head/batch-id.ts';
import { dataParts, type Entry, type Share } from '../../../log/head/entry.ts';
import { hotObjectKey, inlineBatchKey, REFERENCE, referenceKey, sharedObjectKey } from '../../../storage/keys.ts';
import type { Stores } from '../../../storage/ports.ts';
import type { HeadName } from '../../heads/items.ts';
import { type RetryContext, retrying } from '../../retry.ts';
import { eachOf } from '../../topics/each-head.ts';

/** Marks live this long after the last of them. What is shared by heads that need longer is found as an orphan. */
const MARKS_KEPT_MS = 30 * 24 * 3_600_000;

/**
 * Deletes the data of entries that their head needs no longer, except for data of which a later entry has further parts: that
 * entry deletes it. Deleting again changes nothing. Costs 1 DeleteItem or 1 DeleteObject for each entry, or 1 UpdateItem if
 * the data is shared; the last head to come then costs 1 DeleteObject + 1 DeleteItem more.
 */
export async function deleteDataOf(
  context: RetryContext,
  stores: Stores,
  name: HeadName,
  entries: readonly Entry[],
): Promise<void> {
  const last = entries.filter((entry) => dataParts(entry).length > 0 && !entry.continued);
  await eachOf(last, (entry) => retrying(context, 'from_error', () => deleteData(context, stores, name, entry)));
}

async function deleteData(
  context: RetryContext,
  stores: Stores,
  { topicId, headNumber }: HeadName,
  { location, share, batchId }: Entry,
): Promise<void> {
  if (share !== undefined) return leaveShared(context, stores, batchId, share);
  if (location === 'hot') await stores.objects.delete(hotObjectKey(batchId, topicId, headNumber));
  else await stores.items.delete(inlineBatchKey(topicId, headNumber, batchId));
}

/**
 * The marks only grow while the item lives, and an update returns all of them, so the last head to mark sees all. If it dies
 * before the end, its next sweep marks again. A mark that comes after the end makes an item that expires.
 */
async function leaveShared(
  { clock }: RetryContext,
  { items, objects }: Stores,
  batchId: BatchId,
  { sharer, sharers }: Share,
): Promise<void> {
  const key = referenceKey(batchId);
  const expiresAt = Math.ceil((clock.nowMs() + MARKS_KEPT_MS) / 1_000);
  const { attributes = {} } = await items.update(key, [
    { do: 'set', name: REFERENCE.mark(sharer), value: 1 },
    { do: 'set', name: REFERENCE.expiresAt, value: expiresAt },
  ]);
  for (let other = 0; other < sharers; other++) if (attributes[REFERENCE.mark(other)] === undefined) return;
  await objects.delete(sharedObjectKey(batchId));
  await items.delete(key);
}
