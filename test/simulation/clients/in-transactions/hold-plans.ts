import type { FetchPlanPart, PartitionFetchPlan } from '../../../../shared/broker/read/plan-fetch.ts';
import { readBatchHeader } from '../../../../shared/log/batch/record-batch.ts';
import type { ReadRecord } from '../../../history/history.ts';
import { readRecords } from '../../../history/history-records.ts';
import type { World } from '../../world/world.ts';
import type { Client } from '../client.ts';
import type { Workload } from '../workload.ts';
import { expectFault, isRemoved } from './beside-transactions.ts';
import { TRANSACTION_KEYS } from './transact.ts';
import { bookOf, PLACES } from './transaction-topics.ts';

/** Signed URLs are good for longer, from when they were signed. */
const HELD_MS_MAX = 12 * 60_000;

/** Takes fetch plans, and gets what they name at once, or after some minutes in which jobs have replaced and deleted things. */
async function holdPlans(client: Client, operations: number): Promise<void> {
  const { chance, world } = client;
  const book = bookOf(world);
  for (let i = 0; i < operations * 4 && !world.fates.healed; i++) {
    await client.pause();
    const { topic, partition } = chance.pick(PLACES);
    const slot = book.slotOf(topic, partition);
    if (slot === undefined) continue;
    const start = book.startOf(slot);
    const from = start + (chance.chance(0.5) ? 0 : chance.below(book.lastStableOffset(slot) - start + 1));
    const isolation = chance.chance(0.8) ? 'read_committed' : 'read_uncommitted';
    const maxBytes = chance.pick([1, 300, 100_000]);
    const reply = await client.send((broker) =>
      broker.planFetch({ topic, isolation, partitions: [{ partition, offset: from, maxBytes }] }),
    );
    if (reply.type === 'error' && !isRemoved(reply.error, from, book.startOf(slot))) expectFault(client, reply.error);
    const [plan] = reply.type === 'answer' ? reply.value.partitions : [];
    if (plan === undefined) continue;
    const judge = async (): Promise<void> =>
      book.read(slot, isolation, from, plan.nextOffset, await follow(client, plan, from, isolation));
    await judge();
    if (chance.chance(0.5)) continue;
    client.mark('fetch plan held');
    await client.sleep(chance.next() * HELD_MS_MAX);
    await judge();
  }
}

/** What a client gets by the plan. */
async function follow(
  client: Client,
  { abortedTransactions, nextOffset, parts }: PartitionFetchPlan,
  from: number,
  isolation: 'read_committed' | 'read_uncommitted',
): Promise<ReadRecord[]> {
  const records: ReadRecord[] = [];
  for (const part of parts) {
    const bytes = await contentOf(client.world, part);
    if (bytes?.length !== part.bytes) {
      client.surprise(`a fetch plan names ${part.bytes} bytes, of which ${bytes?.length ?? 'none'} are there`);
      continue;
    }
    let next = part.startOffset;
    for (let at = 0; at < bytes.length; ) {
      const header = readBatchHeader(bytes, at);
      const baseOffset = part.storage === 'segment' ? header.baseOffset : next;
      next = baseOffset + header.lastOffsetDelta + 1;
      const isAborted =
        header.transactional &&
        abortedTransactions.some(
          ({ producerId, firstOffset, lastOffset }) =>
            producerId === header.producerId && firstOffset <= baseOffset && baseOffset < lastOffset,
        );
      if (isAborted) client.mark('aborted batch left out by a fetch plan');
      const isShown = !header.control && (isolation === 'read_uncommitted' || !isAborted);
      const batch = { bytes: bytes.subarray(at, at + header.bytes), header, baseOffset, endOffset: next };
      if (isShown) records.push(...readRecords(batch, from).filter(({ offset }) => offset < nextOffset));
      at += header.bytes;
    }
  }
  return records;
}

async function contentOf({ storage }: World, part: FetchPlanPart): Promise<Uint8Array | undefined> {
  if (part.storage === 'inline') return part.data;
  const [, key, start, end] = /^memory:(.*)\?(\d+)-(\d+)$/.exec(part.url) as unknown as [
    string,
    string,
    string,
    string,
  ];
  return storage.objects.get(key, { start: Number(start), end: Number(end) });
}

export const HOLD_ISOLATED_PLANS: Workload = {
  name: 'hold-isolated-plans',
  weight: 1,
  keys: TRANSACTION_KEYS,
  run: holdPlans,
};
