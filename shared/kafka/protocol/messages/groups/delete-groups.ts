import { api } from '../../api.ts';
import { field, struct } from '../../fields.ts';
import { array, int16, int32, string } from '../../types.ts';

export const DELETE_GROUPS = api({
  key: 42,
  name: 'DeleteGroups',
  versions: [0, 2],
  flexible: 2,
  request: { groupsNames: array(string) },
  response: { throttleTimeMs: field(int32, 0), results: array(struct({ groupId: string, errorCode: int16 })) },
});
