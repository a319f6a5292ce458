import { toHex } from '../../../log/bytes.ts';
import { EventLogError, invalidField } from '../../../log/errors.ts';
import { OWN_IDS } from '../../../log/transaction/check-transactional-id.ts';
import type { ProducerName } from '../../../log/transaction/transaction.ts';
import { answerOf } from '../../../log/transaction/transitions.ts';
import type { StickyPartitions } from '../../append/append-records.ts';
import type { GroupCommit } from '../../append/group-commit.ts';
import { hashOfKey } from '../../append/idempotency-key.ts';
import type { BrokerContext } from '../../context.ts';
import { type AppendedRecord, appendRecordsInTransaction } from '../append/append-records.ts';
import type { Completing } from '../complete.ts';
import { endTransaction } from '../end.ts';
import { initialise } from '../initialise.ts';
import { commitOffsetsInTransaction } from '../offsets/commit-offsets.ts';
import { commitPollInTransaction } from '../offsets/commit-poll.ts';
import { fingerprintOf, packAnswer, unpackAnswer } from './answer.ts';
import type { TransactionRequest } from './request.ts';

/** Who begins a transaction, and with which epoch. */
interface Begun {
  readonly transactionalId: string;
  readonly producer: ProducerName;
}

const TIMEOUT_MS = 60_000;
const ID_BYTES = 12;
/** Transactional ids that nobody used for a week are retired. */
const KEPT_MS = 86_400_000;

/**
 * Whole transactions in one call each: records for any topics, and offsets of groups, all or nothing. A caller without an
 * idempotency key gets a transactional id of this process, which goes on to the next one; a key has an id of its own, under
 * which the answer is kept.
 */
export class WholeTransactions {
  readonly #context: BrokerContext;
  readonly #groupCommit: GroupCommit;
  readonly #completing: Completing;
  readonly #sticky: StickyPartitions;
  /** The transactional ids of this process that are in no transaction, and since when. */
  readonly #idle: (Begun & { readonly sinceMs: number })[] = [];

  constructor(context: BrokerContext, groupCommit: GroupCommit, completing: Completing, sticky: StickyPartitions) {
    this.#context = context;
    this.#groupCommit = groupCommit;
    this.#completing = completing;
    this.#sticky = sticky;
  }

  /**
   * Appends records and commits offsets in one transaction. Returns where the records of each entry are, in order. After an
   * error with the outcome `not_applied` nothing of it will be seen by readers of committed records. One with the outcome
   * `unknown` can be repeated under its idempotency key.
   *
   * Costs the appends, 1 UpdateItem for each page of offsets, 2 to enlist and end, 1 for each head and page to give them the
   * outcome, and 1 to finish; the first one of a process 1 GetItem, 2 PutItems and 2 UpdateItems more, and so does each
   * idempotency key.
   * @throws EventLogError as `appendRecords` and commits of offsets; `concurrent_transactions`: it was aborted since it took
   * more than 60 s, or the same key is in use; with the outcome `unknown`: others ended it when it may have been committed;
   * `idempotency_key_reused`
   */
  async run(request: TransactionRequest): Promise<AppendedRecord[][]> {
    const { entries, offsets = [], idempotencyKey } = request;
    if (entries.length + offsets.length === 0)
      throw invalidField('entries', 'A transaction needs entries, or offsets of a group.');
    if (idempotencyKey !== undefined) return this.#runOnce(request, idempotencyKey);
    const { transactionalId, producer } = this.#takeIdle() ?? (await this.#beginNew());
    const { appended, next } = await this.#commit({ transactionalId, producer }, request, undefined);
    this.#idle.push({ transactionalId, producer: next, sinceMs: this.#context.clock.nowMs() });
    return appended;
  }

