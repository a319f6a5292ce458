import { api } from '../../api.ts';
import { field, since, struct } from '../../fields.ts';
import { array, bool, int8, int16, int32, nullable, string } from '../../types.ts';

export const DESCRIBE_CLUSTER = api({
  key: 60,
  name: 'DescribeCluster',
  versions: [0, 2],
  flexible: 0,
  request: {
    includeClusterAuthorizedOperations: bool,
    endpointType: since(1)(int8, 1),
    includeFencedBrokers: since(2)(bool),
  },
  response: {
    throttleTimeMs: field(int32, 0),
    errorCode: int16,
    errorMessage: field(nullable(string), null),
    endpointType: since(1)(int8, 1),
    clusterId: string,
    controllerId: field(int32, -1),
    brokers: array(
      struct({
        brokerId: int32,
        host: string,
        port: int32,
        rack: field(nullable(string), null),
        isFenced: since(2)(bool),
      }),
    ),
    clusterAuthorizedOperations: field(int32, -(2 ** 31)),
  },
});
