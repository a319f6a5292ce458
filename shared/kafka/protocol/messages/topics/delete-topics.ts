import { api } from '../../api.ts';
import { field, since, struct, until } from '../../fields.ts';
import { array, int16, int32, nullable, string, uuid } from '../../types.ts';

export const DELETE_TOPICS = api({
  key: 20,
  name: 'DeleteTopics',
  versions: [1, 6],
  flexible: 4,
  request: {
    topics: since(6)(array(struct({ name: field(nullable(string), null), topicId: uuid }))),
    topicNames: until(5)(array(string)),
    timeoutMs: int32,
  },
  response: {
    throttleTimeMs: field(int32, 0),
    responses: array(
      struct({
        name: nullable(string, 6),
        topicId: since(6)(uuid),
        errorCode: int16,
        errorMessage: since(5)(nullable(string), null),
      }),
    ),
  },
});
