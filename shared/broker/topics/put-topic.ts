import { EventLogError, invalidField } from '../../log/errors.ts';
import { type Head, partitionBytes, partitionState } from '../../log/head/head.ts';
import { PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX, PARTITIONS_PER_HEAD_DEFAULT } from '../../log/limits.ts';
import { checkPartitionCount, checkTopicName, headCount, headOf, type Topic } from '../../log/topic/topic.ts';
import {
  type DescribedSetting,
  describeTopicConfig,
  parseTopicConfig,
  type TopicConfig,
  type TopicSettingName,
} from '../../log/topic/topic-config.ts';
import { GARBAGE, garbageKey, HEAD, headKey, TOPIC, TOPICS, topicKey } from '../../storage/keys.ts';
import type { BrokerContext } from '../context.ts';
import { readHead } from '../heads/items.ts';
import { topicFromAttributes, topicToAttributes } from '../memory/topic-cache.ts';
import { NO_TOPIC } from '../usage/usage-meter.ts';

export interface PutTopicRequest {
  readonly name: string;
  /** Default 1 for a new topic, and what there is for one that exists. */
  readonly partitions?: number | undefined;
  /** Kafka's names; what is not named keeps its default, or its present value. `null` goes back to the default. */
  readonly config?: Readonly<Record<string, unknown>> | undefined;
}

export interface TopicDescription {
  readonly name: string;
  readonly topicId: string;
  readonly partitions: number;
  readonly createdAtMs: number;
  readonly config: Record<TopicSettingName, DescribedSetting>;
}

export interface PartitionDescription {
  readonly partition: number;
  readonly logStartOffset: number;
  readonly highWatermark: number;
  readonly bytes: number;
}

export interface PageRequest {
  readonly limit?: number | undefined;
  readonly pageToken?: string | undefined;
}

export interface ListTopicsRequest extends PageRequest {
  /** Lists these alone, and lets page tokens tell no other names. Default: all. */
  readonly visible?: ((name: string) => boolean) | undefined;
}

export interface Page<T> {
  readonly items: readonly T[];
  readonly nextPageToken?: string;
}

const DEFAULT_PARTITIONS = 1;
/** How many heads are asked at once. */
const HEADS_AT_ONCE = 32;
/** Of a deleted topic, data may go when no read that began before can still need it. */
const GARBAGE_GRACE_MS = 3_600_000;

/**
 * Makes a topic, or gives one that exists more partitions and other settings. Atomic; of two that race to make the same
 * topic, one makes it and the other finds it. Partitions only grow.
 * Costs 1 GetItem and, where something changes, 1 PutItem; the heads come to be with their first append.
 * @throws EventLogError `invalid_request`, `topic_conflict` (fewer partitions than there are)
 */
export async function putTopic(
  context: BrokerContext,
  request: PutTopicRequest,
): Promise<{ readonly created: boolean; readonly changed: boolean; readonly topic: TopicDescription }> {
  const { name } = request;
  checkTopicName(name);
  if (request.partitions !== undefined) checkPartitionCount(request.partitions);
  const { set, unset } = splitConfig(request.config ?? {});
  const { items } = context.usage.of(name, 'admin');
  for (;;) {
    const { attributes } = await items.get(topicKey(name));
    if (attributes === undefined || attributes[TOPIC.deletedAtMs] !== undefined) {
      const topic: Topic = {
        name,
        topicId: Buffer.from(context.random.bytes(16)).toString('base64url'),
        partitions: request.partitions ?? DEFAULT_PARTITIONS,
        partitionsPerHead: PARTITIONS_PER_HEAD_DEFAULT,
        config: set,
        createdAtMs: context.clock.nowMs(),
      };
      // What is met here never is again: should this request arrive once more after the topic was deleted, it is refused.
      const made = await items.put(topicKey(name), topicToAttributes(topic), [
        attributes === undefined
          ? { if: 'item_absent' }
          : { if: 'equals', name: TOPIC.topicId, value: String(attributes[TOPIC.topicId]) },
      ]);
      // A lost reply to our own put shows as a topic with our id.
      if (made.ok || made.attributes?.[TOPIC.topicId] === topic.topicId) {
        context.topics.forget(name);
        return { created: true, changed: true, topic: describe(topic) };
      }
      continue;
    }
    if (attributes[TOPIC.deleting] !== undefined) {
      await finishDeletion(context, topicFromAttributes(name, attributes));
      continue;
    }
    const topic = topicFromAttributes(name, attributes);
    const partitions = request.partitions ?? topic.partitions;
    if (partitions < topic.partitions) {
      throw new EventLogError(
        'topic_conflict',
        `Topic '${name}' has ${topic.partitions} partitions and can't go down to ${partitions}: partitions only grow.`,
        { details: { topic: name, partitions: topic.partitions } },
      );
    }
    const config: TopicConfig = Object.fromEntries(
      Object.entries({ ...topic.config, ...set }).filter(([key]) => !unset.includes(key)),
    );
    const wanted = { ...topic, partitions, config };
    if (partitions === topic.partitions && sameConfig(config, topic.config))
      return { created: false, changed: false, topic: describe(topic) };
    const changed = await items.put(topicKey(name), topicToAttributes(wanted), [
      { if: 'equals', name: TOPIC.topicId, value: topic.topicId },
      { if: 'equals', name: TOPIC.partitions, value: topic.partitions },
      { if: 'equals', name: TOPIC.config, value: String(attributes[TOPIC.config]) },
      { if: 'absent', name: TOPIC.deleting },
    ]);
    if (!changed.ok) continue;
    context.topics.forget(name);
    return { created: false, changed: true, topic: describe(wanted) };
  }
}

