import { api } from '../../api.ts';
import { since, struct } from '../../fields.ts';
import { array, bool, bytes, int16, int32, nullable, string } from '../../types.ts';

export const DESCRIBE_GROUPS = api({
  key: 15,
  name: 'DescribeGroups',
  versions: [0, 6],
  flexible: 5,
  request: { groups: array(string), includeAuthorizedOperations: since(3)(bool) },
  response: {
    throttleTimeMs: since(1)(int32, 0),
    groups: array(
      struct({
        errorCode: int16,
        errorMessage: since(6)(nullable(string), null),
        groupId: string,
        groupState: string,
        protocolType: string,
        protocolData: string,
        members: array(
          struct({
            memberId: string,
            groupInstanceId: since(4)(nullable(string), null),
            clientId: string,
            clientHost: string,
            memberMetadata: bytes,
            memberAssignment: bytes,
          }),
        ),
        authorizedOperations: since(3)(int32, -(2 ** 31)),
      }),
    ),
  },
});
