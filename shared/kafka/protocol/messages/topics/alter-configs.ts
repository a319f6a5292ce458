import { api } from '../../api.ts';
import { field, struct } from '../../fields.ts';
import { array, bool, int8, int16, int32, nullable, string } from '../../types.ts';

export const ALTER_CONFIGS = api({
  key: 33,
  name: 'AlterConfigs',
  versions: [0, 2],
  flexible: 2,
  request: {
    resources: array(
      struct({
        resourceType: int8,
        resourceName: string,
        configs: array(struct({ name: string, value: nullable(string) })),
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
