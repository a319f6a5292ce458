import { EventLogError } from '../../log/errors.ts';
import type { Action } from '../../log/scopes.ts';
import { KAFKA_ERRORS, type KafkaErrorNumber, kafkaError } from '../error-codes.ts';
import type { Call } from '../handler.ts';

/**
 * The numbers that clients get for errors of groups. Clients ask a coordinator about groups, so what should be tried again has
 * the numbers of a coordinator that is busy, or gone.
 */
export function groupError({ code, details }: EventLogError): KafkaErrorNumber {
  switch (code) {
    case 'throttled':
      return KAFKA_ERRORS.COORDINATOR_LOAD_IN_PROGRESS;
    case 'storage_unavailable':
      return KAFKA_ERRORS.COORDINATOR_NOT_AVAILABLE;
    case 'shutting_down':
      return KAFKA_ERRORS.NOT_COORDINATOR;
    case 'access_denied':
      return KAFKA_ERRORS.GROUP_AUTHORIZATION_FAILED;
    case 'invalid_request':
      return NUMBERS_BY_FIELD[String(details.field)] ?? KAFKA_ERRORS.INVALID_REQUEST;
    default:
      return kafkaError(code);
  }
}

const NUMBERS_BY_FIELD: Readonly<Record<string, KafkaErrorNumber>> = {
  group: KAFKA_ERRORS.INVALID_GROUP_ID,
  sessionTimeoutMs: KAFKA_ERRORS.INVALID_SESSION_TIMEOUT,
  protocolType: KAFKA_ERRORS.INCONSISTENT_GROUP_PROTOCOL,
  protocols: KAFKA_ERRORS.INCONSISTENT_GROUP_PROTOCOL,
  assignor: KAFKA_ERRORS.UNSUPPORTED_ASSIGNOR,
  topicPattern: KAFKA_ERRORS.INVALID_REGULAR_EXPRESSION,
  'offsets.metadata': KAFKA_ERRORS.OFFSET_METADATA_TOO_LARGE,
};

/** @throws EventLogError `access_denied` if the caller has no such right on the group */
export function checkGroupRight({ rights }: Pick<Call, 'rights'>, action: Action | 'any', group: string): void {
  if (rights.onGroup(action, group)) return;
  const right = action === 'any' ? 'any right' : `the right '${action}'`;
  throw new EventLogError('access_denied', `This needs ${right} on group '${group}'.`, { details: { group } });
}

/** Answers with what `work` gives, or with what `refuse` makes of its error. */
export async function answering<Answer>(
  work: () => Promise<Answer>,
  refuse: (errorCode: KafkaErrorNumber, message: string) => Answer,
): Promise<Answer> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof EventLogError)) throw error;
    return refuse(groupError(error), error.message);
  }
}
