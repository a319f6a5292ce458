import { api } from '../../api.ts';
import { field, since, struct, tagged } from '../../fields.ts';
import { array, bool, int8, int16, int32, nullable, string, uuid } from '../../types.ts';

export const CREATE_TOPICS = api({
  key: 19,
  name: 'CreateTopics',
  versions: [2, 7],
  flexible: 5,
  request: {
    topics: array(
      struct({
        name: string,
        numPartitions: int32,
        replicationFactor: int16,
        assignments: array(struct({ partitionIndex: int32, brokerIds: array(int32) })),
        configs: array(struct({ name: string, value: nullable(string) })),
      }),
    ),
    timeoutMs: field(int32, 60000),
    validateOnly: field(bool, false),
  },
  response: {
    throttleTimeMs: field(int32, 0),
    topics: array(
      struct({
        name: string,
        topicId: since(7)(uuid),
        errorCode: int16,
        errorMessage: nullable(string),
        topicConfigErrorCode: tagged(0, 5, int16, 0),
        numPartitions: since(5)(int32, -1),
        replicationFactor: since(5)(int16, -1),
        configs: since(5)(
          nullable(
            array(
              struct({
                name: string,
                value: nullable(string),
                readOnly: bool,
                configSource: field(int8, -1),
                isSensitive: bool,
              }),
            ),
          ),
        ),
      }),
    ),
  },
});
