import { api } from '../../api.ts';
import { field, since, struct, tagged, until } from '../../fields.ts';
import { array, int16, int32, int64, nullable, records, string, uuid } from '../../types.ts';

export const PRODUCE = api({
  key: 0,
  name: 'Produce',
  versions: [3, 13],
  flexible: 9,
  request: {
    transactionalId: field(nullable(string), null),
    acks: int16,
    timeoutMs: int32,
    topicData: array(
      struct({
        name: until(12)(string),
        topicId: since(13)(uuid),
        partitionData: array(struct({ index: int32, records: records })),
      }),
    ),
  },
  response: {
    responses: array(
      struct({
        name: until(12)(string),
        topicId: since(13)(uuid),
        partitionResponses: array(
          struct({
            index: int32,
            errorCode: int16,
            baseOffset: int64,
            logAppendTimeMs: field(int64, -1),
            logStartOffset: since(5)(int64, -1),
            recordErrors: since(8)(
              array(struct({ batchIndex: int32, batchIndexErrorMessage: field(nullable(string), null) })),
            ),
            errorMessage: since(8)(nullable(string), null),
            currentLeader: tagged(0, 10, struct({ leaderId: field(int32, -1), leaderEpoch: field(int32, -1) }), {
              leaderId: -1,
              leaderEpoch: -1,
            }),
          }),
        ),
      }),
    ),
    throttleTimeMs: field(int32, 0),
    nodeEndpoints: tagged(
      0,
      10,
      array(struct({ nodeId: int32, host: string, port: int32, rack: field(nullable(string), null) })),
      [],
    ),
  },
});
