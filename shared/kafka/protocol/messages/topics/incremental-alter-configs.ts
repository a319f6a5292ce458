import { api } from '../../api.ts';
import { field, struct } from '../../fields.ts';
import { array, bool, int8, int16, int32, nullable, string } from '../../types.ts';

export const INCREMENTAL_ALTER_CONFIGS = api({
  key: 44,
  name: 'IncrementalAlterConfigs',
  versions: [0, 1],
  flexible: 1,
  request: {
    resources: array(
      struct({
        resourceType: int8,
        resourceName: string,
        configs: array(struct({ name: string, configOperation: int8, value: nullable(string) })),
      }),
    ),
    validateOnly: bool,
  },
  response: {
    throttleTimeMs: field(int32, 0),
    responses: array(
      struct({ errorCode: int16, errorMessage: nullable(string), resourceType: int8, resourceName: string }),
    ),
  },
});
