import { api } from '../../api.ts';
import { since, struct, tagged } from '../../fields.ts';
import { array, bool, int16, int32, int64, string } from '../../types.ts';

export const API_VERSIONS = api({
  key: 18,
  name: 'ApiVersions',
  versions: [0, 4],
  flexible: 3,
  request: { clientSoftwareName: since(3)(string), clientSoftwareVersion: since(3)(string) },
  response: {
    errorCode: int16,
    apiKeys: array(struct({ apiKey: int16, minVersion: int16, maxVersion: int16 })),
    throttleTimeMs: since(1)(int32, 0),
    supportedFeatures: tagged(0, 3, array(struct({ name: string, minVersion: int16, maxVersion: int16 })), []),
    finalizedFeaturesEpoch: tagged(1, 3, int64, -1),
    finalizedFeatures: tagged(
      2,
      3,
      array(struct({ name: string, maxVersionLevel: int16, minVersionLevel: int16 })),
      [],
    ),
    zkMigrationReady: tagged(3, 3, bool, false),
  },
});
