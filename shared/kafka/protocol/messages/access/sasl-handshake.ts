import { api } from '../../api.ts';
import { array, int16, string } from '../../types.ts';

export const SASL_HANDSHAKE = api({
  key: 17,
  name: 'SaslHandshake',
  versions: [0, 1],
  request: { mechanism: string },
  response: { errorCode: int16, mechanisms: array(string) },
});
