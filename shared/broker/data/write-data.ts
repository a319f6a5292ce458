import { equalBytes } from '../../log/bytes.ts';
import { batchIdRandomBytes, makeBatchId } from '../../log/head/batch-id.ts';
import type { WrittenData } from '../../log/head/plan-commit.ts';
import { headKey, hotObjectKey, INLINE_BATCH, inlineBatchKey, REFERENCE, referenceKey } from '../../storage/keys.ts';
import type { ObjectStore } from '../../storage/ports.ts';
import type { BrokerContext } from '../context.ts';
import type { HeadGroup } from '../heads/head-group.ts';
import { retrying } from '../retry.ts';
import { noRequests } from '../usage/request-counts.ts';

const UTF8 = new TextEncoder();

/**
 * Writes the data of a group commit, and lays out each head's batches in it. Costs 1 PutItem for each head with little data
 * and 1 PutObject for all other heads; if these are several, also 1 PutItem that names them. The data is durable once its
 * promise resolves.
 */
export function writeData(context: BrokerContext, groups: readonly HeadGroup[]): Map<HeadGroup, Promise<WrittenData>> {
  const written = new Map<HeadGroup, Promise<WrittenData>>();
  const large = groups.filter((group) => group.bytes > context.settings.inlineBytesMax);
  const shared = large.length > 0 ? putShared(context, large) : undefined;
  for (const group of groups) {
    written.set(group, shared !== undefined && large.includes(group) ? shared : putInline(context, group));
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

/** Writes one object for several heads. Its cost is shared among their topics by bytes. */
async function putShared(context: BrokerContext, groups: readonly HeadGroup[]): Promise<WrittenData> {
  let position = 0;
  for (const group of groups) {
    group.layOut(position);
    position += group.bytes;
  }
  const chunks = groups.flatMap((group) => group.chunks());
  const counts = noRequests();
  const { objects, items } = context.usage.into(counts);
  try {
    const batchId = await putObject(context, objects, chunks);
    if (groups.length > 1) {
      const heads = groups.map(({ name }) => UTF8.encode(headKey(name.topicId, name.headNumber).pk));
      await retrying(context, 'not_applied', () => items.put(referenceKey(batchId), { [REFERENCE.heads]: heads }));
    }
    return { batchId, location: 'hot' };
  } finally {
    for (const group of groups) context.usage.add(group.topicName, 'append', counts, group.bytes / position);
  }
}

async function putObject(
  context: BrokerContext,
  objects: ObjectStore,
  chunks: readonly Uint8Array[],
): Promise<Uint8Array> {
  for (;;) {
    const batchId = newBatchId(context);
    const put = await retrying(context, 'not_applied', () => objects.put(hotObjectKey(batchId), chunks));
    // The existing object belongs to another writer, or to an earlier attempt of ours whose reply was lost. Only reading it
    // would tell, but a role that only appends cannot read. The case is rare, so the object is left to be swept.
    if (put === 'created') return batchId;
  }
}

function newBatchId(context: BrokerContext): Uint8Array {
  return makeBatchId(context.random.bytes(batchIdRandomBytes()), context.clock.nowMs());
}
