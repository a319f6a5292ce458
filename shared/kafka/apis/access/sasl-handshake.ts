import { handler } from '../../handler.ts';
import { SASL_HANDSHAKE } from '../../protocol/messages/access/sasl-handshake.ts';

/** Begins an authentication, or a further one. */
export const saslHandshake = handler(SASL_HANDSHAKE, 'nothing', ({ session, version }, { mechanism }) =>
  session.handshake(mechanism, version),
);
