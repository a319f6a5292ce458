import type { Broker } from '../../../../shared/broker/broker.ts';
import type { ErrorCode } from '../../../../shared/log/errors.ts';
import { PARTITIONS_PER_HEAD_DEFAULT } from '../../../../shared/log/limits.ts';
import type { ReadRecord } from '../../../history/history.ts';
import { isOfKey } from '../../world/watch/compaction-watch.ts';
import type { JobWatch } from '../../world/watch/job-watch.ts';
import type { HeadFacts } from '../../world/watch/stored-facts.ts';
import { slotNameOf } from '../../world/watch/transaction-watch.ts';
import type { World } from '../../world/world.ts';
import type { Client } from '../client.ts';
import { readOnce } from '../read-records.ts';

/** Topics of which records are removed: by retention and by clients, or by compaction. Reads are held against the true log. */

export const BRIEF_TOPIC = 'brief';
export const LATEST_TOPIC = 'latest';

export const HOUR_MS = 3_600_000;
/** Of a topic of two partitions; the fewer, the more its segments have to do with each other. */
export const PARTITIONS_USED = [0, 0, 0, 1];

export type TopicSettings = Readonly<Record<string, string | number>>;

export async function makeTopic(client: Client, name: string, config: TopicSettings): Promise<boolean> {
  for (let tries = 0; tries < 10; tries++) {
    if ((await attempt(client, (broker) => broker.putTopic({ name, partitions: 2, config }))) !== undefined)
      return true;
    await client.rest();
  }
  return false;
}

/** A read from anywhere: what it gives is what was written, and what it leaves out has been removed. */
export async function readSome(client: Client, topic: string, partition: number): Promise<void> {
  const ends = await attempt(client, (broker) => broker.describePartitions(topic));
  const end = ends?.[partition];
  if (end === undefined) return;
  const from = end.logStartOffset + client.chance.below(end.highWatermark - end.logStartOffset + 1);
  const answer = await attempt(client, (broker) => readOnce(broker, topic, partition, from), ['offset_out_of_range']);
  if (answer === undefined) return;
  const { records, nextOffset } = answer;
  if (records.length < nextOffset - from) client.mark('read over compacted offsets');
  const wrong = compare(client.world, topic, partition, { records, from, to: nextOffset });
  if (wrong !== undefined) client.surprise(`a read of ${topic}/${partition} from ${from}: ${wrong}`);
}

/** What is wrong with the records that were read of the offsets `[from, to)`. */
export function compare(
  world: World,
  topic: string,
  partition: number,
  { records, from, to }: { readonly records: readonly ReadRecord[]; readonly from: number; readonly to: number },
): string | undefined {
  const read = new Map(records.map((record) => [record.offset, record]));
  if (records.some(({ offset }, i) => offset < from || offset <= (records[i - 1]?.offset ?? -1)))
    return 'it is out of order';
  for (const record of trueLogOf(world, topic, partition).slice(from, to)) {
    if (!isShown(world, topic, partition, record.offset)) continue;
    const got = read.get(record.offset);
    if (got === undefined && !isCompactedAway(world, topic, partition, record.offset))
      return `it lacks the offset ${record.offset}`;
    if (got !== undefined && JSON.stringify(got) !== JSON.stringify(record))
      return `it has other content at the offset ${record.offset}`;
    read.delete(record.offset);
  }
  const [more] = read.keys();
  return more === undefined ? undefined : `it has the offset ${more}, which was not written`;
}

/** Whether a reader of committed records gets it. */
function isShown({ watch }: World, topic: string, partition: number, offset: number): boolean {
  const { jobs, transactions } = watch;
  if (jobs === undefined || transactions === undefined) return true;
  const { head, slot } = placeOf(jobs, watch.topicId(topic) as string, partition);
  return isOfKey(transactions.fateOf(slotNameOf(head, slot), offset));
}

/** All records that a partition of a topic has had. */
export function trueLogOf({ watch }: World, topic: string, partition: number): readonly ReadRecord[] {
  const { jobs } = watch;
  if (jobs === undefined) return [];
  const { head, slot } = placeOf(jobs, watch.topicId(topic) as string, partition);
  return jobs.logs.of(head, slot);
}

/** The head and the slot of a partition. */
export function placeOf({ facts }: JobWatch, topicId: string, partition: number): { head: HeadFacts; slot: number } {
  const slot = partition % PARTITIONS_PER_HEAD_DEFAULT;
  return { head: facts.head(topicId, (partition - slot) / PARTITIONS_PER_HEAD_DEFAULT), slot };
}

export function isCompactedAway({ watch }: World, topic: string, partition: number, offset: number): boolean {
  const { jobs } = watch;
  if (jobs === undefined) return false;
  const { head, slot } = placeOf(jobs, watch.topicId(topic) as string, partition);
  return jobs.compaction.isGone(head, slot, offset);
}

/** A request; `undefined` where it failed, by what faults or `fine` account for. */
export async function attempt<T>(
  client: Client,
  run: (broker: Broker) => Promise<T>,
  fine: readonly ErrorCode[] = [],
): Promise<T | undefined> {
  const reply = await client.send(run);
  const allowed: readonly ErrorCode[] = ['throttled', 'storage_unavailable', 'topic_conflict', ...fine];
  if (reply.type === 'error' && !allowed.includes(reply.error.code))
    client.surprise(`${reply.error.code}: ${reply.error.message}`);
  return reply.type === 'answer' ? reply.value : undefined;
}
