import { api } from '../../api.ts';
import { since } from '../../fields.ts';
import { bytes, int16, int64, nullable, string } from '../../types.ts';

export const SASL_AUTHENTICATE = api({
  key: 36,
  name: 'SaslAuthenticate',
  versions: [0, 2],
  flexible: 2,
  request: { authBytes: bytes },
  response: {
    errorCode: int16,
    errorMessage: nullable(string),
    authBytes: bytes,
    sessionLifetimeMs: since(1)(int64, 0),
  },
});
