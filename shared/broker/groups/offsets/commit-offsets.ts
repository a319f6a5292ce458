import { EventLogError } from '../../../log/errors.ts';
import { checkGroupName } from '../../../log/group/group.ts';
import { memberKey } from '../../../log/group/member.ts';
import type { ItemStore } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import { bounded } from '../../read/read.ts';
import { retrying } from '../../retry.ts';
import { NO_TOPIC } from '../../usage/usage-meter.ts';
import { readGroup, readMember } from '../items.ts';
import { raiseEpoch } from '../membership/raise-epoch.ts';
import { changeUnowned } from './change-unowned.ts';
import {
  type CommitEntry,
  type CommitJudge,
  type CommitOutcome,
  checkOffsets,
  commitEach,
  commitPages,
  holdsAsMuch,
  type OffsetToCommit,
} from './commit-page.ts';

export type { CommitOutcome, OffsetToCommit };

export interface CommittingMember {
  readonly memberId: string;
  readonly instanceId?: string | undefined;
  /** `undefined`: the owner of a partition is judged by its id alone. */
  readonly memberEpoch?: number | undefined;
}

export interface CommitOffsetsRequest {
  readonly group: string;
  /** `undefined`: nobody is a member (manual assignment). The group must have no live member. */
  readonly member?: CommittingMember | undefined;
  /** A partition of which more is committed already succeeds unchanged. Only with `member`; default false. */
  readonly onlyForward?: boolean | undefined;
  readonly offsets: readonly OffsetToCommit[];
}

interface Committing extends CommittingMember {
  readonly onlyForward?: boolean;
}

const EPOCH_MAX = 2 ** 31 - 1;

/**
 * Commits offsets of a group. Each partition succeeds or fails by itself; the outcomes are in the order of the request. A
 * member's commit is accepted for the partitions that it owns, whatever the target is: the others get `fenced_member_epoch`,
 * and so do all under an epoch that the member was never given. Repeating a request is safe.
 *
 * 1 UpdateItem for each page (16 partitions of a topic); 1 GetItem more for a page that is not in memory, and 1 of the member
 * for an epoch above that of the claim, unless this process knows that the member has reached it. Without a member 1
 * GetItem and 1 UpdateItem for each page, 1 Query of the members, 2 GetItems of the group, and 4 writes if the group is new.
 * @throws EventLogError `invalid_request`; then nothing was committed. Without a member: `group_not_empty`
 */
export async function commitOffsets(context: BrokerContext, request: CommitOffsetsRequest): Promise<CommitOutcome[]> {
  checkCommit(request);
  const { group, member, offsets, onlyForward = false } = request;
  const { items } = context.usage.of(NO_TOPIC, 'group');
  if (member !== undefined)
    return commitPages(context, items, group, offsets, judgeByOwner(context, items, group, { ...member, onlyForward }));
  return commitEach(context, offsets, (entries) => commitUnowned(context, items, group, entries));
}

/** A group is listed and made before its first offset. 1 GetItem, and 4 writes if the group is new. */
export async function ensureListed({ random }: BrokerContext, items: ItemStore, group: string): Promise<void> {
  const known = await readGroup(items, group);
  if (known === undefined || known.isDeleted) await raiseEpoch(items, random, group);
}

/** The group is made again if it was deleted meanwhile. */
async function commitUnowned(
  context: BrokerContext,
  items: ItemStore,
  group: string,
  entries: readonly CommitEntry[],
): Promise<(EventLogError | undefined)[]> {
  const ensureGroup = () => ensureListed(context, items, group);
  const changes = entries.map(({ topicId, partition, committed }) => ({ topicId, partition, decide: () => committed }));
  const errors = await changeUnowned(context, items, group, changes, ensureGroup);
  await retrying(context, 'unknown', ensureGroup);
  return errors;
}

/**
 * A member's commit is judged by the owners of the slots. A slot holds the epoch of its claim, and the member may have come to
 * a newer one since: that it has is asked of the member's item, once for each epoch.
 */
export function judgeByOwner(context: BrokerContext, items: ItemStore, group: string, member: Committing): CommitJudge {
  const { memberId, instanceId, memberEpoch, onlyForward = false } = member;
  const key = memberKey(memberId, instanceId);
  return {
    decide: (entry, slot, hasChanged) => {
      const { owner } = slot;
      if (owner === undefined || owner.memberKey !== key || owner.memberId !== memberId) return 'refuse';
      if (memberEpoch !== undefined && memberEpoch < owner.memberEpoch) return 'refuse';
      if ((hasChanged || onlyForward) && holdsAsMuch(slot, entry)) return 'done';
      const isKnown =
        memberEpoch === undefined ||
        memberEpoch === owner.memberEpoch ||
        context.groups.hasReached(group, key, memberEpoch);
      return isKnown ? 'write' : 'ask';
    },
    errorOf: (entry) => fenced(group, member, entry),
    confirm: async () => {
      const { epoch = 0 } = (await readMember(items, group, key)) ?? {};
      context.groups.noteEpoch(group, key, epoch);
      return memberEpoch === undefined || memberEpoch <= epoch ? undefined : notReached(group, memberId, memberEpoch);
    },
    claimOf: ({ owner, fence }) => ({ owner, fence }),
  };
}

function fenced(group: string, { memberId }: CommittingMember, { topic, partition }: CommitEntry): EventLogError {
  return new EventLogError(
    'fenced_member_epoch',
    `Member '${memberId}' of group '${group}' does not own partition ${partition} of topic '${topic}', or has joined again since. Its next heartbeat tells what it owns.`,
    { details: { group, memberId, topic, partition } },
  );
}

function notReached(group: string, memberId: string, memberEpoch: number): EventLogError {
  return new EventLogError(
    'fenced_member_epoch',
    `Member '${memberId}' of group '${group}' has never been given epoch ${memberEpoch}. Its next heartbeat tells its epoch and what it owns.`,
    { details: { group, memberId, memberEpoch } },
  );
}

function checkCommit({ group, member, offsets }: CommitOffsetsRequest): void {
  checkGroupName(group, 'group');
  if (member !== undefined) {
    checkGroupName(member.memberId, 'memberId');
    if (member.instanceId !== undefined) checkGroupName(member.instanceId, 'instanceId');
    if (member.memberEpoch !== undefined) bounded('memberEpoch', member.memberEpoch, 0, EPOCH_MAX);
  }
  checkOffsets(offsets);
}
