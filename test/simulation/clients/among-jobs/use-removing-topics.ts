import type { Broker } from '../../../../shared/broker/broker.ts';
import type { ErrorCode } from '../../../../shared/log/errors.ts';
import type { ReadRecord } from '../../../history/history.ts';
import { toRecord } from '../../../history/history-records.ts';
import { EPOCH_MS } from '../../world/simulated-process.ts';
import { trueLog } from '../../world/watch/true-log.ts';
import type { World } from '../../world/world.ts';
import type { Client } from '../client.ts';
import { readOnce, readToEnd } from '../read-records.ts';
import type { Workload } from '../workload.ts';

/** Topics of which records are removed: by retention and by clients, or by compaction. Reads are held against the true log. */

export const BRIEF_TOPIC = 'brief';
export const LATEST_TOPIC = 'latest';

const HOUR_MS = 3_600_000;
const PARTITIONS = [0, 0, 0, 1];
/** By retention all is gone at the end of a run, which is some days after the last append. */
const RETENTIONS: readonly Readonly<Record<string, number>>[] = [
  { 'retention.ms': HOUR_MS / 2 },
  { 'retention.ms': 3 * HOUR_MS },
  { 'retention.ms': 12 * HOUR_MS },
  { 'retention.ms': 3 * HOUR_MS, 'segment.ms': HOUR_MS },
  { 'retention.ms': -1, 'retention.bytes': 1_000 },
  { 'retention.ms': 12 * HOUR_MS, 'retention.bytes': 500, 'segment.ms': 1 },
  { 'retention.ms': -1 },
];

/** Appends records of all ages, deletes some, and reads what is left, over hours. */
async function useBriefTopic(client: Client, operations: number): Promise<void> {
  const { chance } = client;
  const retention = chance.pick(RETENTIONS);
  if (!(await makeTopic(client, BRIEF_TOPIC, retention))) return;
  for (let i = 0; i < operations * 4; i++) {
    const partition = chance.pick(PARTITIONS);
    const what = chance.below(10);
    if (what < 6) for (let more = chance.below(6); more >= 0; more--) await appendAged(client, partition);
    else if (what < 7) await deleteSome(client, partition);
    else await readSome(client, BRIEF_TOPIC, partition);
    if (chance.chance(0.1))
      await attempt(client, (broker) => broker.putTopic({ name: BRIEF_TOPIC, config: chance.pick(RETENTIONS) }));
    await client.pause();
  }
}

async function makeTopic(
  client: Client,
  name: string,
  config: Readonly<Record<string, string | number>>,
): Promise<boolean> {
  for (let tries = 0; tries < 10; tries++) {
    if ((await attempt(client, (broker) => broker.putTopic({ name, partitions: 2, config }))) !== undefined)
      return true;
    await client.rest();
  }
  return false;
}

async function appendAged(client: Client, partition: number): Promise<void> {
  const { chance } = client;
  // Mostly in the past; a broker whose clock is slow accepts less of the future.
  const timestampMs = EPOCH_MS + Math.floor(client.nowMs + (0.8 - chance.next() ** 2 * 24) * HOUR_MS);
  const isOfNow = chance.chance(0.5);
  const records = Array.from({ length: 1 + chance.below(3) }, () =>
    toRecord({ value: client.value(), partition, ...(isOfNow ? {} : { timestampMs }) }),
  );
  await attempt(client, (broker) => broker.appendRecords({ topic: BRIEF_TOPIC, records }));
}

async function deleteSome(client: Client, partition: number): Promise<void> {
  const topicId = client.world.watch.topicId(BRIEF_TOPIC) as string;
  const ends = await attempt(client, (broker) => broker.describePartitions(BRIEF_TOPIC));
  const before = client.chance.below((ends?.[partition]?.highWatermark ?? 0) + 1);
  client.world.watch.retention.deletesBelow(topicId, partition, before);
  const deleted = await attempt(client, (broker) => broker.deleteRecords({ topic: BRIEF_TOPIC, partition, before }));
  if (deleted === undefined) return;
  if (deleted.logStartOffset < before)
    client.surprise(`records below ${before} were deleted, up to ${deleted.logStartOffset}`);
  const view = await attempt(client, (broker) => broker.describePartitions(BRIEF_TOPIC));
  if ((view?.[partition]?.logStartOffset ?? before) < before) client.surprise(`records below ${before} are back`);
}

