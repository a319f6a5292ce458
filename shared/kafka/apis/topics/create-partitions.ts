import { eachOf } from '../../../broker/topics/each-head.ts';
import { EventLogError } from '../../../log/errors.ts';
import { KAFKA_ERRORS } from '../../error-codes.ts';
import type { Gateway } from '../../gateway.ts';
import { handler } from '../../handler.ts';
import type { RequestOf, ResponseOf } from '../../protocol/api.ts';
import { CREATE_PARTITIONS } from '../../protocol/messages/topics/create-partitions.ts';
import { answeringTopic, checkRight, repeated, TopicRefusal } from '../topic-errors.ts';
import { checkBrokers } from './create-topics.ts';

type Asked = RequestOf<typeof CREATE_PARTITIONS>['topics'][number];
type Result = ResponseOf<typeof CREATE_PARTITIONS>['results'][number];

/** Gives topics more partitions, each topic by itself. One of several requests for the same number succeeds. */
export const createPartitions = handler(
  CREATE_PARTITIONS,
  [{ action: 'admin', on: 'topic' }],
  async (call, { topics, validateOnly }) => {
    const twice = repeated(topics.map(({ name }) => name));
    const once = topics.filter(({ name }) => !twice.has(name));
    const results = await eachOf(once, (topic) =>
      answeringTopic<Result>(
        async () => {
          checkRight(call, 'admin', topic.name);
          await extend(call.gateway, topic, validateOnly);
          return { name: topic.name, errorCode: KAFKA_ERRORS.NONE };
        },
        (errorCode, errorMessage) => ({
          name: topic.name,
          // No topic has a name that is not allowed.
          errorCode:
            errorCode === KAFKA_ERRORS.INVALID_TOPIC_EXCEPTION ? KAFKA_ERRORS.UNKNOWN_TOPIC_OR_PARTITION : errorCode,
          errorMessage,
        }),
      ),
    );
    for (const name of twice)
      results.push({ name, errorCode: KAFKA_ERRORS.INVALID_REQUEST, errorMessage: 'Duplicate topic name.' });
    return { results };
  },
);

/** @throws TopicRefusal, EventLogError */
async function extend({ broker }: Gateway, { name, count, assignments }: Asked, validateOnly: boolean): Promise<void> {
  const before = await broker.describeTopic(name);
  if (assignments !== null) checkAssignments(before.partitions, count, assignments);
  try {
    const { changed } = await broker.putTopic({ name, partitions: count, expect: 'present', validateOnly });
    if (!changed) throw new TopicRefusal('INVALID_PARTITIONS', `Topic '${name}' has ${count} partitions already.`);
  } catch (error) {
    const isFewer = error instanceof EventLogError && error.code === 'topic_conflict';
    throw isFewer ? new TopicRefusal('INVALID_PARTITIONS', error.message) : error;
  }
}

/** One for each added partition, when there are more. @throws TopicRefusal */
function checkAssignments(before: number, count: number, assignments: NonNullable<Asked['assignments']>): void {
  const added = count - before;
  if (added > 0 && assignments.length !== added)
    throw new TopicRefusal(
      'INVALID_REPLICA_ASSIGNMENT',
      `${added} partitions are to be added, so there are ${added} assignments, not ${assignments.length}.`,
    );
  assignments.forEach(({ brokerIds }, i) => {
    checkBrokers(before + i, brokerIds);
  });
}