function splitConfig(given: Readonly<Record<string, unknown>>): { set: TopicConfig; unset: string[] } {
  const entries = Object.entries(given);
  const unset = entries.filter(([, value]) => value === null).map(([name]) => name);
  // Names are checked for the ones that go back to their default too.
  parseTopicConfig(Object.fromEntries(unset.map((name) => [name, describeDefault(name)])));
  return { set: parseTopicConfig(Object.fromEntries(entries.filter(([, value]) => value !== null))), unset };
}

function describeDefault(name: string): unknown {
  const defaults: Readonly<Record<string, DescribedSetting>> = describeTopicConfig({});
  return Object.hasOwn(defaults, name) ? defaults[name]?.value : undefined;
}

function sameConfig(a: TopicConfig, b: TopicConfig): boolean {
  const names = Object.keys({ ...a, ...b }) as TopicSettingName[];
  return names.every((name) => a[name] === b[name]);
}

/**
 * Topics in the order of their names, by their bytes. 1 Query a page; with `visible`, as many as it takes to find a page
 * of those.
 */
export async function listTopics(
  context: BrokerContext,
  request: ListTopicsRequest = {},
): Promise<Page<TopicDescription>> {
  if (request.visible !== undefined) return listVisibleTopics(context, request, request.visible);
  const limit = pageLimit(request.limit);
  const after = request.pageToken === undefined ? undefined : decodePageToken(request.pageToken);
  const { items } = context.usage.of(NO_TOPIC, 'admin');
  const page = await items.query({ pk: TOPICS, ...(after === undefined ? {} : { from: `${after}\0` }), limit });
  const topics = page.items
    .filter((item) => item.attributes[TOPIC.deleting] === undefined)
    .map((item) => describe(topicFromAttributes(item.sk, item.attributes)));
  const last = page.items.at(-1)?.sk;
  return page.more && last !== undefined ? { items: topics, nextPageToken: encodePageToken(last) } : { items: topics };
}

/** A page of the visible ones out of pages of all: its token is the name of its last one, which is visible. */
async function listVisibleTopics(
  context: BrokerContext,
  request: PageRequest,
  visible: (name: string) => boolean,
): Promise<Page<TopicDescription>> {
  const limit = pageLimit(request.limit);
  const found: TopicDescription[] = [];
  let pageToken = request.pageToken;
  do {
    const page = await listTopics(context, { limit: PAGE_LIMIT_MAX, pageToken });
    for (const topic of page.items) {
      if (!visible(topic.name)) continue;
      if (found.length === limit) return { items: found, nextPageToken: encodePageToken(found.at(-1)?.name ?? '') };
      found.push(topic);
    }
    pageToken = page.nextPageToken;
  } while (pageToken !== undefined);
  return { items: found };
}

/** 1 GetItem. @throws EventLogError `unknown_topic` */
export async function describeTopic(context: BrokerContext, name: string): Promise<TopicDescription> {
  checkTopicName(name);
  return describe(await context.topics.refresh(name));
}

