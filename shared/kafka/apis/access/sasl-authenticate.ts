import { handler } from '../../handler.ts';
import { SASL_AUTHENTICATE } from '../../protocol/messages/access/sasl-authenticate.ts';

/** Takes a token of the mechanism that the handshake chose. */
export const saslAuthenticate = handler(SASL_AUTHENTICATE, 'nothing', ({ session }, { authBytes }) =>
  session.authenticate(authBytes),
);
