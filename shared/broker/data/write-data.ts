import { equalBytes } from '../../log/bytes.ts';
import { type BatchId, batchIdRandomBytes, makeBatchId } from '../../log/head/batch-id.ts';
import type { WrittenData } from '../../log/head/plan-commit.ts';
import { packSharers } from '../../log/head/sharers.ts';
import { hotObjectKey, INLINE_BATCH, inlineBatchKey, sharedObjectKey } from '../../storage/keys.ts';
import type { ObjectStore } from '../../storage/ports.ts';
import type { BrokerContext } from '../context.ts';
import type { HeadGroup } from '../heads/commit/head-group.ts';
import { retrying } from '../retry.ts';
import { noRequests } from '../usage/request-counts.ts';

/**
 * Writes the data of a group commit, and lays out each head's batches in it. Costs 1 PutItem for each head with little data
 * and 1 PutObject for all other heads. The data is durable once its promise resolves; or it is left to the commit
 * (`group.unwritten`), if the store writes both at once.
 */
export function writeData(context: BrokerContext, groups: readonly HeadGroup[]): Map<HeadGroup, Promise<WrittenData>> {
  const written = new Map<HeadGroup, Promise<WrittenData>>();
  const large = groups.filter((group) => group.bytes > context.settings.inlineBytesMax);
  for (const group of groups) if (!large.includes(group)) written.set(group, putInline(context, group));
  const [only] = large;
  if (only !== undefined && large.length === 1) written.set(only, putHot(context, only));
  else if (large.length > 1) {
    const shared = putShared(context, large);
    large.forEach((group, sharer) => {
      const share = { sharer, sharers: large.length };
      written.set(
        group,
        shared.then((batchId) => ({ batchId, location: 'shared', share })),
      );
    });
  }
  return written;
}

async function putInline(context: BrokerContext, group: HeadGroup): Promise<WrittenData> {
  const { items } = context.usage.of(group.topicName, 'append');
  group.layOut(0);
  // An append that only leaves a once key has no data, but its entry still needs a unique id.
  if (group.bytes === 0) return { batchId: newBatchId(context), location: 'inline' };
  const { topicId, headNumber } = group.name;
  const data = group.data();
  if (context.commitsData) {
    // If the id is another's, of which there is next to no chance, the commit fails, and the append can be tried again.
    const batchId = newBatchId(context);
    group.unwritten = { key: inlineBatchKey(topicId, headNumber, batchId), attributes: { [INLINE_BATCH.data]: data } };
    return { batchId, location: 'inline' };
  }
  for (;;) {
    const batchId = newBatchId(context);
    const result = await retrying(context, 'not_applied', () =>
      items.put(inlineBatchKey(topicId, headNumber, batchId), { [INLINE_BATCH.data]: data }, [{ if: 'item_absent' }]),
    );
    const met = result.ok ? data : result.attributes?.[INLINE_BATCH.data];
    // The same bytes come from an earlier attempt of ours whose reply was lost. Other bytes under our id require a new id.
    if (met instanceof Uint8Array && equalBytes(met, data)) return { batchId, location: 'inline' };
  }
}

async function putHot(context: BrokerContext, group: HeadGroup): Promise<WrittenData> {
  const { objects } = context.usage.of(group.topicName, 'append');
  group.layOut(0);
  const { topicId, headNumber } = group.name;
  const keyOf = (batchId: BatchId): string => hotObjectKey(batchId, topicId, headNumber);
  return { batchId: await putObject(context, objects, keyOf, group.chunks()), location: 'hot' };
}

/** Writes one object for several heads. Its cost is shared among their topics by bytes. */
async function putShared(context: BrokerContext, groups: readonly HeadGroup[]): Promise<BatchId> {
  const names = packSharers(groups.map(({ name }) => name));
  let position = names.length;
  for (const group of groups) {
    group.layOut(position);
    position += group.bytes;
  }
  const chunks = [names, ...groups.flatMap((group) => group.chunks())];
  const counts = noRequests();
  const { objects } = context.usage.into(counts);
  try {
    return await putObject(context, objects, sharedObjectKey, chunks);
  } finally {
    const bytes = position - names.length;
    for (const group of groups) context.usage.add(group.topicName, 'append', counts, group.bytes / bytes);
  }
}

async function putObject(
  context: BrokerContext,
  objects: ObjectStore,
  keyOf: (batchId: BatchId) => string,
  chunks: readonly Uint8Array[],
): Promise<BatchId> {
  for (;;) {
    const batchId = newBatchId(context);
    const put = await retrying(context, 'not_applied', () => objects.put(keyOf(batchId), chunks));
    // The existing object belongs to another writer, or to an earlier attempt of ours whose reply was lost. Only reading it
    // would tell, but a role that only appends cannot read. The case is rare, so the object is left to be swept.
    if (put === 'created') return batchId;
  }
}

function newBatchId(context: BrokerContext): BatchId {
  return makeBatchId(context.random.bytes(batchIdRandomBytes()), context.clock.nowMs());
}
