import { api } from '../../api.ts';
import { since } from '../../fields.ts';
import { int16, int32, nullable, string } from '../../types.ts';

export const HEARTBEAT = api({
  key: 12,
  name: 'Heartbeat',
  versions: [0, 4],
  flexible: 4,
  request: {
    groupId: string,
    generationId: int32,
    memberId: string,
    groupInstanceId: since(3)(nullable(string), null),
  },
  response: { throttleTimeMs: since(1)(int32, 0), errorCode: int16 },
});
