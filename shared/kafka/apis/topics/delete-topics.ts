import { eachOf } from '../../../broker/topics/each-head.ts';
import { KAFKA_ERRORS, type KafkaErrorNumber } from '../../error-codes.ts';
import { type Call, handler } from '../../handler.ts';
import type { RequestOf, ResponseOf } from '../../protocol/api.ts';
import { DELETE_TOPICS } from '../../protocol/messages/topics/delete-topics.ts';
import { ZERO_UUID } from '../../protocol/types.ts';
import { answeringTopic, checkRight, repeated, TopicRefusal } from '../topic-errors.ts';

type Asked = RequestOf<typeof DELETE_TOPICS>['topics'][number];
type Deleted = ResponseOf<typeof DELETE_TOPICS>['responses'][number];

const TOPICS_FROM = 6;

/** Deletes topics by name, and in the newest version also by id. When it answers, no append to them can succeed. */
export const deleteTopics = handler(DELETE_TOPICS, [{ action: 'admin', on: 'topic' }], async (call, request) => {
  const all =
    call.version < TOPICS_FROM ? request.topicNames.map((name) => ({ name, topicId: ZERO_UUID })) : request.topics;
  const twice = repeated(all.map(keyOf));
  const responses = await eachOf(
    // What is named twice is answered once.
    [...new Map(all.map((topic) => [keyOf(topic), topic])).values()],
    (topic) =>
      answeringTopic<Deleted>(
        async () => {
          if (twice.has(keyOf(topic))) throw new TopicRefusal('INVALID_REQUEST', 'The topic is named twice.');
          return deleteOne(call, topic);
        },
        (errorCode, errorMessage) => failed(topic, errorCode, errorMessage),
      ),
  );
  return { responses };
});

function keyOf({ name, topicId }: Asked): string {
  return name === null ? `id ${topicId}` : `name ${name}`;
}

async function deleteOne(call: Call, { name, topicId }: Asked): Promise<Deleted> {
  const { broker } = call.gateway;
  if (name !== null) {
    checkRight(call, 'admin', name);
    if (topicId !== ZERO_UUID)
      throw new TopicRefusal('INVALID_REQUEST', 'A topic is named by its name or by its id, not by both.');
    const { topicId: deletedId } = await broker.describeTopic(name);
    await broker.deleteTopic(name, deletedId);
    return { name, topicId: deletedId, errorCode: KAFKA_ERRORS.NONE };
  }
  if (topicId === ZERO_UUID) throw new TopicRefusal('INVALID_REQUEST', 'A topic is named by its name or by its id.');
  const topic = await broker.topicById(topicId, true);
  if (topic === undefined) throw new TopicRefusal('UNKNOWN_TOPIC_ID', `There is no topic with the id ${topicId}.`);
  checkRight(call, 'admin', topic.name);
  // Whoever has its name by now, only the topic with this id is meant.
  await broker.deleteTopic(topic.name, topicId);
  return { name: topic.name, topicId, errorCode: KAFKA_ERRORS.NONE };
}

function failed({ name, topicId }: Asked, errorCode: KafkaErrorNumber, errorMessage: string): Deleted {
  const { INVALID_TOPIC_EXCEPTION, UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_OR_PARTITION } = KAFKA_ERRORS;
  // No topic has a name that is not allowed.
  const isUnknown = errorCode === UNKNOWN_TOPIC_OR_PARTITION || errorCode === INVALID_TOPIC_EXCEPTION;
  const unknown = name === null ? UNKNOWN_TOPIC_ID : UNKNOWN_TOPIC_OR_PARTITION;
  return { name, topicId, errorCode: isUnknown ? unknown : errorCode, errorMessage };
}
