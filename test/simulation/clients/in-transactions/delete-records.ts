import type { Client } from '../client.ts';
import type { Workload } from '../workload.ts';
import { expectFault, isRemoved } from './beside-transactions.ts';
import { bookOf, PLACES } from './transaction-topics.ts';

/** Deletes the oldest records of partitions, also those of transactions that are open, as in Kafka. */
async function deleteRecords(client: Client, operations: number): Promise<void> {
  const { chance, world } = client;
  const book = bookOf(world);
  for (let i = 0; i < operations && !world.fates.healed; i++) {
    await client.pause();
    const { topic, partition } = chance.pick(PLACES);
    const slot = book.slotOf(topic, partition);
    const topicId = book.topics.get(topic)?.topicId;
    const watch = world.watch.transactions;
    if (slot === undefined || topicId === undefined || watch === undefined) continue;
    const before = chance.chance(0.5) ? watch.endOf(slot) : chance.below(watch.endOf(slot) + 1);
    if (before > watch.lastStableOffset(slot)) client.mark('records of an open transaction deleted');
    world.watch.retention.deletesBelow(topicId, partition, before);
    const reply = await client.send((broker) => broker.deleteRecords({ topic, partition, before }));
    if (reply.type === 'error' && !isRemoved(reply.error, before, book.startOf(slot))) expectFault(client, reply.error);
    if (reply.type === 'answer' && book.startOf(slot) < before)
      client.surprise(`records of ${slot} below ${before} were deleted, and it starts at ${book.startOf(slot)}`);
  }
}

export const DELETE_RECORDS: Workload = { name: 'delete-records', weight: 1, keys: ['head#'], run: deleteRecords };
