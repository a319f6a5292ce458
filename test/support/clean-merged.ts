import { updateSegmentList } from '../../shared/broker/heads/segment-list-store.ts';
import { DEFAULT_SETTINGS } from '../../shared/broker/settings.ts';
import { nodePartitionKey } from '../../shared/storage/keys.ts';
import { type MemoryStores, memoryBroker, SeededRandom } from './memory-broker.ts';

/** Merges a head and deletes its merged nodes at once, as they are half an hour later. Their data stays. */
export async function cleanMerged(stores: MemoryStores, topicId: string, headNumber = 0): Promise<void> {
  await memoryBroker(stores).mergeHead(topicId, headNumber, { force: true });
  const context = { clock: stores.clock, random: new SeededRandom(1), settings: DEFAULT_SETTINGS };
  const { list } = await updateSegmentList(context, stores.items, { topicId, headNumber }, (before) => ({
    list: { ...before, cleanBelow: before.mergedEntry, cleanedEntry: before.mergedEntry },
    result: undefined,
  }));
  const pk = nodePartitionKey(topicId, headNumber);
  for (const { sk } of (await stores.items.query({ pk, limit: 1_000 })).items)
    if (Number(sk) < list.cleanedEntry) await stores.items.delete({ pk, sk });
}
