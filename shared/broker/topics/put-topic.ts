import { EventLogError } from '../../log/errors.ts';
import { PARTITIONS_PER_HEAD_DEFAULT } from '../../log/limits.ts';
import { checkPartitionCount, checkTopicName, type Topic } from '../../log/topic/topic.ts';
import {
  checkSettingName,
  checkTogether,
  parseTopicConfig,
  type TopicConfig,
  type TopicSettingName,
} from '../../log/topic/topic-config.ts';
import { TOPIC, topicKey } from '../../storage/keys.ts';
import type { BrokerContext } from '../context.ts';
import { topicFromAttributes, topicToAttributes, unknownTopic } from '../memory/topic-cache.ts';
import { finishDeletion } from './delete-topic.ts';
import { describeAs, type TopicDescription } from './describe.ts';
import { scheduleJobs } from './schedule-jobs.ts';

export interface PutTopicRequest {
  readonly name: string;
  /** Default: 1 for a new topic, the current number for an existing topic. */
  readonly partitions?: number | undefined;
  /** Settings under Kafka's names. Settings that are not given keep their value; `null` resets a setting to its default. */
  readonly config?: Readonly<Record<string, unknown>> | undefined;
  /**
   * Makes `config` from the settings that the topic itself sets at the moment of the change, so that a change that depends on
   * them is atomic too. Called again if another change came first.
   */
  readonly configFrom?: ((current: TopicConfig) => Readonly<Record<string, unknown>>) | undefined;
  /** Whether the topic must be there already, or must not. Default: either. */
  readonly expect?: 'absent' | 'present' | undefined;
  /** Check everything, and change nothing: what is returned is what would be. */
  readonly validateOnly?: boolean | undefined;
}

const DEFAULT_PARTITIONS = 1;

/**
 * Makes a topic, or gives an existing topic more partitions and other settings. The change is atomic. If two callers race
 * to make the same topic, one makes it and the other finds it. The number of partitions never decreases.
 * Costs 1 GetItem and, if something changes, 1 PutItem; 1 GetItem more if a topic of the name was deleted shortly before. If
 * settings were given for an existing topic, also the cost of `scheduleJobs`. Each head is made by its first append.
 * @throws EventLogError `invalid_request`, `topic_conflict` (fewer partitions than there are; it exists, but must be absent),
 * `unknown_topic` (it must be present)
 */
export async function putTopic(
  context: BrokerContext,
  request: PutTopicRequest,
): Promise<{ readonly created: boolean; readonly changed: boolean; readonly topic: TopicDescription }> {
  const { name } = request;
  checkTopicName(name);
  if (request.partitions !== undefined) checkPartitionCount(request.partitions);
  const { expect, validateOnly = false } = request;
  splitConfig(request.config ?? {});
  const { items } = context.usage.of(name, 'admin');
  for (;;) {
    const { attributes } = await items.get(topicKey(name));
    const isDeleting = attributes?.[TOPIC.deleting] !== undefined;
    if (expect === 'present' && (attributes === undefined || isDeleting)) throw unknownTopic(name);
    const mayBeMade = attributes === undefined || attributes[TOPIC.deletedAtMs] !== undefined;
    if (mayBeMade || (isDeleting && validateOnly)) {
      const topic: Topic = {
        name,
        topicId: Buffer.from(context.random.bytes(16)).toString('base64url'),
        partitions: request.partitions ?? DEFAULT_PARTITIONS,
        partitionsPerHead: PARTITIONS_PER_HEAD_DEFAULT,
        config: wantedConfig(request, {}),
        createdAtMs: context.clock.nowMs(),
      };
      if (validateOnly) return { created: true, changed: true, topic: describeAs(topic) };
      const producersBefore = attributes === undefined ? undefined : await context.youngProducers.next();
      // The condition names the observed item, which never exists again. So if this request arrives a second time after the
      // topic was deleted, it is rejected.
      const made = await items.put(topicKey(name), topicToAttributes({ ...topic, producersBefore }), [
        attributes === undefined
          ? { if: 'item_absent' }
          : { if: 'equals', name: TOPIC.topicId, value: String(attributes[TOPIC.topicId]) },
      ]);
      // A topic with our id is our own put, whose reply was lost.
      if (made.ok || made.attributes?.[TOPIC.topicId] === topic.topicId) {
        context.topics.forget(name);
        return { created: true, changed: true, topic: describeAs(topic) };
      }
      continue;
    }
    if (isDeleting) {
      await finishDeletion(context, topicFromAttributes(name, attributes));
      continue;
    }
    const topic = topicFromAttributes(name, attributes);
    if (expect === 'absent')
      throw new EventLogError('topic_conflict', `Topic '${name}' already exists.`, {
        details: { topic: name, partitions: topic.partitions },
      });
    const partitions = request.partitions ?? topic.partitions;
    if (partitions < topic.partitions) {
      throw new EventLogError(
        'topic_conflict',
        `Topic '${name}' has ${topic.partitions} partitions and cannot be reduced to ${partitions}: partitions can only be added.`,
        { details: { topic: name, partitions: topic.partitions } },
      );
    }
    const config = wantedConfig(request, topic.config);
    const wanted = { ...topic, partitions, config };
    const isSame = partitions === topic.partitions && sameConfig(config, topic.config);
    if (validateOnly) return { created: false, changed: !isSame, topic: describeAs(wanted) };
    if (isSame) {
      // Another process may have changed it. From now on this process uses what it returns here.
      context.topics.forget(name);
      // The request may be a repetition of one that ended before this.
      if (request.config !== undefined || request.configFrom !== undefined) await scheduleJobs(context, topic);
      return { created: false, changed: false, topic: describeAs(topic) };
    }
    const changed = await items.put(topicKey(name), topicToAttributes(wanted), [
      { if: 'equals', name: TOPIC.topicId, value: topic.topicId },
      { if: 'equals', name: TOPIC.partitions, value: topic.partitions },
      { if: 'equals', name: TOPIC.config, value: String(attributes[TOPIC.config]) },
      { if: 'absent', name: TOPIC.deleting },
    ]);
    if (!changed.ok) continue;
    context.topics.forget(name);
    if (!sameConfig(config, topic.config)) await scheduleJobs(context, wanted);
    return { created: false, changed: true, topic: describeAs(wanted) };
  }
}

/** @throws EventLogError `invalid_request` */
function wantedConfig({ config, configFrom }: PutTopicRequest, current: TopicConfig): TopicConfig {
  const { set, unset } = splitConfig({ ...config, ...configFrom?.(current) });
  const wanted = Object.fromEntries(Object.entries({ ...current, ...set }).filter(([key]) => !unset.includes(key)));
  checkTogether(wanted);
  return wanted;
}

function splitConfig(given: Readonly<Record<string, unknown>>): { set: TopicConfig; unset: readonly string[] } {
  const entries = Object.entries(given);
  const unset = entries.filter(([, value]) => value === null).map(([name]) => name);
  for (const name of unset) checkSettingName(name);
  return { set: parseTopicConfig(Object.fromEntries(entries.filter(([, value]) => value !== null))), unset };
}

function sameConfig(a: TopicConfig, b: TopicConfig): boolean {
  const names = Object.keys({ ...a, ...b }) as TopicSettingName[];
  return names.every((name) => a[name] === b[name]);
}