/** Appends newer and newer values under a few keys, and reads. */
async function useLatestTopic(client: Client, operations: number): Promise<void> {
  const { chance } = client;
  const config = {
    'cleanup.policy': 'compact',
    'retention.ms': -1,
    'min.cleanable.dirty.ratio': chance.pick([0, 0.5]),
    'min.compaction.lag.ms': chance.pick([0, 0, HOUR_MS]),
    'segment.ms': chance.pick([1, HOUR_MS]),
  };
  if (!(await makeTopic(client, LATEST_TOPIC, config))) return;
  for (let i = 0; i < operations * 4; i++) {
    const partition = chance.pick(PARTITIONS);
    if (chance.chance(0.7)) for (let more = chance.below(8); more >= 0; more--) await appendUnderKey(client, partition);
    else await readSome(client, LATEST_TOPIC, partition);
    await client.pause();
  }
}

async function appendUnderKey(client: Client, partition: number): Promise<void> {
  const records = Array.from({ length: 1 + client.chance.below(3) }, () =>
    toRecord({ value: client.value(), partition, key: `k${client.chance.below(3)}` }),
  );
  await attempt(client, (broker) => broker.appendRecords({ topic: LATEST_TOPIC, records }));
}

/** A read from anywhere: what it gives is what was written, and what it leaves out may be left out. */
async function readSome(client: Client, topic: string, partition: number): Promise<void> {
  const ends = await attempt(client, (broker) => broker.describePartitions(topic));
  const end = ends?.[partition];
  if (end === undefined) return;
  const from = end.logStartOffset + client.chance.below(end.highWatermark - end.logStartOffset + 1);
  const answer = await attempt(client, (broker) => readOnce(broker, topic, partition, from), ['offset_out_of_range']);
  if (answer === undefined) return;
  const wrong = compare(
    trueLogOf(client.world, topic, partition),
    answer.records,
    from,
    answer.nextOffset,
    topic === LATEST_TOPIC,
  );
  if (wrong !== undefined) client.surprise(`a read of ${topic}/${partition} from ${from}: ${wrong}`);
}

/** What is wrong with the records that were read of the offsets `[from, to)`. */
function compare(
  truth: readonly ReadRecord[],
  records: readonly ReadRecord[],
  from: number,
  to: number,
  isCompacted: boolean,
): string | undefined {
  const read = new Map(records.map((record) => [record.offset, record]));
  if (records.some(({ offset }, i) => offset < from || offset <= (records[i - 1]?.offset ?? -1)))
    return 'it is out of order';
  const newest = new Map(truth.map(({ key, offset }) => [key, offset]));
  for (const record of truth.slice(from, to)) {
    const got = read.get(record.offset);
    if (got === undefined && (!isCompacted || newest.get(record.key) === record.offset))
      return `it lacks the offset ${record.offset}`;
    if (
      got !== undefined &&
      (got.value !== record.value || got.key !== record.key || got.timestampMs !== record.timestampMs)
    )
      return `it has other content at the offset ${record.offset}`;
    read.delete(record.offset);
  }
  const [more] = read.keys();
  return more === undefined ? undefined : `it has the offset ${more}, which was not written`;
}

/** All records that a partition of a topic has had. */
function trueLogOf(world: World, topic: string, partition: number): ReadRecord[] {
  const { watch } = world;
  return watch.jobs === undefined ? [] : trueLog(watch.jobs.facts, watch.topicId(topic) as string, 0, partition);
}

/** A request; `undefined` where it failed, by what faults or `fine` account for. */
async function attempt<T>(
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

/** What is wrong with the topics in the end, some days after the last append. */
export async function judgeRemovals(world: World, broker: Broker): Promise<string[]> {
  const wrong: string[] = [];
  for (const topic of [BRIEF_TOPIC, LATEST_TOPIC]) {
    if (world.watch.topicId(topic) === undefined) continue;
    const { config } = await broker.describeTopic(topic);
    for (const { partition, logStartOffset, highWatermark } of await broker.describePartitions(topic)) {
      const truth = trueLogOf(world, topic, partition);
      if (truth.length !== highWatermark)
        wrong.push(`${topic}/${partition} ends at ${highWatermark}, not at ${truth.length}.`);
      const records = await readToEnd(broker, topic, partition, logStartOffset);
      const unlike = compare(truth, records, logStartOffset, highWatermark, topic === LATEST_TOPIC);
      if (unlike !== undefined) wrong.push(`${topic}/${partition}, read from ${logStartOffset}: ${unlike}.`);
      if (topic === BRIEF_TOPIC && Number(config['retention.ms'].value) >= 0 && logStartOffset < highWatermark)
        wrong.push(
          `${topic}/${partition} still has the offsets ${logStartOffset} to ${highWatermark}, which have expired.`,
        );
    }
  }
  return wrong;
}

export const USE_BRIEF_TOPIC: Workload = {
  name: 'use-brief-topic',
  weight: 4,
  keys: ['head#', 'segments#', 'topics'],
  run: useBriefTopic,
};
export const USE_LATEST_TOPIC: Workload = {
  name: 'use-latest-topic',
  weight: 2,
  keys: ['head#', 'segments#', 'segments/'],
  run: useLatestTopic,
};
