import { api } from '../../api.ts';
import { field, struct } from '../../fields.ts';
import { array, bool, float64, int8, int16, int32, nullable, string } from '../../types.ts';

export const DESCRIBE_CLIENT_QUOTAS = api({
  key: 48,
  name: 'DescribeClientQuotas',
  versions: [0, 1],
  flexible: 1,
  request: {
    components: array(struct({ entityType: string, matchType: int8, match: nullable(string) })),
    strict: bool,
  },
  response: {
    throttleTimeMs: field(int32, 0),
    errorCode: int16,
    errorMessage: nullable(string),
    entries: nullable(
      array(
        struct({
          entity: array(struct({ entityType: string, entityName: nullable(string) })),
          values: array(struct({ key: string, value: float64 })),
        }),
      ),
    ),
  },
});
