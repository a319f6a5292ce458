import { api } from '../../api.ts';
import { field, since, struct, until } from '../../fields.ts';
import { array, int16, int32, nullable, string } from '../../types.ts';

export const LEAVE_GROUP = api({
  key: 13,
  name: 'LeaveGroup',
  versions: [0, 5],
  flexible: 4,
  request: {
    groupId: string,
    memberId: until(2)(string),
    members: since(3)(
      array(
        struct({
          memberId: string,
          groupInstanceId: field(nullable(string), null),
          reason: since(5)(nullable(string), null),
        }),
      ),
    ),
  },
  response: {
    throttleTimeMs: since(1)(int32, 0),
    errorCode: int16,
    members: since(3)(array(struct({ memberId: string, groupInstanceId: nullable(string), errorCode: int16 }))),
  },
});
