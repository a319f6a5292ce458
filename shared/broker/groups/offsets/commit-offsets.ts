import { EventLogError, invalidField } from '../../../log/errors.ts';
import { checkGroupName } from '../../../log/group/group.ts';
import { memberKey } from '../../../log/group/member.ts';
import type { CommittedOffset, OffsetPage, SlotState } from '../../../log/group/offset-page.ts';
import { OFFSET_MAX, OFFSET_METADATA_BYTES_MAX } from '../../../log/limits.ts';
import type { ItemStore } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import { bounded } from '../../read/read.ts';
import { retrying } from '../../retry.ts';
import { eachOf } from '../../topics/each-head.ts';
import { NO_TOPIC } from '../../usage/usage-meter.ts';
import { readGroup } from '../items.ts';
import { raiseEpoch } from '../membership/raise-epoch.ts';
import { changeUnowned } from './change-unowned.ts';
import { byPage, checkPartitions, type PageOf, withTopicIds } from './chosen-partitions.ts';
import { changeSlots, newTag, readPage, slotState } from './pages.ts';

export interface OffsetToCommit {
  readonly topic: string;
  readonly partition: number;
  /** The next offset to read. */
  readonly offset: number;
  readonly leaderEpoch?: number | undefined;
  /** At most 4,096 bytes of UTF-8. */
  readonly metadata?: string | undefined;
}

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

export type CommitOutcome = { readonly ok: true } | { readonly ok: false; readonly error: EventLogError };

interface Committing extends CommittingMember {
  readonly onlyForward: boolean;
}

interface Entry {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  readonly committed: CommittedOffset;
}

const LEADER_EPOCH_MAX = 2 ** 31 - 1;
const TRIES = 8;
const utf8 = new TextEncoder();

/**
 * Commits offsets of a group. Each partition succeeds or fails by itself; the outcomes are in the order of the request. A
 * member's commit is accepted for the partitions that it owns, whatever the target is: the others get `fenced_member_epoch`.
 * Repeating a request is safe.
 *
 * 1 UpdateItem for each page (16 partitions of a topic); 1 GetItem more for a page that is not in memory. Without a member 1
 * GetItem and 1 UpdateItem for each page, 1 Query of the members, 2 GetItems of the group, and 4 writes if the group is new.
 * @throws EventLogError `invalid_request`; then nothing was committed. Without a member: `group_not_empty`
 */
export async function commitOffsets(context: BrokerContext, request: CommitOffsetsRequest): Promise<CommitOutcome[]> {
  checkCommit(request);
  const { group, member, offsets, onlyForward = false } = request;
  const { items } = context.usage.of(NO_TOPIC, 'group');
  const committedAtMs = context.clock.nowMs();
  const found = (await withTopicIds(context, offsets)).map((each): Entry | EventLogError => {
    if (each instanceof EventLogError) return each;
    const { topic, topicId, partition, offset, leaderEpoch = -1, metadata = '' } = each;
    return { topic, topicId, partition, committed: { offset, leaderEpoch, committedAtMs, metadata } };
  });
  const entries = found.flatMap((each) => (each instanceof EventLogError ? [] : [each]));
  const errors = new Map<Entry, EventLogError | undefined>();
  if (member === undefined) {
    const done = entries.length === 0 ? [] : await commitUnowned(context, items, group, entries);
    for (const [i, entry] of entries.entries()) errors.set(entry, done[i]);
  } else {
    await eachOf(byPage(group, entries), async (page) => {
      const done = await commitPage(context, items, { ...member, onlyForward }, page);
      for (const [i, entry] of page.entries.entries()) errors.set(entry, done[i]);
    });
  }
  return found.map((each) => {
    const error = each instanceof EventLogError ? each : errors.get(each);
    return error === undefined ? { ok: true } : { ok: false, error };
  });
}

/** The group is listed and made before its first offset, and made again if it was deleted meanwhile. */
async function commitUnowned(
  context: BrokerContext,
  items: ItemStore,
  group: string,
  entries: readonly Entry[],
): Promise<(EventLogError | undefined)[]> {
  const ensureGroup = async (): Promise<void> => {
    const known = await readGroup(items, group);
    if (known === undefined || known.isDeleted) await raiseEpoch(items, context.random, group);
  };
  const changes = entries.map(({ topicId, partition, committed }) => ({ topicId, partition, decide: () => committed }));
  const errors = await changeUnowned(context, items, group, changes, ensureGroup);
  await retrying(context, 'unknown', ensureGroup);
  return errors;
}

