import { invalidField } from '../errors.ts';
import { TRANSACTION_TIMEOUT_MS_MAX, TRANSACTIONAL_ID_BYTES_MAX } from '../limits.ts';

const utf8 = new TextEncoder();

/** @throws EventLogError `invalid_request` */
export function checkTransactionalId(transactionalId: string): void {
  const bytes = utf8.encode(transactionalId).length;
  if (bytes < 1 || bytes > TRANSACTIONAL_ID_BYTES_MAX)
    throw invalidField(
      'transactionalId',
      `A transactional id must have 1 to ${TRANSACTIONAL_ID_BYTES_MAX} bytes of UTF-8; this has ${bytes}.`,
      { bytesMax: TRANSACTIONAL_ID_BYTES_MAX },
    );
  if (!transactionalId.isWellFormed())
    throw invalidField('transactionalId', 'A transactional id must be well-formed Unicode.');
}

/** How the transactional ids of transactions in one call begin. No caller can be a producer of these. */
export const OWN_IDS = { key: 'tailrace.key.', process: 'tailrace.process.' } as const;

/** Of an id that a caller wants to use. @throws EventLogError `invalid_request` */
export function checkUsableTransactionalId(transactionalId: string): void {
  checkTransactionalId(transactionalId);
  const own = Object.values(OWN_IDS).find((prefix) => transactionalId.startsWith(prefix));
  if (own !== undefined)
    throw invalidField(
      'transactionalId',
      `Transactional ids that begin with ${own} are kept for transactions in one call.`,
    );
}

/** @throws EventLogError `invalid_request` */
export function checkTransactionTimeout(timeoutMs: number): void {
  if (Number.isSafeInteger(timeoutMs) && timeoutMs >= 1 && timeoutMs <= TRANSACTION_TIMEOUT_MS_MAX) return;
  throw invalidField(
    'timeoutMs',
    `The timeout of transactions must be from 1 to ${TRANSACTION_TIMEOUT_MS_MAX} ms, not ${timeoutMs}.`,
    { max: TRANSACTION_TIMEOUT_MS_MAX },
  );
}
