import { api } from '../../api.ts';
import { field, since, struct } from '../../fields.ts';
import { array, bool, int8, int16, int32, nullable, string, uuid } from '../../types.ts';

export const CONSUMER_GROUP_DESCRIBE = api({
  key: 69,
  name: 'ConsumerGroupDescribe',
  versions: [0, 1],
  flexible: 0,
  request: { groupIds: array(string), includeAuthorizedOperations: bool },
  response: {
    throttleTimeMs: field(int32, 0),
    groups: array(
      struct({
        errorCode: int16,
        errorMessage: field(nullable(string), null),
        groupId: string,
        groupState: string,
        groupEpoch: int32,
        assignmentEpoch: int32,
        assignorName: string,
        members: array(
          struct({
            memberId: string,
            instanceId: field(nullable(string), null),
            rackId: field(nullable(string), null),
            memberEpoch: int32,
            clientId: string,
            clientHost: string,
            subscribedTopicNames: array(string),
            subscribedTopicRegex: field(nullable(string), null),
            assignment: struct({
              topicPartitions: array(struct({ topicId: uuid, topicName: string, partitions: array(int32) })),
            }),
            targetAssignment: struct({
              topicPartitions: array(struct({ topicId: uuid, topicName: string, partitions: array(int32) })),
            }),
            memberType: since(1)(int8, -1),
          }),
        ),
        authorizedOperations: field(int32, -(2 ** 31)),
      }),
    ),
  },
});