async function commitPage(
  context: BrokerContext,
  items: ItemStore,
  member: Committing,
  { name, entries }: PageOf<Entry>,
): Promise<(EventLogError | undefined)[]> {
  const { group, topicId, page } = name;
  // One tag for all tries: a slot that has it holds this commit.
  const tagged = entries.map((entry) => ({ ...entry, tag: newTag(context.random) }));
  let seen = context.groups.getPage(group, topicId, page);
  /** The page as it was first seen after the request began. */
  let first: OffsetPage | undefined;
  try {
    return await retrying(context, 'from_error', async () => {
      for (let tries = 0; tries < TRIES; tries++) {
        if (seen === undefined) {
          seen = await readPage(items, name);
          context.groups.putPage(group, topicId, page, seen);
          first ??= seen;
        }
        const now = seen;
        const decided = tagged.map((entry) => ({
          ...entry,
          seen: slotState(now, entry.partition),
          decision: decide(member, entry, now, first),
        }));
        const writes = decided.filter(({ decision }) => decision === 'write');
        if (writes.length === 0) {
          if (first !== undefined)
            return decided.map((each) => (each.decision === 'fenced' ? fenced(group, member, each) : undefined));
          // What is remembered may be from before the member's claim.
          seen = undefined;
          continue;
        }
        const result = await changeSlots(
          items,
          context.random,
          name,
          writes.map(({ partition, committed, tag, seen: slot }) => ({
            partition,
            seen: slot,
            tag,
            content: { owner: slot.owner, fence: slot.fence, committed },
          })),
        );
        seen = result.page;
        first ??= seen;
        context.groups.putPage(group, topicId, page, seen);
      }
      throw new EventLogError('throttled', `Other requests change the offsets of group '${group}' at the same time.`);
    });
  } catch (error) {
    if (error instanceof EventLogError) return entries.map(() => error);
    throw error;
  }
}

function decide(
  { memberId, instanceId, memberEpoch, onlyForward }: Committing,
  { partition, committed, tag }: Entry & { readonly tag: number },
  page: OffsetPage,
  first: OffsetPage | undefined,
): 'write' | 'done' | 'fenced' {
  const slot: SlotState = slotState(page, partition);
  if (slot.tag === tag) return 'done';
  const { owner } = slot;
  if (owner === undefined || owner.memberKey !== memberKey(memberId, instanceId) || owner.memberId !== memberId)
    return 'fenced';
  if (memberEpoch !== undefined && memberEpoch < owner.memberEpoch) return 'fenced';
  // The member has committed more while this request was under way: this one was sent again after it, or is late.
  const hasChanged = first !== undefined && slot.tag !== slotState(first, partition).tag;
  return (hasChanged || onlyForward) && (slot.committed?.offset ?? 0) >= committed.offset ? 'done' : 'write';
}

function fenced(group: string, { memberId }: CommittingMember, { topic, partition }: Entry): EventLogError {
  return new EventLogError(
    'fenced_member_epoch',
    `Member '${memberId}' of group '${group}' does not own partition ${partition} of topic '${topic}', or has joined again since. Its next heartbeat tells what it owns.`,
    { details: { group, memberId, topic, partition } },
  );
}

function checkCommit({ group, member, offsets }: CommitOffsetsRequest): void {
  checkGroupName(group, 'group');
  if (member !== undefined) {
    checkGroupName(member.memberId, 'memberId');
    if (member.instanceId !== undefined) checkGroupName(member.instanceId, 'instanceId');
    if (member.memberEpoch !== undefined) bounded('memberEpoch', member.memberEpoch, 0, LEADER_EPOCH_MAX);
  }
  checkPartitions(offsets, 'offsets');
  for (const { offset, leaderEpoch = -1, metadata = '' } of offsets) {
    bounded('offsets.offset', offset, 0, OFFSET_MAX);
    bounded('offsets.leaderEpoch', leaderEpoch, -1, LEADER_EPOCH_MAX);
    const bytes = utf8.encode(metadata).length;
    if (bytes > OFFSET_METADATA_BYTES_MAX)
      throw invalidField(
        'offsets.metadata',
        `The metadata of a commit can have at most ${OFFSET_METADATA_BYTES_MAX} bytes of UTF-8; this has ${bytes}.`,
        { bytesMax: OFFSET_METADATA_BYTES_MAX },
      );
  }
}
