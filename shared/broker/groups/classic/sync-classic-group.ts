import { invalidField } from '../../../log/errors.ts';
import { type ClassicGroup, finishSync } from '../../../log/group/classic/classic-group.ts';
import { type ClassicMember, classicKey } from '../../../log/group/classic/classic-member.ts';
import { CONSUMER_PROTOCOL } from '../../../log/group/classic/consumer-subscription.ts';
import type { Roster } from '../../../log/group/classic/generation.ts';
import { CLASSIC_GENERATION_BYTES_MAX } from '../../../log/limits.ts';
import type { ItemStore } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import { retrying } from '../../retry.ts';
import { NO_TOPIC } from '../../usage/usage-meter.ts';
import { syncUpgradedGroup } from '../upgrade/sync-upgraded-group.ts';
import { claimAssignment } from './claim-assignment.ts';
import { checkGeneration, checkInGeneration, lookAfterIfTime, touchMember } from './heartbeat-classic-group.ts';
import { illegalGeneration, inconsistentProtocol, rebalanceInProgress, unknownClassicMember } from './state/errors.ts';
import { moveClassicGroup, readClassicGroup } from './state/items.ts';
import { beginClassicRound } from './state/rounds.ts';
import { putAssignment, readAssignment, readRoster } from './state/stored-parts.ts';
import { LOOK_EVERY_MS, waitForLook } from './state/wait.ts';
import type { SyncClassicRequest, SyncClassicResult } from './sync-request.ts';

/**
 * A member of a generation gets what the leader assigns to it: Kafka's SyncGroup. The leader's request stores what it assigns;
 * the others wait for it, until the rebalance timeout. Before the answer the partitions are claimed for the generation: from
 * then on no commit of an older one is accepted for them. Repeating it is safe, and gives the same.
 *
 * 1 UpdateItem and 1 GetItem, and the roster and the assignment if they are not in memory; from the leader 1 PutItem for each
 * 256 KiB and 1 UpdateItem; for each 16 partitions of a topic 1 GetItem and 1 UpdateItem. While it waits, 1 GetItem every
 * 200 ms for all waiting members of the process. In a group of KIP-848 see `syncUpgradedGroup`.
 * @throws EventLogError `invalid_request`, `unknown_member`, `fenced_instance_id`, `illegal_generation`,
 * `rebalance_in_progress`, `inconsistent_group_protocol`, `shutting_down` (the signal was aborted), `throttled`
 */
export async function syncClassicGroup(
  context: BrokerContext,
  request: SyncClassicRequest,
): Promise<SyncClassicResult> {
  checkInGeneration(request);
  const bytes = request.assignments.reduce((sum, { assignment }) => sum + assignment.length, 0);
  if (bytes > CLASSIC_GENERATION_BYTES_MAX)
    throw invalidField(
      'assignments',
      `The assignments of a generation can have at most ${CLASSIC_GENERATION_BYTES_MAX} bytes together; these have ${bytes}.`,
      { bytesMax: CLASSIC_GENERATION_BYTES_MAX },
    );
  const { items } = context.usage.of(NO_TOPIC, 'group');
  return new Sync(context, items, request).run();
}

class Sync {
  readonly #context: BrokerContext;
  readonly #items: ItemStore;
  readonly #request: SyncClassicRequest;
  readonly #key: string;
  #seenAtMs = 0;

  constructor(context: BrokerContext, items: ItemStore, request: SyncClassicRequest) {
    this.#context = context;
    this.#items = items;
    this.#request = request;
    this.#key = classicKey(request.memberId, request.instanceId);
  }

