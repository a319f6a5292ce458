import { EventLogError, invalidField } from '../../../log/errors.ts';
import { OFFSETS_PER_REQUEST_MAX } from '../../../log/limits.ts';
import { checkPartition, checkTopicName, type Topic } from '../../../log/topic/topic.ts';
import type { BrokerContext } from '../../context.ts';
import { unknownTopic } from '../../memory/topic-cache.ts';
import { eachOf } from '../../topics/each-head.ts';
import { type PageName, pageOf } from './pages.ts';

export interface TopicPartition {
  readonly topic: string;
  /** The topic must have this id. */
  readonly topicId?: string | undefined;
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

/**
 * Adds the topic id to each entry, or says why there is no such partition. 1 GetItem for each topic that is not in memory, or
 * has more partitions than memory knows of.
 */
export async function withTopicIds<Entry extends TopicPartition>(
  context: BrokerContext,
  entries: readonly Entry[],
): Promise<((Entry & { readonly topicId: string }) | EventLogError)[]> {
  const last = new Map<string, number>();
  for (const { topic, partition } of entries) last.set(topic, Math.max(partition, last.get(topic) ?? 0));
  const names = [...last];
  const found = await eachOf(names, ([name, partition]) =>
    orError(async () => {
      const known = await context.topics.get(name);
      return partition < known.partitions ? known : context.topics.refresh(name);
    }),
  );
  const topics = new Map(names.map(([name], i) => [name, found[i] as Topic | EventLogError]));
  return Promise.all(
    entries.map(async (entry) => {
      const topic = topics.get(entry.topic) as Topic | EventLogError;
      if (topic instanceof EventLogError) return topic;
      if (entry.topicId !== undefined && entry.topicId !== topic.topicId) return unknownTopic(entry.topic);
      return orError(async () => {
        checkPartition(topic, entry.partition);
        return { ...entry, topicId: topic.topicId };
      });
    }),
  );
}

async function orError<T>(work: () => Promise<T>): Promise<T | EventLogError> {
  try {
    return await work();
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