  async #runOnce(request: TransactionRequest, key: string): Promise<AppendedRecord[][]> {
    const transactionalId = `${OWN_IDS.key}${toHex(hashOfKey(key))}`;
    const fingerprint = fingerprintOf(request);
    const begun = await this.#beginOnce(transactionalId);
    if ('answer' in begun) return unpackAnswer(begun.answer, fingerprint, request.entries);
    const { appended } = await this.#commit({ transactionalId, producer: begun.producer }, request, fingerprint);
    return appended;
  }

  /** Aborts what another attempt under the key has open, unless one was committed: then it has the answer. */
  async #beginOnce(
    transactionalId: string,
  ): Promise<{ readonly answer: Uint8Array } | { readonly producer: ProducerName }> {
    const transaction = await this.#initialise(transactionalId, true);
    const answer = answerOf(transaction, this.#context.clock.nowMs());
    return answer === undefined ? { producer: transaction.producer } : { answer };
  }

  #initialise(transactionalId: string, once: boolean): ReturnType<typeof initialise> {
    return initialise(this.#context, this.#completing, { transactionalId, timeoutMs: TIMEOUT_MS, once });
  }

  #takeIdle(): Begun | undefined {
    const oldestMs = this.#context.clock.nowMs() - KEPT_MS;
    for (;;) {
      const idle = this.#idle.pop();
      if (idle === undefined || idle.sinceMs >= oldestMs) return idle;
    }
  }

  async #beginNew(): Promise<Begun> {
    const transactionalId = `${OWN_IDS.process}${toHex(this.#context.random.bytes(ID_BYTES))}`;
    const { producer } = await this.#initialise(transactionalId, false);
    return { transactionalId, producer };
  }

  /** `fingerprint`: the answer is kept with it. */
  async #commit(
    begun: Begun,
    request: TransactionRequest,
    fingerprint: Uint8Array | undefined,
  ): Promise<{ readonly appended: AppendedRecord[][]; readonly next: ProducerName }> {
    let answer: Uint8Array | undefined;
    let appended: AppendedRecord[][];
    try {
      appended = await this.#write(begun, request);
      answer = fingerprint && packAnswer(fingerprint, appended);
    } catch (error) {
      await this.#abort(begun, fingerprint === undefined);
      throw isOver(error) ? tookTooLong(error) : notApplied(error);
    }
    try {
      const next = await this.#end(begun, answer);
      return { appended, next };
    } catch (error) {
      if (!isOver(error)) throw error;
      throw error.outcome === 'unknown' ? mayBeCommitted(error) : tookTooLong(error);
    }
  }

  async #write(begun: Begun, { entries, offsets = [], mayRead }: TransactionRequest): Promise<AppendedRecord[][]> {
    const appended =
      entries.length === 0
        ? []
        : await appendRecordsInTransaction(this.#context, this.#groupCommit, this.#sticky, { ...begun, entries });
    for (const ofGroup of offsets) {
      const { group } = ofGroup;
      const outcomes = await ('after' in ofGroup
        ? commitPollInTransaction(this.#context, this.#completing, { ...begun, group, after: ofGroup.after, mayRead })
        : commitOffsetsInTransaction(this.#context, this.#completing, {
            ...begun,
            group,
            member: ofGroup.member && { protocol: 'consumer', ...ofGroup.member },
            onlyIfEmpty: true,
            offsets: ofGroup.offsets,
            enlists: true,
          }));
      for (const outcome of outcomes) if (!outcome.ok) throw outcome.error;
    }
    return appended;
  }

  #end(begun: Begun, answer: Uint8Array | undefined): Promise<ProducerName> {
    const end = { ...begun, outcome: 'committed', raisesEpoch: true, answer } as const;
    return endTransaction(this.#context, this.#completing, end);
  }

  /** Where that fails, whoever is held up does it after the time-out. */
  async #abort(begun: Begun, isOfProcess: boolean): Promise<void> {
    try {
      const end = { ...begun, outcome: 'aborted', raisesEpoch: true } as const;
      const producer = await endTransaction(this.#context, this.#completing, end);
      if (isOfProcess) this.#idle.push({ ...begun, producer, sinceMs: this.#context.clock.nowMs() });
    } catch (error) {
      if (!(error instanceof EventLogError)) throw error;
    }
  }
}

/** Whether others have ended the transaction. */
function isOver(error: unknown): error is EventLogError {
  if (!(error instanceof EventLogError)) return false;
  const { code } = error;
  return code === 'producer_fenced' || code === 'invalid_transaction_state' || code === 'unknown_transactional_id';
}

function tookTooLong(cause: unknown): EventLogError {
  return new EventLogError(
    'concurrent_transactions',
    `The transaction was aborted: it took more than ${TIMEOUT_MS / 1_000} s, or another request with its idempotency key took over. Send it again.`,
    { cause },
  );
}

/** The reply to the commit was lost, and others went on with the id before it was repeated. */
function mayBeCommitted(cause: EventLogError): EventLogError {
  return new EventLogError(
    'concurrent_transactions',
    'Others went on with the transactional id before it was certain whether the transaction was committed.',
    { cause, outcome: 'unknown' },
  );
}

/** What was written before the commit is never seen, whatever became of it. */
function notApplied(error: unknown): unknown {
  if (!(error instanceof EventLogError) || error.outcome === 'not_applied') return error;
  const { code, message, details, retry } = error.cause instanceof EventLogError ? error.cause : error;
  return new EventLogError(code, message, { cause: error, details, retry, outcome: 'not_applied' });
}
