import { EventLogError, invalidField } from '../../../log/errors.ts';
import { type ClassicMember, classicKey, endClassic } from '../../../log/group/classic/classic-member.ts';
import { checkGroupName } from '../../../log/group/group.ts';
import { CLASSIC_MEMBERS_MAX } from '../../../log/limits.ts';
import type { ItemStore } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import { retrying } from '../../retry.ts';
import { NO_TOPIC } from '../../usage/usage-meter.ts';
import { raiseEpoch } from '../membership/raise-epoch.ts';
import { fencedInstance, tooManyChanges, unknownClassicMember } from './state/errors.ts';
import { listClassicMembers, readClassicGroup, readClassicMember, storeClassicMember } from './state/items.ts';
import { beginIfMissing, tryCompleteRound } from './state/rounds.ts';

export interface LeavingMember {
  /** Can be empty if `instanceId` is given: an administrator removes whoever uses it. */
  readonly memberId: string;
  readonly instanceId?: string | undefined;
}

export interface LeaveClassicRequest {
  readonly group: string;
  readonly members: readonly LeavingMember[];
}

export type LeaveOutcome = { readonly ok: true } | { readonly ok: false; readonly error: EventLogError };

const TRIES = 8;

/**
 * Members leave a classic group, or are removed from it: Kafka's LeaveGroup. The other members join again at once; in a group of
 * KIP-848 they get its partitions. Each member succeeds or fails by itself; the outcomes are in the order of the request. A
 * member that has left already gives `unknown_member`.
 *
 * For each member 1 GetItem and 1 PutItem; 1 GetItem and 1 UpdateItem for the group.
 * @throws EventLogError `invalid_request`; then nobody has left
 */
export async function leaveClassicGroup(
  context: BrokerContext,
  { group, members }: LeaveClassicRequest,
): Promise<LeaveOutcome[]> {
  checkGroupName(group, 'group');
  if (members.length > CLASSIC_MEMBERS_MAX)
    throw invalidField(
      'members',
      `At most ${CLASSIC_MEMBERS_MAX} members can leave at once; these are ${members.length}.`,
      {
        max: CLASSIC_MEMBERS_MAX,
      },
    );
  for (const { memberId, instanceId } of members) {
    if (instanceId !== undefined) checkGroupName(instanceId, 'members.instanceId');
    if (memberId !== '' || instanceId === undefined) checkGroupName(memberId, 'members.memberId');
  }
  const { items } = context.usage.of(NO_TOPIC, 'group');
  const outcomes: LeaveOutcome[] = [];
  const gone = new Set<string>();
  for (const member of members) outcomes.push(await leaveOne(context, items, group, member, gone));
  if (gone.size > 0) await retrying(context, 'unknown', () => letOthersJoin(context, items, group, gone));
  return outcomes;
}

async function leaveOne(
  context: BrokerContext,
  items: ItemStore,
  group: string,
  leaving: LeavingMember,
  gone: Set<string>,
): Promise<LeaveOutcome> {
  let hasTried = false;
  try {
    await retrying(context, 'from_error', async () => {
      for (let tries = 0; tries < TRIES; tries++) {
        const member = await findMember(items, group, leaving);
        if (member === undefined || (member.isGone && !hasTried)) throw unknownClassicMember({ ...leaving, group });
        if (leaving.memberId !== '' && member.memberId !== leaving.memberId)
          throw fencedInstance(group, leaving.instanceId ?? '');
        hasTried = true;
        if (!member.isGone && (await storeClassicMember(items, group, member, endClassic(member))) === undefined)
          continue;
        gone.add(member.key);
        return;
      }
      throw tooManyChanges(group);
    });
    return { ok: true };
  } catch (error) {
    if (error instanceof EventLogError) return { ok: false, error };
    throw error;
  }
}

/** A static member can be named by its member id alone: then the members are listed. */
async function findMember(
  items: ItemStore,
  group: string,
  { memberId, instanceId }: LeavingMember,
): Promise<ClassicMember | undefined> {
  const found = await readClassicMember(items, group, classicKey(memberId, instanceId));
  if (found !== undefined || instanceId !== undefined) return found;
  return (await listClassicMembers(items, group)).find((member) => member.memberId === memberId);
}

/** The members are ended before. If this process dies in between, a heartbeat of another member finds that one is missing. */
async function letOthersJoin(
  context: BrokerContext,
  items: ItemStore,
  name: string,
  gone: ReadonlySet<string>,
): Promise<void> {
  const group = await readClassicGroup(items, name);
  if (group.type === 'consumer') await raiseEpoch(items, context.random, name);
  if (group.type !== 'classic') return;
  if (!(await beginIfMissing(context, items, name, group, gone)) && group.phase !== 'joining') return;
  // The last one that the others waited for, or the last of all.
  const now = await readClassicGroup(items, name);
  if (now.type === 'classic' && now.phase === 'joining') await tryCompleteRound(context, items, name, now);
}
