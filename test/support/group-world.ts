import type { BrokerContext } from '../../shared/broker/context.ts';
import { memberFromAttributes, putNewMember, readMember, replaceMember } from '../../shared/broker/groups/items.ts';
import { raiseEpoch } from '../../shared/broker/groups/membership/raise-epoch.ts';
import { changeSlots, pageOf, readPage, slotOf, slotState } from '../../shared/broker/groups/offsets/pages.ts';
import { makeContext } from '../../shared/broker/make-context.ts';
import type { BrokerSettings } from '../../shared/broker/settings.ts';
import { end, type Member, memberKey } from '../../shared/log/group/member.ts';
import type { SlotState } from '../../shared/log/group/offset-page.ts';
import { NO_PARTITIONS } from '../../shared/log/group/partition-set.ts';
import { aroundStores, keyOf, type StoreRequest } from '../../shared/storage/around-stores.ts';
import { topicKey } from '../../shared/storage/keys.ts';
import type { ItemStore, Stores } from '../../shared/storage/ports.ts';
import { type MemoryStores, SeededRandom } from './memory-broker.ts';

let contexts = 0;

/** Each context is a process of its own over the stores. */
export function contextOver(stores: MemoryStores, settings: Partial<BrokerSettings> = {}): BrokerContext {
  return makeContext({ ...stores, random: new SeededRandom(0x6e0 + contexts++), settings });
}

/** The stores with something that happens once, before the first request that `isIt` names. */
export function happeningBefore<S extends Stores>(
  stores: S,
  isIt: (request: StoreRequest, key: string) => boolean,
  happen: () => Promise<unknown>,
): S {
  let hasHappened = false;
  const around = aroundStores(stores, (request, send) => async (...args) => {
    if (!hasHappened && isIt(request, keyOf(args))) {
      hasHappened = true;
      await happen();
    }
    return send(...args);
  });
  return { ...stores, ...around };
}

/** The stores, whose reply to the first request that `isIt` names is lost: the request is carried out. */
export function losingReply<S extends Stores>(
  stores: S,
  isIt: (request: StoreRequest, key: string) => boolean,
  error: Error,
): S {
  let hasLost = false;
  const around = aroundStores(stores, (request, send) => async (...args) => {
    const answer = await send(...args);
    if (hasLost || !isIt(request, keyOf(args))) return answer;
    hasLost = true;
    throw error;
  });
  return { ...stores, ...around };
}

/** A member of a group, as a heartbeat stores it, without what a target gives it. */
export function newMember(nowMs: number, id: string, instanceId?: string): Member {
  return {
    key: memberKey(id, instanceId),
    memberId: id,
    version: 1,
    epoch: 1,
    targetEpoch: 0,
    assigned: NO_PARTITIONS,
    revoking: NO_PARTITIONS,
    wanted: NO_PARTITIONS,
    unclaimed: NO_PARTITIONS,
    subscription: { topics: ['orders'] },
    computedFrom: undefined,
    assignor: undefined,
    seenAtMs: nowMs,
    sessionTimeoutMs: 45_000,
    rebalanceTimeoutMs: 300_000,
    releaseByMs: undefined,
    client: {},
    isAway: false,
    isGone: false,
  };
}

/** What the first heartbeat of a member does. */
export async function join(
  stores: MemoryStores,
  group: string,
  id: string,
  more: Partial<Member> = {},
): Promise<Member> {
  const member = { ...newMember(stores.clock.nowMs(), id), ...more };
  const put = await putNewMember(stores.items, group, member);
  let joined = member;
  if (!put.ok) {
    const seen = memberFromAttributes(member.key, put.attributes ?? {});
    joined = (await replaceMember(stores.items, group, seen, { ...member, epoch: seen.epoch + 1 })) ?? member;
  }
  await raiseEpoch(stores.items, new SeededRandom(contexts++), group);
  return joined;
}

export async function leave(stores: MemoryStores, group: string, id: string): Promise<void> {
  const member = await readMember(stores.items, group, `m:${id}`);
  if (member === undefined) throw new Error(`There is no member ${id}.`);
  await replaceMember(stores.items, group, member, end(member));
  await raiseEpoch(stores.items, new SeededRandom(contexts++), group);
}

/** What a heartbeat does for a partition that a member gets: the owner of the slot, under a new tag. */
export async function claim(
  items: ItemStore,
  group: string,
  { topicId, partition }: { readonly topicId: string; readonly partition: number },
  owner: {
    readonly memberId: string;
    readonly memberKey?: string;
    readonly memberEpoch?: number;
    readonly fence?: number;
  },
): Promise<void> {
  const { memberId, memberKey: key = `m:${memberId}`, memberEpoch = 1, fence = 1 } = owner;
  const name = { group, topicId, page: pageOf(partition) };
  const seen = slotState(await readPage(items, name), partition);
  const content = { ...seen, owner: { memberKey: key, memberId, memberEpoch }, fence };
  const { ok } = await changeSlots(items, new SeededRandom(contexts++), name, [{ partition, seen, content }]);
  if (!ok) throw new Error('The claim was refused.');
}

export async function slotNow(items: ItemStore, group: string, topicId: string, partition: number): Promise<SlotState> {
  return slotState(await readPage(items, { group, topicId, page: pageOf(partition) }), slotOf(partition));
}

export async function topicIdOf(items: ItemStore, topic: string): Promise<string> {
  return String((await items.get(topicKey(topic))).attributes?.id);
}
