import { unauthenticated } from '../../access/credentials.ts';
import { TOKEN_LENGTH_MAX } from '../../log/limits.ts';
import { type Exchange, type MechanismContext, NO_ANSWER, textOf } from './mechanism.ts';

/** What comes first in the message: no channel binding, and perhaps whom the client acts for, which has no meaning here. */
const HEADER = /^n,(?:a=[^,]*)?,$/;
/** Between the header and the pairs, behind each pair, and at the end. */
const SEPARATOR = '\x01';
const AUTH = 'auth=';
const BEARER = /^bearer +([A-Za-z0-9._~+/-]+=*)$/i;

/**
 * OAUTHBEARER (RFC 7628) with the tokens that HTTP takes. A refusal is answered at once, not by a challenge first: clients
 * that do not look into a challenge would take it for a success.
 */
export function oauthBearer({ credentials }: Pick<MechanismContext, 'credentials'>): Exchange {
  return {
    async take(bytes) {
      const parts = (textOf(bytes) ?? '').split(SEPARATOR);
      const isWhole = HEADER.test(parts[0] ?? '') && parts.at(-1) === '' && parts.at(-2) === '';
      const given = parts.filter((part) => part.startsWith(AUTH)).map((part) => part.slice(AUTH.length));
      const token = isWhole && given.length === 1 ? BEARER.exec(given[0] ?? '')?.[1] : undefined;
      if (token === undefined || token.length > TOKEN_LENGTH_MAX) throw unauthenticated('invalid');
      return { answer: NO_ANSWER, credential: await credentials.check(token) };
    },
  };
}
