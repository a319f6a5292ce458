import { api } from '../../api.ts';
import { field, since, struct } from '../../fields.ts';
import { array, int16, int32, nullable, string, uuid } from '../../types.ts';

export const CONSUMER_GROUP_HEARTBEAT = api({
  key: 68,
  name: 'ConsumerGroupHeartbeat',
  versions: [0, 1],
  flexible: 0,
  request: {
    groupId: string,
    memberId: string,
    memberEpoch: int32,
    instanceId: field(nullable(string), null),
    rackId: field(nullable(string), null),
    rebalanceTimeoutMs: field(int32, -1),
    subscribedTopicNames: field(nullable(array(string)), null),
    subscribedTopicRegex: since(1)(nullable(string), null),
    serverAssignor: field(nullable(string), null),
    topicPartitions: field(nullable(array(struct({ topicId: uuid, partitions: array(int32) }))), null),
  },
  response: {
    throttleTimeMs: field(int32, 0),
    errorCode: int16,
    errorMessage: field(nullable(string), null),
    memberId: field(nullable(string), null),
    memberEpoch: int32,
    heartbeatIntervalMs: int32,
    assignment: field(
      nullable(struct({ topicPartitions: array(struct({ topicId: uuid, partitions: array(int32) })) })),
      null,
    ),
  },
});
