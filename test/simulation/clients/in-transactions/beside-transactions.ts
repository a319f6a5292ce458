import type { Broker } from '../../../../shared/broker/broker.ts';
import { encodeBatch } from '../../../../shared/log/batch/record-batch.ts';
import type { EventLogError } from '../../../../shared/log/errors.ts';
import type { ReadRecord } from '../../../history/history.ts';
import { readRecords } from '../../../history/history-records.ts';
import type { Client } from '../client.ts';
import type { Workload } from '../workload.ts';
import { recordsOf } from './records.ts';
import { TRANSACTION_KEYS } from './transact.ts';
import { GROUP } from './transaction-book.ts';
import { bookOf, MAKE_PASSING, PASSING, PLACES, STAYING, type TopicPlace } from './transaction-topics.ts';

/** Reads of both isolations, of which each is held against what the entries have at that moment. */
async function read(client: Client, operations: number): Promise<void> {
  const { chance, world } = client;
  const next = new Map<string, number>();
  for (let i = 0; i < operations * 10 && !world.fates.healed; i++) {
    const { topic, partition } = chance.pick(PLACES);
    const isolation = chance.chance(0.8) ? 'read_committed' : 'read_uncommitted';
    const key = `${topic}/${partition}/${isolation}`;
    const from = chance.chance(0.3) ? 0 : (next.get(key) ?? 0);
    next.set(key, (await readOnceJudged(client, topic, partition, from, isolation)) ?? from);
    if (chance.chance(0.2)) await fetchStable(client);
    await client.sleep(chance.next() * 2_000);
    await client.pause();
  }
}

/** Answers where to read on; `undefined` if there was no answer. */
export async function readOnceJudged(
  client: Client,
  topic: string,
  partition: number,
  from: number,
  isolation: 'read_committed' | 'read_uncommitted',
): Promise<number | undefined> {
  const { world } = client;
  const book = bookOf(world);
  const slot = book.slotOf(topic, partition);
  const watch = world.watch.transactions;
  if (slot === undefined || watch === undefined) return undefined;
  const before = book.lastStableOffset(slot);
  const maxBytes = client.chance.pick([1, 300, 100_000]);
  const reply = await client.send((broker) => readFrom(broker, topic, partition, from, isolation, maxBytes));
  if (reply.type === 'error' && isRemoved(reply.error, from, book.startOf(slot))) {
    client.mark('read of what was removed');
    return book.startOf(slot);
  }
  if (reply.type === 'error') expectFault(client, reply.error);
  if (reply.type !== 'answer') return undefined;
  const { nextOffset, lastStableOffset, records } = reply.value;
  const after = book.lastStableOffset(slot);
  if (lastStableOffset < before || lastStableOffset > after)
    client.surprise(`last stable offset ${lastStableOffset} of ${slot}, which was ${before} to ${after}`);
  if (isolation === 'read_committed' && nextOffset > Math.max(from, lastStableOffset))
    client.surprise(`a read of ${slot} goes to ${nextOffset}, beyond the last stable offset ${lastStableOffset}`);
  if (lastStableOffset > before) client.mark('last stable offset rose during a read');
  book.read(slot, isolation, from, nextOffset, records);
  return nextOffset;
}

async function readFrom(
  broker: Broker,
  topic: string,
  partition: number,
  offset: number,
  isolation: 'read_committed' | 'read_uncommitted',
  maxBytes: number,
) {
  const result = await broker.read({ topic, partition, from: { offset }, maxBytes, isolation });
  const records: ReadRecord[] = [];
  for await (const batch of result.batches) records.push(...readRecords(batch, offset));
  const { nextOffset, lastStableOffset } = result;
  return { nextOffset, lastStableOffset, records };
}

export function isRemoved({ code }: EventLogError, from: number, startOffset: number): boolean {
  return code === 'offset_out_of_range' && from < startOffset;
}

async function fetchStable(client: Client): Promise<void> {
  const reply = await client.send((broker) =>
    broker.fetchOffsets({ group: GROUP, partitions: PLACES.slice(1), requireStable: true }),
  );
  if (reply.type === 'error') expectFault(client, reply.error);
  if (reply.type !== 'answer') return;
  const { transactions } = client.world.watch;
  for (const { error, metadata, offset } of reply.value.items) {
    if (error !== undefined) client.mark(`offsets: ${error.code}`);
    else if (offset !== null && transactions?.wasCommitted(metadata) !== true)
      client.surprise(`the offset ${metadata} is told, and was never committed`);
  }
}

export function expectFault(client: Client, { code, message }: EventLogError): void {
  if (code !== 'throttled' && code !== 'storage_unavailable') client.surprise(`${code}: ${message}`);
}

/** Plain batches between those of transactions. */
async function writePlain(client: Client, operations: number): Promise<void> {
  const { chance, world } = client;
  for (let i = 0; i < operations * 4 && !world.fates.healed; i++) {
    await writePlainTo(client, chance.pick(PLACES));
    await client.sleep(chance.next() * 2_000);
    await client.pause();
  }
}

export async function writePlainTo(client: Client, { topic, partition }: TopicPlace): Promise<void> {
  const book = bookOf(client.world);
  const slot = book.slotOf(topic, partition);
  const value = client.value();
  const batch = encodeBatch(recordsOf(client, [value]));
  const reply = await client.send((broker) => broker.append({ batches: [{ topic, partition, batch }], atomic: false }));
  if (reply.type === 'error') expectFault(client, reply.error);
  const [outcome] = reply.type === 'answer' ? reply.value : [];
  if (outcome?.ok && slot !== undefined) book.plain.set(value, { slot, offset: outcome.baseOffset });
}

/** Merges, sweeps, moves of tails by what is appended; and a topic that is deleted and made again. */
async function runJobs(client: Client, operations: number): Promise<void> {
  const { chance, world } = client;
  for (let i = 0; i < operations * 2 && !world.fates.healed; i++) {
    const staying = chance.pick(STAYING);
    const headNumber = staying.partitions > 1 ? chance.below(2) : 0;
    const topicId = bookOf(world).topics.get(staying.name)?.topicId ?? '';
    const run = chance.pick<(broker: Broker) => Promise<unknown>>([
      (broker) => broker.mergeHead(topicId, headNumber, { force: true }),
      (broker) => broker.sweepTransactions(),
      (broker) => broker.runSweeps(),
      (broker) => broker.deleteTopic(PASSING),
      (broker) => broker.putTopic(MAKE_PASSING),
      (broker) => broker.putTopic(MAKE_PASSING),
    ]);
    await client.send(run);
    await client.sleep(chance.next() * 6_000);
    await client.pause();
  }
}

export const READ_ISOLATED: Workload = { name: 'read-isolated', weight: 2, keys: TRANSACTION_KEYS, run: read };
export const WRITE_PLAIN: Workload = { name: 'write-plain', weight: 1, keys: TRANSACTION_KEYS, run: writePlain };
export const JOBS_BESIDE: Workload = { name: 'jobs-beside', weight: 1, keys: TRANSACTION_KEYS, run: runJobs };
