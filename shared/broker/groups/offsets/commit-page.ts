import { EventLogError, invalidField } from '../../../log/errors.ts';
import type {
  CommittedOffset,
  OffsetPage,
  PendingOffset,
  SlotContent,
  SlotState,
} from '../../../log/group/offset-page.ts';
import { OFFSET_MAX, OFFSET_METADATA_BYTES_MAX } from '../../../log/limits.ts';
import type { ItemStore } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import { bounded } from '../../read/read.ts';
import { retrying } from '../../retry.ts';
import { eachOf } from '../../topics/each-head.ts';
import { byPage, checkPartitions, type PageOf, withTopicIds } from './chosen-partitions.ts';
import { changeSlots, newTag, type PageName, readPage, slotState } from './pages.ts';

/** Commits offsets page by page, for members of either type of group: who may commit is decided by a judge. */

export interface OffsetToCommit {
  readonly topic: string;
  /** The topic must have this id. */
  readonly topicId?: string | undefined;
  readonly partition: number;
  /** The next offset to read. `null`: none, as if the group had never committed one there. A member keeps the partition. */
  readonly offset: number | null;
  readonly leaderEpoch?: number | undefined;
  /** At most 4,096 bytes of UTF-8. */
  readonly metadata?: string | undefined;
}

export type CommitOutcome = { readonly ok: true } | { readonly ok: false; readonly error: EventLogError };

export interface CommitEntry {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  /** `undefined`: from then on nothing is committed. */
  readonly committed: CommittedOffset | undefined;
}

/** Says who may commit to a slot. */
export interface CommitJudge {
  /**
   * `done`: more is committed already. `ask`: the slot does not tell; `confirm` does. `hasChanged`: another change of the slot came
   * while the request was under way.
   */
  decide(entry: CommitEntry, slot: SlotState, hasChanged: boolean): 'write' | 'done' | 'refuse' | 'ask';
  errorOf(entry: CommitEntry, slot: SlotState): EventLogError;
  /**
   * Called after the page was seen in its present state, before each try to write to these slots. Returns how the offsets
   * become pending; without it they are committed at once, and whatever is pending in the slots is dropped.
   */
  stage?(slots: readonly SlotState[], page: PageName): Promise<Staging>;
  /** Called after the page was read: a claim from then on refuses the commit. Returns why the member may not commit. */
  confirm?(): Promise<EventLogError | undefined>;
  /** Who owns the slot after the commit, and under which fence. */
  claimOf(slot: SlotState): Pick<SlotState, 'owner' | 'fence'>;
}

/** Which transaction the offsets belong to; or `look_again`, since pending offsets of another one were just settled. */
export type Staging = Pick<PendingOffset, 'producerId' | 'transaction'> | 'look_again';

const LEADER_EPOCH_MAX = 2 ** 31 - 1;
const TRIES = 8;
const utf8 = new TextEncoder();

/** @throws EventLogError `invalid_request` naming the field */
export function checkOffsets(offsets: readonly OffsetToCommit[]): void {
  checkPartitions(offsets, 'offsets');
  for (const { offset, leaderEpoch = -1, metadata = '' } of offsets) {
    if (offset !== null) bounded('offsets.offset', offset, 0, OFFSET_MAX);
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

/** Whether a slot holds what is to be committed, or more. Nothing is less than every offset. */
export function holdsAsMuch(slot: SlotState, { committed }: CommitEntry): boolean {
  return (slot.committed?.offset ?? -1) >= (committed?.offset ?? -1);
}

/** Commits what exists of the given partitions. `commit` returns an error or none for each of its entries. */
export async function commitEach(
  context: BrokerContext,
  offsets: readonly OffsetToCommit[],
  commit: (entries: readonly CommitEntry[]) => Promise<readonly (EventLogError | undefined)[]>,
): Promise<CommitOutcome[]> {
  const committedAtMs = context.clock.nowMs();
  const found = (await withTopicIds(context, offsets)).map((each): CommitEntry | EventLogError => {
    if (each instanceof EventLogError) return each;
    const { topic, topicId, partition, offset, leaderEpoch = -1, metadata = '' } = each;
    const committed = offset === null ? undefined : { offset, leaderEpoch, committedAtMs, metadata };
    return { topic, topicId, partition, committed };
  });
  const entries = found.flatMap((each) => (each instanceof EventLogError ? [] : [each]));
  const done = entries.length === 0 ? [] : await commit(entries);
  const errors = new Map(entries.map((entry, i) => [entry, done[i]]));
  return found.map((each) => {
    const error = each instanceof EventLogError ? each : errors.get(each);
    return error === undefined ? { ok: true } : { ok: false, error };
  });
}

/** Commits as a member. 1 UpdateItem for each page; 1 GetItem more for a page that is not in memory. */
export function commitPages(
  context: BrokerContext,
  items: ItemStore,
  group: string,
  offsets: readonly OffsetToCommit[],
  judge: CommitJudge,
): Promise<CommitOutcome[]> {
  return commitEach(context, offsets, async (entries) => {
    const errors = new Map<CommitEntry, EventLogError | undefined>();
    await eachOf(byPage(group, entries), async (page) => {
      const done = await commitPage(context, items, judge, page);
      for (const [i, entry] of page.entries.entries()) errors.set(entry, done[i]);
    });
    return entries.map((entry) => errors.get(entry));
  });
}

/** A commit outside of transactions is the newer one, so the group does not go back to what is pending: as in Kafka. */
function contentOf(
  judge: CommitJudge,
  { committed, seen }: CommitEntry & { readonly seen: SlotState },
  staging: Exclude<Staging, 'look_again'> | undefined,
): SlotContent {
  if (staging === undefined) return { ...judge.claimOf(seen), committed };
  const present = { ...judge.claimOf(seen), committed: seen.committed };
  return committed === undefined ? present : { ...present, pending: { ...staging, committed } };
}

async function commitPage(
  context: BrokerContext,
  items: ItemStore,
  judge: CommitJudge,
  { name, entries }: PageOf<CommitEntry>,
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
        const decided = tagged.map((entry) => {
          const slot = slotState(now, entry.partition);
          // It was sent again after a larger commit, or is late, if the slot has changed while the request was under way.
          const hasChanged = first !== undefined && slot.tag !== slotState(first, entry.partition).tag;
          const decision = slot.tag === entry.tag ? ('done' as const) : judge.decide(entry, slot, hasChanged);
          return { ...entry, seen: slot, decision };
        });
        const isAsked = decided.some(({ decision }) => decision === 'ask');
        const refusal = isAsked ? await judge.confirm?.() : undefined;
        const writes = decided.filter(
          ({ decision }) => decision === 'write' || (decision === 'ask' && refusal === undefined),
        );
        if (writes.length === 0) {
          if (first !== undefined)
            return decided.map((each) => {
              if (each.decision === 'ask') return refusal;
              return each.decision === 'refuse' ? judge.errorOf(each, each.seen) : undefined;
            });
          // What is remembered may be from before the member's claim.
          seen = undefined;
          continue;
        }
        const staging = await judge.stage?.(
          writes.map((each) => each.seen),
          name,
        );
        if (staging === 'look_again') {
          seen = undefined;
          continue;
        }
        const result = await changeSlots(
          items,
          context.random,
          name,
          writes.map((each) => ({ ...each, content: contentOf(judge, each, staging) })),
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
