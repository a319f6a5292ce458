import { api } from '../../api.ts';
import { field, since, struct } from '../../fields.ts';
import { array, bool, int8, int16, int32, nullable, string } from '../../types.ts';

export const DESCRIBE_CONFIGS = api({
  key: 32,
  name: 'DescribeConfigs',
  versions: [1, 4],
  flexible: 4,
  request: {
    resources: array(struct({ resourceType: int8, resourceName: string, configurationKeys: nullable(array(string)) })),
    includeSynonyms: field(bool, false),
    includeDocumentation: since(3)(bool, false),
  },
  response: {
    throttleTimeMs: field(int32, 0),
    results: array(
      struct({
        errorCode: int16,
        errorMessage: nullable(string),
        resourceType: int8,
        resourceName: string,
        configs: array(
          struct({
            name: string,
            value: nullable(string),
            readOnly: bool,
            configSource: field(int8, -1),
            isSensitive: bool,
            synonyms: array(struct({ name: string, value: nullable(string), source: int8 })),
            configType: since(3)(int8, 0),
            documentation: since(3)(nullable(string)),
          }),
        ),
      }),
    ),
  },
});
