import { invalidField } from '../../log/errors.ts';
import { TRANSACTION_TIMEOUT_MS_MAX } from '../../log/limits.ts';
import type { Clock, Random } from '../../storage/ports.ts';
import type { LogApi } from '../log-api.ts';
import { checkOptionNames } from '../option-names.ts';

export interface TransactionOptions {
  /**
   * The transactional id. A program that is started again under the same id fences what is left of its former life, and
   * aborts what that has open: so each of several instances needs an id of its own. Only one transaction at a time runs under
   * an id, and others wait. Default: ids that are made for this `EventLog`, as many as run at once. They begin with
   * `tailrace.client.`, and a credential needs the right `produce` on them too.
   */
  readonly transactionalId?: string | undefined;
  /**
   * A transaction that is open for longer may be aborted by whoever it holds up. Then it is tried again; but under a given
   * `transactionalId` it fails with `producer_fenced`, since a newer program that uses the id may have aborted it. Another
   * time than the last one's under the id takes a request more. From 1 to 900,000; default 60,000.
   */
  readonly timeoutMs?: number | undefined;
  /** How long the whole is tried again after failures that pass. Default 120,000. With 0 it is tried once. */
  readonly retryMs?: number | undefined;
  /** Aborts the transaction, unless its commit is under way. */
  readonly signal?: AbortSignal | undefined;
}

export interface TransactContext {
  readonly log: LogApi;
  readonly clock: Clock;
  readonly random: Random;
  readonly settings: TransactSettings;
  /** @throws EventLogError */
  topicOf(name: string, signal: AbortSignal): Promise<TopicToWrite>;
}

export interface TopicToWrite {
  readonly partitions: number;
  /** Its `max.message.bytes`. */
  readonly batchBytesMax: number;
}

export interface TransactSettings {
  readonly lingerMs: number;
  /** A request has no more bytes of records than this, but for a single record. */
  readonly requestBytes: number;
  readonly requestRecords: number;
  /** From so many bytes on, `produce` waits until something is sent. */
  readonly bufferBytes: number;
  readonly requestTimeoutMs: number;
  /** How long a request within a transaction is repeated that has no answer. Then the whole is tried again. */
  readonly repeatMs: number;
  /** How long is trusted what is known of a topic. */
  readonly topicMaxAgeMs: number;
  /** How long the end of a transaction is repeated that has no answer. */
  readonly endTimeoutMs: number;
  readonly retryBackoffMs: number;
  readonly retryBackoffMaxMs: number;
}

export const TRANSACT_SETTINGS: TransactSettings = {
  lingerMs: 2,
  requestBytes: 1024 * 1024,
  requestRecords: 5_000,
  bufferBytes: 8 * 1024 * 1024,
  requestTimeoutMs: 30_000,
  repeatMs: 30_000,
  topicMaxAgeMs: 300_000,
  endTimeoutMs: 60_000,
  retryBackoffMs: 50,
  retryBackoffMaxMs: 1_000,
};

const OPTION_NAMES: Readonly<Record<keyof TransactionOptions, true>> = {
  transactionalId: true,
  timeoutMs: true,
  retryMs: true,
  signal: true,
};
const TIMEOUT_MS_DEFAULT = 60_000;
const RETRY_MS_DEFAULT = 120_000;
const RETRY_MS_MAX = 2_147_483_647;

export interface CheckedTransactionOptions extends TransactionOptions {
  readonly timeoutMs: number;
  readonly retryMs: number;
}

/** @throws EventLogError `invalid_request` naming the option */
export function checkTransactionOptions(options: TransactionOptions): CheckedTransactionOptions {
  checkOptionNames(options, OPTION_NAMES, 'A transaction');
  const { transactionalId, timeoutMs = TIMEOUT_MS_DEFAULT, retryMs = RETRY_MS_DEFAULT } = options;
  if (transactionalId === '') throw invalidField('transactionalId', 'A transactional id has at least one byte.');
  if (!Number.isSafeInteger(timeoutMs) || timeoutMs < 1 || timeoutMs > TRANSACTION_TIMEOUT_MS_MAX)
    throw invalidField('timeoutMs', `timeoutMs takes whole milliseconds from 1 to ${TRANSACTION_TIMEOUT_MS_MAX}.`);
  if (!Number.isSafeInteger(retryMs) || retryMs < 0 || retryMs > RETRY_MS_MAX)
    throw invalidField('retryMs', `retryMs takes whole milliseconds from 0 to ${RETRY_MS_MAX}.`);
  return { ...options, timeoutMs, retryMs };
}
