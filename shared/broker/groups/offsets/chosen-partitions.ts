import { EventLogError, invalidField } from '../../../log/errors.ts';
import { OFFSETS_PER_REQUEST_MAX } from '../../../log/limits.ts';
import { checkPartition, checkTopicName, type Topic } from '../../../log/topic/topic.ts';
import type { BrokerContext } from '../../context.ts';
import { eachOf } from '../../topics/each-head.ts';
import type { PageName } from './pages.ts';
import { pageOf } from './pages.ts';

export interface TopicPartition {
  readonly topic: string;
  readonly partition: number;
}

/** @throws EventLogError `invalid_request` for too many partitions, a partition that is named twice, or a wrong name */
export function checkPartitions(partitions: readonly TopicPartition[], field: string): void {
  if (partitions.length > OFFSETS_PER_REQUEST_MAX)
    throw invalidField(
      field,
      `A request can name at most ${OFFSETS_PER_REQUEST_MAX} partitions; this names ${partitions.length}. Send several requests.`,
      { max: OFFSETS_PER_REQUEST_MAX },
    );
  const named = new Set<string>();
  for (const { topic, partition } of partitions) {
    checkTopicName(topic, `${field}.topic`);
    if (!Number.isSafeInteger(partition) || partition < 0)
      throw invalidField(`${field}.partition`, `A partition is a whole number from 0 on, not ${partition}.`);
    const name = `${topic}#${partition}`;
    if (named.has(name))
      throw invalidField(
        field,
        `Partition ${partition} of topic '${topic}' is named twice. Name each partition once.`,
        {
          topic,
          partition,
        },
      );
    named.add(name);
  }
}

/** The topics of partitions by name, or why there is none. 1 GetItem for each topic that is not in memory. */
export async function topicsOf(
  context: BrokerContext,
  partitions: readonly TopicPartition[],
): Promise<ReadonlyMap<string, Topic | EventLogError>> {
  const names = [...new Set(partitions.map(({ topic }) => topic))];
  const topics = await eachOf(names, async (name) => {
    try {
      return await context.topics.get(name);
    } catch (error) {
      if (error instanceof EventLogError) return error;
      throw error;
    }
  });
  return new Map(names.map((name, i) => [name, topics[i] as Topic | EventLogError]));
}

/** The topic of a partition, or why there is no such partition. */
export async function topicOf(
  context: BrokerContext,
  topics: ReadonlyMap<string, Topic | EventLogError>,
  { topic: name, partition }: TopicPartition,
): Promise<Topic | EventLogError> {
  const topic = topics.get(name) as Topic | EventLogError;
  if (topic instanceof EventLogError) return topic;
  try {
    // It may have got more partitions since it was remembered.
    checkPartition(partition < topic.partitions ? topic : await context.topics.refresh(name), partition);
    return topic;
  } catch (error) {
    if (error instanceof EventLogError) return error;
    throw error;
  }
}

export interface PageOf<Entry> {
  readonly name: PageName;
  readonly entries: Entry[];
}

/** Groups entries by the pages that hold their partitions. */
export function byPage<Entry extends { readonly topicId: string; readonly partition: number }>(
  group: string,
  entries: readonly Entry[],
): PageOf<Entry>[] {
  const pages = new Map<string, PageOf<Entry>>();
  for (const entry of entries) {
    const page = pageOf(entry.partition);
    const key = `${entry.topicId}#${page}`;
    const known = pages.get(key);
    if (known === undefined) pages.set(key, { name: { group, topicId: entry.topicId, page }, entries: [entry] });
    else known.entries.push(entry);
  }
  return [...pages.values()];
}
