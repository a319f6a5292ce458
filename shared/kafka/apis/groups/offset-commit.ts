import type { Broker } from '../../../broker/broker.ts';
import type { CommitOutcome, OffsetToCommit } from '../../../broker/groups/offsets/commit-offsets.ts';
import { EventLogError } from '../../../log/errors.ts';
import { OFFSETS_PER_REQUEST_MAX } from '../../../log/limits.ts';
import { KAFKA_ERRORS, type KafkaErrorNumber } from '../../error-codes.ts';
import { type Call, handler } from '../../handler.ts';
import type { RequestOf } from '../../protocol/api.ts';
import { OFFSET_COMMIT } from '../../protocol/messages/groups/offset-commit.ts';
import { groupError } from '../group-errors.ts';
import { allowedName } from '../topic-names.ts';
import { askedOffset } from './asked-offset.ts';

const TOPIC_IDS_FROM = 10;
/** From this version on a client of KIP-848 knows that its epoch is old, and may commit again with the newer one. */
const STALE_EPOCH_FROM = 9;

type Request = RequestOf<typeof OFFSET_COMMIT>;

/** Commits offsets of a group, each partition by itself. */
export const offsetCommit = handler(
  OFFSET_COMMIT,
  [
    { action: 'consume', on: 'group' },
    { action: 'consume', on: 'topic' },
  ],
  async (call, request) => {
    const { topics } = request;
    const names = await Promise.all(topics.map((topic) => allowedName(call, 'consume', topic, TOPIC_IDS_FROM)));
    const asked = topics.map(({ topicId, partitions }, i) =>
      // A topic that is made again meanwhile has its name, and must not get its offsets.
      partitions.map((each) => askedOffset(names[i] ?? '', each, call.version >= TOPIC_IDS_FROM ? topicId : undefined)),
    );
    const offsets = asked.flat().filter((each) => typeof each !== 'number');
    const errors = await commit(call, request, offsets);
    let next = 0;
    return {
      topics: topics.map(({ name, topicId, partitions }, i) => ({
        name,
        topicId,
        partitions: partitions.map(({ partitionIndex }, j) => {
          const offset = asked[i]?.[j];
          return {
            partitionIndex,
            errorCode: typeof offset === 'number' ? offset : (errors[next++] as KafkaErrorNumber),
          };
        }),
      })),
    };
  },
);

async function commit(call: Call, request: Request, offsets: readonly OffsetToCommit[]): Promise<KafkaErrorNumber[]> {
  if (!call.rights.onGroup('consume', request.groupId))
    return offsets.map(() => KAFKA_ERRORS.GROUP_AUTHORIZATION_FAILED);
  const errors: KafkaErrorNumber[] = [];
  for (let i = 0; i < offsets.length; i += OFFSETS_PER_REQUEST_MAX)
    errors.push(...(await commitSome(call, request, offsets.slice(i, i + OFFSETS_PER_REQUEST_MAX))));
  return errors;
}

async function commitSome(
  call: Call,
  request: Request,
  offsets: readonly OffsetToCommit[],
): Promise<KafkaErrorNumber[]> {
  try {
    const { broker } = call.gateway;
    const outcomes = await commitByProtocol(broker, request, offsets);
    const isFenced = outcomes.some((outcome) => !outcome.ok && outcome.error.code === 'fenced_member_epoch');
    const isMember = !isFenced || (await hasMember(broker, request));
    return outcomes.map((outcome) => {
      if (outcome.ok) return KAFKA_ERRORS.NONE;
      if (!isMember && outcome.error.code === 'fenced_member_epoch') return KAFKA_ERRORS.UNKNOWN_MEMBER_ID;
      return errorOf(outcome.error, call.version);
    });
  } catch (error) {
    if (!(error instanceof EventLogError)) throw error;
    const errorCode = errorOf(error, call.version);
    return offsets.map(() => errorCode);
  }
}

/** The request does not say which protocol the member uses: the group does, or the member. */
async function commitByProtocol(
  broker: Broker,
  { groupId: group, memberId, groupInstanceId, generationIdOrMemberEpoch: epoch }: Request,
  offsets: readonly OffsetToCommit[],
): Promise<CommitOutcome[]> {
  if (memberId === '' && epoch < 0) return broker.commitOffsets({ group, offsets });
  const member = { memberId, instanceId: groupInstanceId ?? undefined };
  if (await broker.usesClassicProtocol({ group, ...member }))
    return broker.commitClassicOffsets({ group, ...member, generation: epoch, offsets });
  return broker.commitOffsets({ group, member: { ...member, memberEpoch: epoch < 0 ? undefined : epoch }, offsets });
}

/** Whether the group knows the member. One of the classic protocol, whose group is gone, must join again. */
async function hasMember(broker: Broker, { groupId, memberId }: Request): Promise<boolean> {
  try {
    return (await broker.describeGroup(groupId)).members.some((member) => member.memberId === memberId);
  } catch (error) {
    if (error instanceof EventLogError && error.code === 'unknown_group') return false;
    throw error;
  }
}

function errorOf(error: EventLogError, version: number): KafkaErrorNumber {
  if (error.code === 'unknown_topic' && version >= TOPIC_IDS_FROM) return KAFKA_ERRORS.UNKNOWN_TOPIC_ID;
  if (error.code === 'fenced_member_epoch')
    return version >= STALE_EPOCH_FROM ? KAFKA_ERRORS.STALE_MEMBER_EPOCH : KAFKA_ERRORS.ILLEGAL_GENERATION;
  // Kafka says so to a client that is no member of a group that has some.
  if (error.code === 'group_not_empty') return KAFKA_ERRORS.UNKNOWN_MEMBER_ID;
  return groupError(error);
}