/** Where the partitions begin and end, as of now; 1 GetItem for each 16 partitions. @throws EventLogError `unknown_topic` */
export async function describePartitions(context: BrokerContext, name: string): Promise<PartitionDescription[]> {
  checkTopicName(name);
  const { items } = context.usage.of(name, 'admin');
  const readHeads = (of: Topic): Promise<Head[]> =>
    eachHead(of, (headNumber) => readHead(items, { topicId: of.topicId, headNumber }));
  let topic = await context.topics.get(name);
  let heads = await readHeads(topic);
  if (heads.some((head) => head.closed)) {
    // The topic that was remembered has been deleted; there may be another of its name.
    topic = await context.topics.refresh(name);
    heads = await readHeads(topic);
  }
  return Array.from({ length: topic.partitions }, (_, partition) => {
    const { headNumber, slot } = headOf(topic, partition);
    const head = heads[headNumber] as Head;
    const { logStartOffset, nextOffset } = partitionState(head, slot);
    return { partition, logStartOffset, highWatermark: nextOffset, bytes: partitionBytes(head, slot) };
  });
}

/**
 * Deletes a topic. On return no append to it can succeed any more, not even one that is under way; its name is free,
 * and a topic made under it again has another id. Its data is left to be swept.
 * Costs 1 GetItem, 3 writes, and 1 UpdateItem for each 16 partitions. Interrupted anywhere, it is finished when it is
 * called again, or when a topic of this name is made.
 * @throws EventLogError `unknown_topic`
 */
export async function deleteTopic(context: BrokerContext, name: string): Promise<void> {
  checkTopicName(name);
  const { items } = context.usage.of(name, 'admin');
  const { attributes } = await items.get(topicKey(name));
  if (attributes === undefined || attributes[TOPIC.deletedAtMs] !== undefined)
    throw new EventLogError('unknown_topic', `There is no topic '${name}'.`, { details: { topic: name } });
  const topic = topicFromAttributes(name, attributes);
  await items.update(
    topicKey(name),
    [{ do: 'set', name: TOPIC.deleting, value: 1 }],
    [{ if: 'equals', name: TOPIC.topicId, value: topic.topicId }],
  );
  await finishDeletion(context, topic);
}

/** Finishes the deletion of a topic that is marked as being deleted; may be called any number of times at once. */
export async function finishDeletion(context: BrokerContext, topic: Topic): Promise<void> {
  const { items } = context.usage.of(topic.name, 'admin');
  // Partitions may have been added after `topic` was read; not any more now that it is marked.
  const { attributes } = await items.get(topicKey(topic.name));
  if (attributes?.[TOPIC.topicId] !== topic.topicId || attributes[TOPIC.deletedAtMs] !== undefined) return;
  const marked = topicFromAttributes(topic.name, attributes);
  await eachHead(marked, (headNumber) =>
    items.update(headKey(topic.topicId, headNumber), [{ do: 'set', name: HEAD.closed, value: 1 }]),
  );
  const dueAtMs = context.clock.nowMs() + GARBAGE_GRACE_MS;
  await items.put(garbageKey(dueAtMs, `topic#${topic.topicId}`), {
    [GARBAGE.topicId]: topic.topicId,
    [GARBAGE.heads]: headCount(marked),
  });
  await items.update(
    topicKey(topic.name),
    [{ do: 'set', name: TOPIC.deletedAtMs, value: context.clock.nowMs() }],
    [
      { if: 'equals', name: TOPIC.topicId, value: topic.topicId },
      { if: 'absent', name: TOPIC.deletedAtMs },
    ],
  );
  context.topics.forget(topic.name);
}

async function eachHead<T>(topic: Topic, run: (headNumber: number) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  for (let start = 0; start < headCount(topic); start += HEADS_AT_ONCE) {
    const numbers = Array.from({ length: Math.min(HEADS_AT_ONCE, headCount(topic) - start) }, (_, i) => start + i);
    results.push(...(await Promise.all(numbers.map(run))));
  }
  return results;
}

function describe(topic: Topic): TopicDescription {
  const { name, topicId, partitions, createdAtMs } = topic;
  return { name, topicId, partitions, createdAtMs, config: describeTopicConfig(topic.config) };
}

export function pageLimit(limit: number | undefined): number {
  if (limit === undefined) return PAGE_LIMIT_DEFAULT;
  if (Number.isSafeInteger(limit) && limit >= 1 && limit <= PAGE_LIMIT_MAX) return limit;
  throw invalidField('limit', `A page holds 1 to ${PAGE_LIMIT_MAX} items.`);
}

export function encodePageToken(position: string): string {
  return Buffer.from(position).toString('base64url');
}

export function decodePageToken(token: string): string {
  const position = Buffer.from(token, 'base64url');
  if (token.length > 1_024 || position.length === 0 || position.toString('base64url') !== token) {
    throw invalidField('pageToken', 'This is not a page token; take it from `nextPageToken` of the page before.');
  }
  return position.toString();
}
