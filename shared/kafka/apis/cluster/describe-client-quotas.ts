import { KAFKA_ERRORS } from '../../error-codes.ts';
import { handler } from '../../handler.ts';
import { DESCRIBE_CLIENT_QUOTAS } from '../../protocol/messages/cluster/describe-client-quotas.ts';

/** How an entity is to match: exactly, as the default, or in any way. */
const MATCH_TYPE_MAX = 2;

/** There are none: no client is slowed down by a quota. */
export const describeClientQuotas = handler(DESCRIBE_CLIENT_QUOTAS, 'authentication', async (_call, { components }) => {
  const wrong = components.find(({ matchType }) => matchType < 0 || matchType > MATCH_TYPE_MAX);
  if (wrong === undefined) return { errorCode: KAFKA_ERRORS.NONE, errorMessage: null, entries: [] };
  return {
    errorCode: KAFKA_ERRORS.INVALID_REQUEST,
    errorMessage: `The match type ${wrong.matchType} is not known: it is from 0 to ${MATCH_TYPE_MAX}.`,
    entries: null,
  };
});
