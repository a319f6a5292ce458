import type { Broker } from '../../shared/broker/broker.ts';
import type { PartitionReport, Problem } from '../../shared/broker/verify/report.ts';
import type { VerifyRequest } from '../../shared/broker/verify/verify-topic.ts';
import { invariant } from '../../shared/log/errors.ts';
import { HEAD, headKey } from '../../shared/storage/keys.ts';
import { type MemoryStores, memoryBroker, memoryStores, record, SeededRandom } from './memory-broker.ts';
import { MergedLog } from './merged-log.ts';

const LARGE = 20_000;
export const TOPIC = 't';

export interface ShapedLog {
  readonly stores: MemoryStores;
  readonly broker: Broker;
  readonly topicId: string;
}

/**
 * A topic of 18 partitions and two heads that has its records in every shape: in a page, in joined and small segments, in
 * tail nodes and in the tail; and there inline, in hot objects and in objects that both heads share. The log start of
 * partition 1 is in the middle of a segment.
 */
export async function shapedLog(stores: MemoryStores = memoryStores()): Promise<ShapedLog> {
  const broker = memoryBroker(stores, {}, new SeededRandom(9));
  const { topic } = await broker.putTopic({ name: TOPIC, partitions: 18 });
  const log = { stores, broker, topicId: topic.topicId };
  const merged = new MergedLog(stores, topic.topicId);
  // Eight segments that are joined, and then a page of the joined one and the next.
  for (let i = 0; i < 9; i++) {
    await appendShapes(broker, 8);
    await mergeAll(log);
  }
  await merged.spill(0, 2);
  for (let i = 0; i < 3; i++) {
    await appendShapes(broker, 8);
    await mergeAll(log);
  }
  const [first, second] = (await merged.list()).slots[1]?.segments ?? [];
  invariant(first !== undefined && second !== undefined, 'there are segments below the log start');
  await raiseStart(log, 1, second.startOffset + 1);
  await merged.drop(1, second.startOffset + 1);
  await merged.clean();
  await appendShapes(broker, 8 + 8 + 5);
  return log;
}

/** Commits to the first head, in turn one that is inline, one that is hot, and one that both heads share. */
export async function appendShapes(broker: Broker, commits: number): Promise<void> {
  for (let i = 0; i < commits; i++) {
    const size = i % 3 === 0 ? 10 : LARGE;
    const value = `${i}`.padEnd(size, '.');
    const records = [record(value, { partition: 0 }), record(value, { partition: 1 }), record('x', { partition: 1 })];
    if (i % 3 === 2) records.push(record(value, { partition: 16 }));
    for (const outcome of await broker.appendRecords({ topic: TOPIC, records })) if (!outcome.ok) throw outcome.error;
  }
  await broker.idle();
}

export async function mergeAll({ broker, topicId }: ShapedLog): Promise<void> {
  for (const headNumber of [0, 1]) await broker.mergeHead(topicId, headNumber, { force: true });
}

export async function raiseStart({ stores, topicId }: ShapedLog, slot: number, offset: number): Promise<void> {
  await stores.items.update(headKey(topicId, 0), [{ do: 'set', name: HEAD.start(slot), value: offset }]);
}

const CALLS_MAX = 5_000;

/** A whole verification, by as many calls as it takes. */
export async function verifyAll(
  broker: Broker,
  request: VerifyRequest = {},
  topic = TOPIC,
): Promise<{ partitions: PartitionReport[]; problems: Problem[]; calls: number }> {
  const partitions: PartitionReport[] = [];
  const problems: Problem[] = [];
  for (let calls = 1, pageToken = request.pageToken; ; calls++) {
    const page = await broker.verifyTopic(topic, { ...request, pageToken });
    partitions.push(...page.partitions);
    problems.push(...page.problems);
    pageToken = page.nextPageToken;
    if (pageToken === undefined) return { partitions, problems, calls };
    invariant(calls < CALLS_MAX, 'each call does something');
  }
}
