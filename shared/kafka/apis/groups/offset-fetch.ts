import type { Broker } from '../../../broker/broker.ts';
import type { PartitionOffset } from '../../../broker/groups/offsets/fetch-offsets.ts';
import { eachOf } from '../../../broker/topics/each-head.ts';
import { EventLogError } from '../../../log/errors.ts';
import { OFFSETS_PER_REQUEST_MAX } from '../../../log/limits.ts';
import { KAFKA_ERRORS, type KafkaErrorNumber } from '../../error-codes.ts';
import { type Call, handler } from '../../handler.ts';
import { OFFSET_FETCH } from '../../protocol/messages/groups/offset-fetch.ts';
import { ZERO_UUID } from '../../protocol/types.ts';
import { eachOnce } from '../each-once.ts';
import { answering } from '../group-errors.ts';
import { LEADER_EPOCH } from '../leader-epoch.ts';
import { nameOf } from '../topic-names.ts';

const TOPIC_IDS_FROM = 10;
const NO_OFFSET = -1;
const PAGE_LIMIT = 100;

interface AskedTopic {
  readonly name: string;
  readonly topicId: string;
  readonly partitionIndexes: readonly number[];
}

interface FoundTopic {
  readonly name: string;
  readonly topicId: string;
  readonly partitions: readonly {
    readonly partitionIndex: number;
    readonly committedOffset: number;
    readonly committedLeaderEpoch: number;
    readonly metadata: string;
    readonly errorCode: KafkaErrorNumber;
  }[];
}

interface FoundGroup {
  readonly errorCode: KafkaErrorNumber;
  readonly topics: readonly FoundTopic[];
}

/** From this version on a request asks for several groups. */
const GROUPS_FROM = 8;
/** Before it an answer has no place for an error of the group: without an offset a client would begin where it likes. */
const GROUP_ERROR_FROM = 2;

/** What groups have committed. */
export const offsetFetch = handler(
  OFFSET_FETCH,
  [{ action: 'any', on: 'group' }],
  async (call, { groupId, topics, groups, requireStable }) => {
    if (call.version < GROUPS_FROM) {
      const asked = topics?.map((topic) => ({ ...topic, topicId: ZERO_UUID })) ?? null;
      const found = await fetchGroup(call, { group: groupId, requireStable }, asked);
      const isHidden = call.version < GROUP_ERROR_FROM && found.errorCode !== KAFKA_ERRORS.NONE;
      return { ...found, topics: isHidden ? refusedTopics(asked ?? [], found.errorCode) : found.topics, groups: [] };
    }
    // All of a group is shown once. Of single partitions the answer is no longer than the request.
    const named = eachOnce(groups, (group) => (group.topics === null ? group.groupId : group));
    const found = await eachOf(named, async (group) => ({
      groupId: group.groupId,
      ...(await fetchGroup(call, { group: group.groupId, requireStable }, group.topics)),
    }));
    return { topics: [], groups: found };
  },
);

interface AskedGroup {
  readonly group: string;
  readonly requireStable: boolean;
}

async function fetchGroup(call: Call, group: AskedGroup, topics: readonly AskedTopic[] | null): Promise<FoundGroup> {
  if (!call.rights.onGroup('any', group.group))
    return { errorCode: KAFKA_ERRORS.GROUP_AUTHORIZATION_FAILED, topics: [] };
  return answering<FoundGroup>(
    async () => ({
      errorCode: KAFKA_ERRORS.NONE,
      topics: topics === null ? await fetchAll(call, group) : await fetchSome(call, group, topics),
    }),
    (errorCode) => ({ errorCode, topics: [] }),
  );
}

/** Each partition with the error of its group. */
function refusedTopics(asked: readonly AskedTopic[], errorCode: KafkaErrorNumber): FoundTopic[] {
  return asked.map(({ name, topicId, partitionIndexes }) => ({
    name,
    topicId,
    partitions: partitionIndexes.map((partition) =>
      answerOf({ partition, offset: null, leaderEpoch: -1, metadata: '' }, errorCode),
    ),
  }));
}

async function fetchSome(call: Call, group: AskedGroup, topics: readonly AskedTopic[]): Promise<FoundTopic[]> {
  const names = await Promise.all(topics.map((topic) => nameOf(call, topic, TOPIC_IDS_FROM)));
  const asked = topics.flatMap(({ partitionIndexes }, i) => {
    const topic = names[i];
    return topic === undefined ? [] : partitionIndexes.map((partition) => ({ topic, partition }));
  });
  const offsets: PartitionOffset[] = [];
  for (let i = 0; i < asked.length; i += OFFSETS_PER_REQUEST_MAX) {
    const partitions = asked.slice(i, i + OFFSETS_PER_REQUEST_MAX);
    offsets.push(...(await call.gateway.broker.fetchOffsets({ ...group, partitions })).items);
  }
  let next = 0;
  return topics.map(({ name, topicId, partitionIndexes }, i) => ({
    name,
    topicId,
    partitions: partitionIndexes.map((partition) =>
      names[i] === undefined
        ? answerOf({ partition, offset: null, leaderEpoch: -1, metadata: '' }, KAFKA_ERRORS.UNKNOWN_TOPIC_ID)
        : stableAnswerOf(offsets[next++] as PartitionOffset),
    ),
  }));
}

async function fetchAll({ gateway: { broker } }: Call, group: AskedGroup): Promise<FoundTopic[]> {
  const byTopic = new Map<string, PartitionOffset[]>();
  let pageToken: string | undefined;
  do {
    const page = await broker.fetchOffsets({ ...group, limit: PAGE_LIMIT, pageToken });
    for (const offset of page.items) {
      const ofTopic = byTopic.get(offset.topic);
      if (ofTopic === undefined) byTopic.set(offset.topic, [offset]);
      else ofTopic.push(offset);
    }
    pageToken = page.nextPageToken;
  } while (pageToken !== undefined);
  const topics = [...byTopic].map(async ([name, offsets]): Promise<FoundTopic[]> => {
    const topicId = await idOf(broker, name);
    // Deleted since: then nothing is committed for it any more.
    if (topicId === undefined) return [];
    return [{ name, topicId, partitions: offsets.map(stableAnswerOf) }];
  });
  return (await Promise.all(topics)).flat();
}

async function idOf(broker: Broker, name: string): Promise<string | undefined> {
  try {
    return (await broker.knownTopic(name)).topicId;
  } catch (error) {
    if (error instanceof EventLogError && error.code === 'unknown_topic') return undefined;
    throw error;
  }
}

function stableAnswerOf(offset: PartitionOffset): FoundTopic['partitions'][number] {
  const isUnstable = offset.error?.code === 'unstable_offsets';
  return answerOf(offset, isUnstable ? KAFKA_ERRORS.UNSTABLE_OFFSET_COMMIT : KAFKA_ERRORS.NONE);
}

/** Kafka has no error for a partition that does not exist: nothing was committed for it. */
function answerOf(
  {
    partition,
    offset,
    leaderEpoch,
    metadata,
  }: Pick<PartitionOffset, 'partition' | 'offset' | 'leaderEpoch' | 'metadata'>,
  errorCode: KafkaErrorNumber = KAFKA_ERRORS.NONE,
): FoundTopic['partitions'][number] {
  return {
    partitionIndex: partition,
    committedOffset: offset ?? NO_OFFSET,
    // A later one comes from another cluster. A client would ignore the metadata of this one for it.
    committedLeaderEpoch: Math.min(leaderEpoch, LEADER_EPOCH),
    metadata,
    errorCode,
  };
}
