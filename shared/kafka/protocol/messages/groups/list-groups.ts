import { api } from '../../api.ts';
import { since, struct } from '../../fields.ts';
import { array, int16, int32, string } from '../../types.ts';

export const LIST_GROUPS = api({
  key: 16,
  name: 'ListGroups',
  versions: [0, 5],
  flexible: 3,
  request: { statesFilter: since(4)(array(string)), typesFilter: since(5)(array(string)) },
  response: {
    throttleTimeMs: since(1)(int32, 0),
    errorCode: int16,
    groups: array(
      struct({ groupId: string, protocolType: string, groupState: since(4)(string), groupType: since(5)(string) }),
    ),
  },
});
