import { decodePollToken } from '../../../log/group/poll-token.ts';
import type { BrokerContext } from '../../context.ts';
import type { CommitOutcome } from '../../groups/offsets/commit-page.ts';
import { newOffsets } from '../../groups/offsets/new-offsets.ts';
import type { Completing } from '../complete.ts';
import { type CommitInTransactionRequest, commitOffsetsInTransaction } from './commit-offsets.ts';

export interface CommitPollInTransactionRequest
  extends Pick<CommitInTransactionRequest, 'transactionalId' | 'producer' | 'group'> {
  /** The token of the poll whose records the transaction has processed. */
  readonly after: string;
  /** Default: every topic. */
  readonly mayRead?: ((topic: string) => boolean) | undefined;
}

/**
 * Makes what a poll gave out pending in the open transaction of a producer: see `commitOffsetsInTransaction`, whose cost this
 * has, and that of `newOffsets`. A poll that gave out nothing has nothing to commit.
 * @throws EventLogError `invalid_request`, `access_denied`
 */
export async function commitPollInTransaction(
  context: BrokerContext,
  completing: Completing,
  { after, mayRead, ...request }: CommitPollInTransactionRequest,
): Promise<CommitOutcome[]> {
  const { positions, ...member } = decodePollToken(after, 'after');
  const offsets = await newOffsets(context, positions, mayRead);
  if (offsets.length === 0) return [];
  return commitOffsetsInTransaction(context, completing, {
    ...request,
    member: { protocol: 'consumer', ...member },
    offsets,
    enlists: true,
  });
}