  async run(): Promise<SyncClassicResult> {
    const { group: name, memberId, signal } = this.#request;
    const { classicGroups, clock } = this.#context;
    let member = await this.#touch();
    let isFirst = true;
    for (;;) {
      const change = classicGroups.nextChange(name);
      try {
        const read = (): Promise<ClassicGroup> =>
          retrying(this.#context, 'from_error', () => readClassicGroup(this.#items, name));
        const group = isFirst
          ? await read()
          : await classicGroups.lookTogether(name, clock.nowMs(), LOOK_EVERY_MS, read);
        if (group.type === 'consumer')
          return await retrying(this.#context, 'from_error', () =>
            syncUpgradedGroup(this.#context, this.#items, this.#request, this.#key),
          );
        this.#check(group, isFirst);
        isFirst = false;
        const roster = await retrying(this.#context, 'from_error', () =>
          readRoster(this.#context, this.#items, name, group),
        );
        if (roster === undefined) return await this.#beginAgain(group);
        if (!roster.members.some(({ key }) => key === this.#key)) throw unknownClassicMember({ group: name, memberId });
        if (group.phase === 'stable') return await this.#result(group);
        if (group.leader === this.#key && this.#isListed(roster)) {
          await retrying(this.#context, 'from_error', () => this.#assign(group, roster));
          continue;
        }
        if (clock.nowMs() - this.#seenAtMs >= member.sessionTimeoutMs / 3) member = await this.#touch();
        if (await this.#mustJoinAgain(group, member)) throw rebalanceInProgress(name);
        await waitForLook(this.#context, name, change, signal);
      } finally {
        change.stop();
      }
    }
  }

  /** A wait that ends with another generation is the end of this one. */
  #check(group: ClassicGroup, isFirst: boolean): void {
    const { group: name, generation, protocolType, protocol } = this.#request;
    if (isFirst) checkGeneration(group, this.#request);
    else if (group.type !== 'classic' || group.epoch !== generation) throw rebalanceInProgress(name);
    if (group.phase === 'joining') throw rebalanceInProgress(name);
    const isOther = (given: string | undefined, present: string | undefined): boolean =>
      given !== undefined && given !== present;
    if (isOther(protocolType, group.protocolType) || isOther(protocol, group.protocol))
      throw inconsistentProtocol(name);
  }

  /** The leader of the generation is this very member, and not one that has taken its place since. */
  #isListed({ members }: Roster): boolean {
    return members.some(({ key, memberId }) => key === this.#key && memberId === this.#request.memberId);
  }

  /** Of two requests of the leader the first one prevails, and both are answered with what it stored. */
  async #assign(group: ClassicGroup, { members }: Roster): Promise<void> {
    const { group: name, assignments } = this.#request;
    const byId = new Map(assignments.map(({ memberId, assignment }) => [memberId, assignment]));
    const assigned = new Map(members.map(({ key, memberId }) => [key, byId.get(memberId) ?? new Uint8Array()]));
    const stored = await putAssignment(this.#context, this.#items, name, group.epoch, assigned);
    await moveClassicGroup(this.#items, name, group, finishSync(group, stored));
    this.#context.classicGroups.changed(name);
  }

  async #result(group: ClassicGroup): Promise<SyncClassicResult> {
    const { group: name, memberId, instanceId, generation } = this.#request;
    const all = await retrying(this.#context, 'from_error', () =>
      readAssignment(this.#context, this.#items, name, group),
    );
    if (all === undefined) return this.#beginAgain(group);
    const { protocolType = '', protocol = '' } = group;
    const assignment = all.get(this.#key) ?? new Uint8Array();
    const claimant = { group: name, key: this.#key, memberId, instanceId, generation };
    if (protocolType === CONSUMER_PROTOCOL)
      await retrying(this.#context, 'from_error', () =>
        claimAssignment(this.#context, this.#items, claimant, assignment),
      );
    return { protocolType, protocol, assignment };
  }

  async #touch(): Promise<ClassicMember> {
    const { member } = await retrying(this.#context, 'from_error', () =>
      touchMember(this.#context, this.#items, this.#request),
    );
    this.#seenAtMs = this.#context.clock.nowMs();
    return member;
  }

  #mustJoinAgain(group: ClassicGroup, member: ClassicMember): Promise<boolean> {
    const { group: name } = this.#request;
    return retrying(this.#context, 'from_error', () =>
      lookAfterIfTime(this.#context, this.#items, name, group, member),
    );
  }

  /** What the generation refers to is gone: a process that slept for an hour named what had been swept. */
  async #beginAgain(group: ClassicGroup): Promise<never> {
    const { group: name, generation } = this.#request;
    if (group.epoch !== generation) throw illegalGeneration(name, generation, group.epoch);
    await retrying(this.#context, 'from_error', () => beginClassicRound(this.#context, this.#items, name, group));
    throw rebalanceInProgress(name);
  }
}
