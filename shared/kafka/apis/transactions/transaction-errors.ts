import { EventLogError } from '../../../log/errors.ts';
import { KAFKA_ERRORS, type KafkaErrorNumber } from '../../error-codes.ts';
import { groupError } from '../group-errors.ts';

/**
 * The numbers that clients get for errors of transactions. Clients ask a coordinator, so what should be tried again has the
 * numbers of a coordinator that is busy, or gone. `knowsFenced`: older versions have another number for a producer that was
 * fenced.
 */
export function transactionError({
  error,
  knowsFenced,
}: {
  error: EventLogError;
  knowsFenced: boolean;
}): KafkaErrorNumber {
  if (error.code === 'producer_fenced' && knowsFenced) return KAFKA_ERRORS.PRODUCER_FENCED;
  if (error.code === 'invalid_request' && error.details.field === 'timeoutMs')
    return KAFKA_ERRORS.INVALID_TRANSACTION_TIMEOUT;
  return groupError(error);
}

/** Answers with what `work` gives, or with what `refuse` makes of its error. */
export async function answeringTransaction<Answer>(
  knowsFenced: boolean,
  work: () => Promise<Answer>,
  refuse: (errorCode: KafkaErrorNumber) => Answer,
): Promise<Answer> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof EventLogError)) throw error;
    return refuse(transactionError({ error, knowsFenced }));
  }
}
