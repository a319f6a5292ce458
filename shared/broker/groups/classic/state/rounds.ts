import { beginRound, type ClassicGroup, hasGeneration, isDue } from '../../../../log/group/classic/classic-group.ts';
import { type ClassicMember, endClassic, isClassicOverdue } from '../../../../log/group/classic/classic-member.ts';
import { decideRound } from '../../../../log/group/classic/round.ts';
import { CLASSIC_MEMBER, memberItemKey } from '../../../../storage/group-keys.ts';
import type { ItemStore } from '../../../../storage/ports.ts';
import type { BrokerContext } from '../../../context.ts';
import { eachOf } from '../../../topics/each-head.ts';
import { listGroup } from '../../membership/raise-epoch.ts';
import { listClassicMembers, listSomeClassicMembers, moveClassicGroup, storeClassicMember } from './items.ts';
import { putRoster, readRoster } from './stored-parts.ts';

/** Begins and completes the rounds of a classic group. Any request of any member does it, and one of them prevails. */

/** A member that is gone is remembered for this long at least. Until then its late requests find that it is gone. */
const GONE_KEPT_MS = 600_000;
const GONE_DELETED_MAX = 32;

/**
 * The members have to join again. Returns whether this request began the round; if not, another one changed the group.
 * 1 UpdateItem; 1 PutItem more if the group is new.
 */
export async function beginClassicRound(
  context: BrokerContext,
  items: ItemStore,
  name: string,
  group: ClassicGroup,
  {
    rebalanceTimeoutMs = 0,
    hasMembers = false,
  }: { readonly rebalanceTimeoutMs?: number; readonly hasMembers?: boolean } = {},
): Promise<boolean> {
  // Nothing may be stored for a group that is not listed. The member that begins it is stored, so a deletion stops.
  if (group.type === 'none') await listGroup(items, context.random, name);
  const { initialRebalanceDelayMs: initialDelayMs } = context.settings;
  const next = beginRound(group, context.clock.nowMs(), { rebalanceTimeoutMs, initialDelayMs, hasMembers });
  const hasBegun = await moveClassicGroup(items, name, group, next);
  context.classicGroups.changed(name);
  return hasBegun;
}

/**
 * Ends a round if it can end. The group must have been read before this call: the members are listed here, so nobody who
 * joined the round before that is left out. The roster is stored **before** the group names it. Of two processes that
 * complete a round with different members one prevails, and the other's roster is garbage for the sweep. Members that are
 * not in the roster are ended afterwards, on the condition that they are as they were seen.
 *
 * 1 Query for each megabyte of members; if the round ends, 1 PutItem for each 256 KiB of the roster, 1 UpdateItem, and 1
 * PutItem for each member that is ended. Returns whether the group has moved, by this request or another.
 */
export async function tryCompleteRound(
  context: BrokerContext,
  items: ItemStore,
  name: string,
  group: ClassicGroup,
): Promise<boolean> {
  const nowMs = context.clock.nowMs();
  const members = await listClassicMembers(items, name);
  const decision = decideRound(group, members, nowMs);
  if (decision.type === 'wait') return false;
  if (decision.type === 'postpone') {
    await moveClassicGroup(items, name, group, decision.group);
    return true;
  }
  const { group: next, roster, ended } = decision;
  const stored = next.phase === 'empty' ? undefined : await putRoster(context, items, name, next.epoch, roster);
  const hasMoved = await moveClassicGroup(items, name, group, { ...next, roster: stored });
  context.classicGroups.changed(name);
  if (hasMoved) {
    await eachOf(ended, (member) => storeClassicMember(items, name, member, endClassic(member)));
    await forgetGone(items, name, members, nowMs);
  }
  return true;
}

/** Each on the condition that it is as it was read: one that has joined again is kept. */
async function forgetGone(
  items: ItemStore,
  group: string,
  members: readonly ClassicMember[],
  nowMs: number,
): Promise<void> {
  const old = members.filter(({ isGone, seenAtMs }) => isGone && nowMs > seenAtMs + GONE_KEPT_MS);
  await eachOf(old.slice(0, GONE_DELETED_MAX), ({ key, version }) =>
    items.delete(memberItemKey(group, key), [{ if: 'equals', name: CLASSIC_MEMBER.version, value: version }]),
  );
}

/**
 * What a request of a member does for the others: ends members whose sessions have ended among the next ones in the order of
 * keys, and lets the members join again if one of this generation is gone, or its leader has not assigned in time. A member is
 * ended on the condition that it is as it was seen, so a heartbeat in between saves it. Returns whether a round has begun.
 *
 * 1 or 2 Queries; 1 PutItem for each member that is ended, and 1 UpdateItem; the roster if it is not in memory.
 */
export async function lookAfterClassicGroup(
  context: BrokerContext,
  items: ItemStore,
  name: string,
  group: ClassicGroup,
  ownKey: string,
): Promise<boolean> {
  if (!hasGeneration(group)) return false;
  const nowMs = context.clock.nowMs();
  if (group.phase === 'syncing' && isDue(group, nowMs)) return beginAgain(context, items, name, group);
  const watched = await watchedMembers(items, name, ownKey);
  const gone = new Set(watched.filter(({ isGone }) => isGone).map(({ key }) => key));
  for (const member of watched) {
    if (member.isGone || !isClassicOverdue(member, nowMs)) continue;
    if ((await storeClassicMember(items, name, member, endClassic(member))) !== undefined) gone.add(member.key);
  }
  if (gone.size === 0) return false;
  // Whoever ended it may have died before it began the round.
  return beginIfMissing(context, items, name, group, gone);
}

/** Members are gone: if they belong to the present generation, the others have to join again. Returns whether they have. */
export async function beginIfMissing(
  context: BrokerContext,
  items: ItemStore,
  name: string,
  group: ClassicGroup,
  gone: ReadonlySet<string>,
): Promise<boolean> {
  if (!hasGeneration(group)) return false;
  const roster = await readRoster(context, items, name, group);
  const isMissing = roster === undefined || roster.members.some(({ key }) => gone.has(key));
  return isMissing && beginAgain(context, items, name, group);
}

async function beginAgain(
  context: BrokerContext,
  items: ItemStore,
  name: string,
  group: ClassicGroup,
): Promise<boolean> {
  await beginClassicRound(context, items, name, group);
  return true;
}

const WATCHED = 8;
const WATCHED_MORE = 64;
const QUERIES_MAX = 4;

/** The next members in the ring of keys, until one of them is not gone: so every member is watched by a live one. */
async function watchedMembers(items: ItemStore, group: string, ownKey: string): Promise<readonly ClassicMember[]> {
  const watched: ClassicMember[] = [];
  const isWatching = (): boolean => watched.some(({ isGone }) => !isGone);
  let range: { from: string; to?: string } | undefined = { from: `${ownKey}\0` };
  for (let queries = 0; range !== undefined && queries < QUERIES_MAX && !isWatching(); queries++) {
    const limit = queries === 0 ? WATCHED : WATCHED_MORE;
    const found: Awaited<ReturnType<typeof listSomeClassicMembers>> = await listSomeClassicMembers(items, group, {
      ...range,
      limit,
    });
    watched.push(...found.members);
    if (found.next !== undefined) range = { ...range, from: found.next };
    else range = range.to === undefined ? { from: '', to: ownKey } : undefined;
  }
  return watched;
}
