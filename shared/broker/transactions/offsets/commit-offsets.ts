import { EventLogError } from '../../../log/errors.ts';
import { checkGroupName } from '../../../log/group/group.ts';
import type { SlotState } from '../../../log/group/offset-page.ts';
import type { ProducerName } from '../../../log/transaction/transaction.ts';
import type { ItemStore } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import { judgeByGeneration } from '../../groups/classic/commit-classic-offsets.ts';
import { groupNotEmpty, hasLiveMember } from '../../groups/no-members.ts';
import {
  type CommitOutcome,
  type CommittingMember,
  ensureListed,
  judgeByOwner,
  type OffsetToCommit,
} from '../../groups/offsets/commit-offsets.ts';
import { type CommitJudge, checkOffsets, commitPages } from '../../groups/offsets/commit-page.ts';
import type { PageName } from '../../groups/offsets/pages.ts';
import { retrying } from '../../retry.ts';
import { NO_TOPIC } from '../../usage/usage-meter.ts';
import type { Completing } from '../complete.ts';
import { enlist } from '../enlist.ts';
import { settlePending } from './settle-pending.ts';

export interface CommitInTransactionRequest {
  readonly transactionalId: string;
  readonly producer: ProducerName;
  readonly group: string;
  /** Who read what the transaction has processed. Absent: nobody is a member (manual assignment). */
  readonly member?: TransactionMember | undefined;
  /** Without `member` the group must have no live member. Default false: it is not asked, as in Kafka. */
  readonly onlyIfEmpty?: boolean | undefined;
  readonly offsets: readonly OffsetToCommit[];
  /**
   * Kafka's transaction.version 2: the pages of offsets are enlisted. Otherwise the group must have been named before
   * (AddOffsetsToTxn).
   */
  readonly enlists: boolean;
}

export type TransactionMember =
  | ({ readonly protocol: 'consumer' } & CommittingMember)
  | {
      readonly protocol: 'classic';
      readonly memberId: string;
      readonly instanceId?: string | undefined;
      readonly generation: number;
    };

/**
 * Makes offsets of a group pending in the open transaction of a producer: they are committed if and when the transaction is.
 * Each partition succeeds or fails by itself; the outcomes are in the order of the request. A member may do it for what it
 * could commit. Repeating a request is safe.
 *
 * For each page (16 partitions of a topic) 1 UpdateItem, 1 GetItem if the page is not in memory, and 1 UpdateItem or GetItem
 * of the transaction; without `enlists` 1 GetItem of it, and 1 UpdateItem if the page is not enlisted. As in `commitOffsets`, 1
 * GetItem of the member for a new epoch; with `onlyIfEmpty` 1 Query of the members for each page.
 * @throws EventLogError `invalid_request`. Outcomes: those of commits and of `enlist`; `concurrent_transactions`: another
 * transaction has pending offsets there
 */
export async function commitOffsetsInTransaction(
  context: BrokerContext,
  completing: Completing,
  request: CommitInTransactionRequest,
): Promise<CommitOutcome[]> {
  const { group, member, onlyIfEmpty = false, offsets } = request;
  checkGroupName(group, 'group');
  checkOffsets(offsets);
  const { items } = context.usage.of(NO_TOPIC, 'group');
  const judge =
    member === undefined
      ? onlyIfEmpty
        ? judgeByAbsence(context, items, group)
        : ANYBODY
      : member.protocol === 'consumer'
        ? judgeByOwner(context, items, group, member)
        : judgeByGeneration(items, { group, ...member });
  if (member === undefined) await retrying(context, 'not_applied', () => ensureListed(context, items, group));
  return commitPages(context, items, group, offsets, new StagingJudge(context, completing, request, judge));
}

/** As a coordinator of Kafka, which does not ask whether the group has members. */
const ANYBODY: CommitJudge = {
  decide: () => 'write',
  errorOf: () => new EventLogError('internal', 'A commit without a member is never refused.'),
  claimOf: ({ owner, fence }) => ({ owner, fence }),
};

/**
 * As a commit outside of transactions without a member. Owners are removed from the slots: a commit of a member that is gone
 * can then not drop what is pending.
 */
function judgeByAbsence(context: BrokerContext, items: ItemStore, group: string): CommitJudge {
  return {
    decide: () => 'ask',
    errorOf: () => groupNotEmpty(group),
    confirm: async () => ((await hasLiveMember(context, items, group)) ? groupNotEmpty(group) : undefined),
    claimOf: ({ fence }) => ({ owner: undefined, fence }),
  };
}

/** Judges like the judge of commits, and enlists the pages before it writes. */
class StagingJudge implements CommitJudge {
  readonly #context: BrokerContext;
  readonly #completing: Completing;
  readonly #request: CommitInTransactionRequest;
  readonly #judge: CommitJudge;
  /** The transaction that the request belongs to, once it is known. */
  #number: number | undefined;

  constructor(context: BrokerContext, completing: Completing, request: CommitInTransactionRequest, judge: CommitJudge) {
    this.#context = context;
    this.#completing = completing;
    this.#request = request;
    this.#judge = judge;
  }

  decide: CommitJudge['decide'] = (entry, slot, hasChanged) => {
    const { pending } = slot;
    const isLate =
      hasChanged && this.#isOwn(slot) && (pending?.committed.offset ?? 0) >= (entry.committed?.offset ?? 0);
    return isLate ? 'done' : this.#judge.decide(entry, slot, false);
  };

  errorOf: CommitJudge['errorOf'] = (entry, slot) => this.#judge.errorOf(entry, slot);
  confirm = (): Promise<EventLogError | undefined> => this.#judge.confirm?.() ?? Promise.resolve(undefined);
  claimOf: CommitJudge['claimOf'] = (slot) => this.#judge.claimOf(slot);

  /**
   * The item is asked after the page was seen. In the other order, a request that stands still in between could write behind
   * the settling of its transaction, and what it wrote would be settled again.
   */
  stage: NonNullable<CommitJudge['stage']> = async (slots, page) => {
    const { producer } = this.#request;
    for (const { pending } of slots) {
      // What is pending of an earlier transaction of this producer is overwritten: that one was settled before it finished.
      if (pending === undefined || pending.producerId === producer.producerId) continue;
      if (await settlePending(this.#context, this.#completing, page, pending)) return 'look_again';
      throw new EventLogError(
        'concurrent_transactions',
        `A transaction of another producer has pending offsets of group '${page.group}'. Send the request again.`,
        { details: { group: page.group } },
      );
    }
    const number = await this.#enlist(page);
    return { producerId: producer.producerId, transaction: number };
  };

  async #enlist(page: PageName): Promise<number> {
    const { transactionalId, producer, group, enlists } = this.#request;
    const { number } = await enlist(this.#context, {
      transactionalId,
      producer,
      participants: { pages: [page] },
      isFresh: !enlists,
      requiredGroup: enlists ? undefined : group,
    });
    this.#number ??= number;
    if (this.#number === number) return number;
    throw new EventLogError(
      'invalid_transaction_state',
      `The transaction of '${transactionalId}' that the offsets belong to has ended meanwhile.`,
      { details: { transactionalId } },
    );
  }

  #isOwn({ pending }: SlotState): boolean {
    return (
      pending !== undefined &&
      pending.producerId === this.#request.producer.producerId &&
      pending.transaction === this.#number
    );
  }
}
