import { api } from '../../api.ts';
import { field, since, struct } from '../../fields.ts';
import { array, bool, int16, int32, int64, nullable, string } from '../../types.ts';

export const DESCRIBE_LOG_DIRS = api({
  key: 35,
  name: 'DescribeLogDirs',
  versions: [1, 5],
  flexible: 2,
  request: { topics: nullable(array(struct({ topic: string, partitions: array(int32) }))) },
  response: {
    throttleTimeMs: field(int32, 0),
    errorCode: since(3)(int16),
    results: array(
      struct({
        errorCode: int16,
        logDir: string,
        topics: array(
          struct({
            name: string,
            partitions: array(
              struct({ partitionIndex: int32, partitionSize: int64, offsetLag: int64, isFutureKey: bool }),
            ),
          }),
        ),
        totalBytes: since(4)(int64, -1),
        usableBytes: since(4)(int64, -1),
        isCordoned: since(5)(bool, false),
      }),
    ),
  },
});
