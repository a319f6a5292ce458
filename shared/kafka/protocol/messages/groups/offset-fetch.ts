import { api } from '../../api.ts';
import { between, field, since, struct, until } from '../../fields.ts';
import { array, bool, int16, int32, int64, nullable, string, uuid } from '../../types.ts';

export const OFFSET_FETCH = api({
  key: 9,
  name: 'OffsetFetch',
  versions: [1, 10],
  flexible: 6,
  request: {
    groupId: until(7)(string),
    topics: until(7)(nullable(array(struct({ name: until(7)(string), partitionIndexes: until(7)(array(int32)) })), 2)),
    groups: since(8)(
      array(
        struct({
          groupId: string,
          memberId: since(9)(nullable(string), null),
          memberEpoch: since(9)(int32, -1),
          topics: nullable(
            array(struct({ name: until(9)(string), topicId: since(10)(uuid), partitionIndexes: array(int32) })),
          ),
        }),
      ),
    ),
    requireStable: since(7)(bool, false),
  },
  response: {
    throttleTimeMs: since(3)(int32, 0),
    topics: until(7)(
      array(
        struct({
          name: until(7)(string),
          partitions: until(7)(
            array(
              struct({
                partitionIndex: until(7)(int32),
                committedOffset: until(7)(int64),
                committedLeaderEpoch: between(5, 7)(int32, -1),
                metadata: until(7)(nullable(string)),
                errorCode: until(7)(int16),
              }),
            ),
          ),
        }),
      ),
    ),
    errorCode: between(2, 7)(int16, 0),
    groups: since(8)(
      array(
        struct({
          groupId: string,
          topics: array(
            struct({
              name: until(9)(string),
              topicId: since(10)(uuid),
              partitions: array(
                struct({
                  partitionIndex: int32,
                  committedOffset: int64,
                  committedLeaderEpoch: field(int32, -1),
                  metadata: nullable(string),
                  errorCode: int16,
                }),
              ),
            }),
          ),
          errorCode: field(int16, 0),
        }),
      ),
    ),
  },
});
