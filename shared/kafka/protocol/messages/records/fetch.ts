import { api } from '../../api.ts';
import { field, since, struct, tagged, until } from '../../fields.ts';
import { array, int8, int16, int32, int64, nullable, records, string, uuid, ZERO_UUID } from '../../types.ts';

export const FETCH = api({
  key: 1,
  name: 'Fetch',
  versions: [4, 18],
  flexible: 12,
  request: {
    clusterId: tagged(0, 12, nullable(string), null),
    replicaId: until(14)(int32, -1),
    replicaState: tagged(1, 15, struct({ replicaId: field(int32, -1), replicaEpoch: field(int64, -1) }), {
      replicaId: -1,
      replicaEpoch: -1,
    }),
    maxWaitMs: int32,
    minBytes: int32,
    maxBytes: field(int32, 0x7fffffff),
    isolationLevel: field(int8, 0),
    sessionId: since(7)(int32, 0),
    sessionEpoch: since(7)(int32, -1),
    topics: array(
      struct({
        topic: until(12)(string),
        topicId: since(13)(uuid),
        partitions: array(
          struct({
            partition: int32,
            currentLeaderEpoch: since(9)(int32, -1),
            fetchOffset: int64,
            lastFetchedEpoch: since(12)(int32, -1),
            logStartOffset: since(5)(int64, -1),
            partitionMaxBytes: int32,
            replicaDirectoryId: tagged(0, 17, uuid, ZERO_UUID),
            highWatermark: tagged(1, 18, int64, 2 ** 63),
          }),
        ),
      }),
    ),
    forgottenTopicsData: since(7)(
      array(struct({ topic: until(12)(string), topicId: since(13)(uuid), partitions: array(int32) })),
    ),
    rackId: since(11)(string, ''),
  },
  response: {
    throttleTimeMs: field(int32, 0),
    errorCode: since(7)(int16),
    sessionId: since(7)(int32, 0),
    responses: array(
      struct({
        topic: until(12)(string),
        topicId: since(13)(uuid),
        partitions: array(
          struct({
            partitionIndex: int32,
            errorCode: int16,
            highWatermark: int64,
            lastStableOffset: field(int64, -1),
            logStartOffset: since(5)(int64, -1),
            divergingEpoch: tagged(0, 12, struct({ epoch: field(int32, -1), endOffset: field(int64, -1) }), {
              epoch: -1,
              endOffset: -1,
            }),
            currentLeader: tagged(1, 12, struct({ leaderId: field(int32, -1), leaderEpoch: field(int32, -1) }), {
              leaderId: -1,
              leaderEpoch: -1,
            }),
            snapshotId: tagged(2, 12, struct({ endOffset: field(int64, -1), epoch: field(int32, -1) }), {
              endOffset: -1,
              epoch: -1,
            }),
            abortedTransactions: nullable(array(struct({ producerId: int64, firstOffset: int64 }))),
            preferredReadReplica: since(11)(int32, -1),
            records,
          }),
        ),
      }),
    ),
    nodeEndpoints: tagged(
      0,
      16,
      array(struct({ nodeId: int32, host: string, port: int32, rack: field(nullable(string), null) })),
      [],
    ),
  },
});
