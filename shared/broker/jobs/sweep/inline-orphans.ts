import { batchIdByTime, batchIdOfTimeText, batchIdRandomBytes, makeBatchId } from '../../../log/head/batch-id.ts';
import { ORPHAN_AGE_MS } from '../../../log/segment/list-cleanup.ts';
import { BATCH_SHARDS, inlineBatchKey, inlineBatchPartitionKey } from '../../../storage/keys.ts';
import type { ItemStore } from '../../../storage/ports.ts';
import type { HeadName } from '../../heads/items.ts';
import { type RetryContext, retrying } from '../../retry.ts';
import { eachOf } from '../../topics/each-head.ts';
import { findOrphans } from './find-orphans.ts';

const BATCHES_PER_QUERY = 64;

/**
 * Deletes the inline batches of a head that are older than `ORPHAN_AGE_MS` and that no entry refers to. Costs 4 Queries, and
 * where there are such old batches the cost of `findOrphans` for 64 of them, and 1 DeleteItem for each orphan.
 */
export async function sweepInlineOrphans(
  context: RetryContext,
  items: ItemStore,
  name: HeadName,
  signal: AbortSignal | undefined,
): Promise<{ readonly orphansDeleted: number; readonly complete: boolean }> {
  const { topicId, headNumber } = name;
  const cutoffMs = context.clock.nowMs() - ORPHAN_AGE_MS;
  const to = batchIdByTime(makeBatchId(new Uint8Array(batchIdRandomBytes()), Math.max(0, cutoffMs)));
  let orphansDeleted = 0;
  for (let shard = 0; shard < BATCH_SHARDS; shard++) {
    const pk = inlineBatchPartitionKey(topicId, headNumber, shard);
    for (let from = ''; ; ) {
      if (signal?.aborted) return { orphansDeleted, complete: false };
      const page = await retrying(context, 'not_applied', () =>
        items.query({ pk, from, to, limit: BATCHES_PER_QUERY }),
      );
      const candidates = page.items.map(({ sk }) => ({ batchId: batchIdOfTimeText(sk), heads: [name] }));
      const orphans = await findOrphans(context, items, candidates, async () => true);
      await eachOf(orphans, ({ batchId }) =>
        retrying(context, 'from_error', () => items.delete(inlineBatchKey(topicId, headNumber, batchId))),
      );
      orphansDeleted += orphans.length;
      if (!page.more) break;
      from = `${page.items.at(-1)?.sk}\0`;
    }
  }
  return { orphansDeleted, complete: true };
}
