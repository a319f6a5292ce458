import type { Broker } from '../../../../shared/broker/broker.ts';
import type { JoinClassicResult } from '../../../../shared/broker/groups/classic/join-classic-group.ts';
import type { EventLogError } from '../../../../shared/log/errors.ts';
import { classicKey } from '../../../../shared/log/group/classic/classic-member.ts';
import { assignmentOf, partitionNames } from '../../../support/classic-world.ts';
import { bytes } from '../../../support/memory-broker.ts';
import type { ClassicCommit } from '../../world/watch/classic-offset-watch.ts';
import type { ClassicBelief, ClassicWatch } from '../../world/watch/classic-watch.ts';
import { GROUP, type Place, partitionOf, topicIdOf } from '../../world/watch/group-watch.ts';
import type { Reply, World } from '../../world/world.ts';
import type { Client } from '../client.ts';
import { GROWING_TOPIC, STEADY_TOPIC } from '../in-groups/group-topics.ts';
import { expectGroupError, sessionMs } from '../in-groups/member-life.ts';
import { readOnce } from '../read-records.ts';

const TOPICS = [GROWING_TOPIC, STEADY_TOPIC];
const SECOND_DELIVERY_MS_MAX = 30_000;
const LATE_MS_MAX = 15_000;
const READ_BYTES = 400;
/** A request that waits for other members may take so much longer than their rebalance timeout. */
const WAIT_MS = 15_000;

export interface ClassicLifeOptions {
  /** Names the user of the member; no other has this name. */
  readonly user: string;
  /** A former life's, or empty. */
  readonly memberId: string;
  readonly instanceId?: string | undefined;
  /** Goes on until the run is judged. */
  readonly isSteady?: boolean;
}

/** How a request ended: answered, to be tried again, with a new join, or not at all. */
type Ended<T> = { readonly type: 'answer'; readonly value: T } | { readonly type: 'again' | 'join' | 'over' };

/**
 * One life of a classic consumer: it joins and syncs, reads what it is given, commits what it has read and joins again as it is told,
 * until it leaves, dies or is fenced. It stands still now and then for longer than its session, also between its join and its sync.
 */
export class ClassicLife {
  /** For the next life. */
  memberId: string;
  readonly #client: Client;
  readonly #world: World;
  readonly #watch: ClassicWatch;
  readonly #options: ClassicLifeOptions;
  readonly #patience: number;
  readonly #rebalanceMs: number;
  readonly #sizes = new Map<string, number>();
  readonly #positions = new Map<Place, { next: number; committed: number }>();
  readonly #open = new Set<ClassicCommit>();
  #generation = 0;
  #leads = false;
  #metadata = 0;
  #commits = 0;

  constructor(client: Client, options: ClassicLifeOptions) {
    this.#client = client;
    this.#world = client.world;
    this.#watch = classicWatchOf(client);
    this.#options = options;
    this.memberId = options.memberId;
    this.#patience = client.chance.pick([0, 0.01, 0.04]);
    this.#rebalanceMs = client.chance.pick([4_000, 8_000, 15_000]);
  }

  async run(): Promise<void> {
    const { user } = this.#options;
    while (!this.#watch.isJudged) {
      const joined = await this.#join();
      if (joined === 'over') break;
      if (joined === undefined) continue;
      const belief = await this.#sync(joined);
      if (belief === 'over') break;
      if (belief === undefined) continue;
      const end = await this.#read(belief);
      // An eager consumer gives up its partitions before it joins again.
      this.#watch.believe(user, undefined);
      if (end === 'over') break;
    }
    this.#watch.believe(user, undefined);
    if (this.#watch.isJudged && !this.#watch.dead.has(this.#client.name)) await this.#leave();
  }

  get #key(): string {
    return classicKey(this.memberId, this.#options.instanceId);
  }

  get #isCalm(): boolean {
    return this.#world.fates.healed || this.#options.isSteady === true;
  }

  async #join(): Promise<JoinClassicResult | 'over' | undefined> {
    const { chance } = this.#client;
    if (!this.#isCalm && chance.chance(0.1)) this.#metadata++;
    const request = {
      group: GROUP,
      memberId: this.memberId,
      instanceId: this.#options.instanceId,
      protocolType: 'consumer',
      protocols: [{ name: 'range', metadata: bytes(`${this.#options.instanceId ?? ''} ${this.#metadata}`) }],
      sessionTimeoutMs: sessionMs(this.#client),
      rebalanceTimeoutMs: this.#rebalanceMs,
      requiresMemberId: chance.chance(0.9),
      supportsSkippingAssignment: chance.chance(0.8),
    };
    const join = (broker: Broker): Promise<JoinClassicResult> => broker.joinClassicGroup(request);
    this.#alsoLate('join', join);
    const sentAtMs = this.#client.nowMs;
    const ended = this.#ended(await this.#client.sendRepeatable(join, SECOND_DELIVERY_MS_MAX, this.#waitMs));
    if (ended.type === 'over') return 'over';
    if (ended.type !== 'answer') {
      await this.#client.sleep(chance.next() * 300);
      return undefined;
    }
    this.memberId = ended.value.memberId;
    this.#generation = ended.value.generation;
    this.#watch.joined(this.#key, ended.value, sentAtMs);
    return ended.value;
  }

  async #sync(joined: JoinClassicResult): Promise<ClassicBelief | 'over' | undefined> {
    const { chance } = this.#client;
    const { generation, leader, memberId, skipAssignment, members } = joined;
    this.#leads = leader === memberId;
    if (!this.#isCalm && this.#leads && chance.chance(0.06)) {
      this.#client.mark('leader died before its sync');
      return 'over';
    }
    if (!this.#isCalm && chance.chance(0.05)) {
      this.#client.mark('member stood still before its sync');
      await this.#client.sleep(chance.next() * 2 * this.#rebalanceMs);
    }
    const assignments = this.#leads && !skipAssignment ? await this.#assign(generation, members) : [];
    const { instanceId, user } = this.#options;
    const request = { group: GROUP, memberId, instanceId, generation, assignments };
    const sync = (broker: Broker): ReturnType<Broker['syncClassicGroup']> => broker.syncClassicGroup(request);
    this.#alsoLate('sync', sync);
    const of = { key: this.#key, memberId, generation };
    const sentAtMs = this.#client.nowMs;
    const reply = await this.#client.sendRepeatable(sync, SECOND_DELIVERY_MS_MAX, this.#waitMs);
    const ended = this.#ended(reply, { of, sentAtMs });
    if (ended.type !== 'answer') return ended.type === 'over' ? 'over' : undefined;
    const places = partitionNames(ended.value.assignment).flatMap((name): Place[] => {
      const [topic = '', partition] = name.split('/');
      const topicId = this.#world.watch.topicId(topic);
      return topicId === undefined ? [] : [`${topicId}/${Number(partition)}`];
    });
    const belief = { ...of, places };
    this.#watch.synced(user, belief, ended.value.assignment);
    this.#client.mark(places.length === 0 ? 'classic member reads nothing' : 'classic member reads');
    return belief;
  }

  async #assign(
    generation: number,
    members: JoinClassicResult['members'],
  ): Promise<{ readonly memberId: string; readonly assignment: Uint8Array }[]> {
    await this.#findSizes();
    const all = TOPICS.flatMap((topic) =>
      Array.from({ length: this.#sizes.get(topic) ?? 0 }, (_, partition) => ({ topic, partition })),
    );
    return members.map(({ memberId }, i) => {
      const own = all.filter((_, at) => (at + generation) % members.length === i);
      const byTopic = Map.groupBy(own, ({ topic }) => topic);
      const named = [...byTopic].map(([topic, each]) => [topic, each.map(({ partition }) => partition)]);
      return { memberId, assignment: assignmentOf(Object.fromEntries(named)) };
    });
  }

  /** Returns whether a topic has more partitions than it was last known to have. */
  async #findSizes(): Promise<boolean> {
    let hasGrown = false;
    for (const topic of TOPICS) {
      const reply = await this.#client.send((broker) => broker.describeTopic(topic));
      if (reply.type === 'error') expectGroupError(this.#client, reply.error);
      if (reply.type !== 'answer') continue;
      const known = this.#sizes.get(topic) ?? 0;
      hasGrown ||= known > 0 && reply.value.partitions > known;
      this.#sizes.set(topic, Math.max(known, reply.value.partitions));
    }
    return hasGrown;
  }

  /** Until it has to join again, or its life is over. */
  async #read(belief: ClassicBelief): Promise<'join' | 'over'> {
    const { chance } = this.#client;
    this.#positions.clear();
    const { generation, memberId, key } = belief;
    const { instanceId } = this.#options;
    const of = { key, memberId, generation };
    for (;;) {
      await this.#client.sleep(chance.next() * 1_500);
      if (this.#watch.isJudged || this.#watch.dead.has(this.#client.name)) return 'over';
      if (!this.#isCalm) {
        if (chance.chance(this.#patience)) {
          this.#client.mark('classic member stood still');
          await this.#client.sleep(chance.next() * 3 * sessionMs(this.#client));
        }
        if (chance.chance(0.02)) {
          this.#commitTooLate(belief);
          return 'over';
        }
        if (chance.chance(0.02)) {
          this.#commitTooLate(belief);
          await this.#leave();
          return 'over';
        }
        if (chance.chance(0.02)) return 'join';
      }
      await this.#findPositions(belief);
      await this.#readSome();
      if (this.#isCalm || chance.chance(0.5)) await this.#commit(belief);
      else if (chance.chance(0.4)) this.#client.tracks(this.#commit(belief));
      const request = { group: GROUP, memberId, instanceId, generation };
      const beat = (broker: Broker): Promise<void> => broker.heartbeatClassicGroup(request);
      this.#alsoLate('heartbeat', beat);
      const sentAtMs = this.#client.nowMs;
      const ended = this.#ended(await this.#client.sendRepeatable(beat, SECOND_DELIVERY_MS_MAX), { of, sentAtMs });
      if (ended.type === 'answer') this.#watch.acceptedIn(of, sentAtMs);
      if (ended.type === 'join' || ended.type === 'over') {
        if (chance.chance(0.4)) await this.#commit(belief);
        else if (!this.#isCalm) this.#commitTooLate(belief);
        return ended.type;
      }
      if (this.#leads && (this.#isCalm || chance.chance(0.2)) && (await this.#findSizes())) {
        this.#client.mark('leader joins again for a topic that grew');
        return 'join';
      }
    }
  }

  async #findPositions({ places, generation }: ClassicBelief): Promise<void> {
    const missing = places.filter((place) => !this.#positions.has(place));
    if (missing.length === 0) return;
    const partitions = missing.map((place) => ({ topic: nameOf(this.#world, place), partition: partitionOf(place) }));
    const askedAtMs = this.#client.nowMs;
    const reply = await this.#client.send((broker) => broker.fetchOffsets({ group: GROUP, partitions }));
    if (reply.type === 'error') expectGroupError(this.#client, reply.error);
    if (reply.type !== 'answer' || this.#generation !== generation) return;
    for (const [i, { offset, error }] of reply.value.items.entries()) {
      const place = missing[i] as Place;
      if (error !== undefined) continue;
      this.#watch.offsets.fetched(place, offset ?? undefined, askedAtMs);
      this.#positions.set(place, { next: offset ?? 0, committed: offset ?? 0 });
    }
  }

  async #readSome(): Promise<void> {
    const places = [...this.#positions.keys()];
    if (places.length === 0) return;
    const how = this.#world.fates.healed ? {} : { maxBytes: READ_BYTES };
    for (const place of this.#world.fates.healed ? places : [this.#client.chance.pick(places)]) {
      const position = this.#positions.get(place) as { next: number };
      const from = position.next;
      const reply = await this.#client.send((broker) =>
        readOnce(broker, nameOf(this.#world, place), partitionOf(place), from, how),
      );
      if (reply.type === 'error') expectGroupError(this.#client, reply.error);
      if (reply.type !== 'answer') continue;
      this.#watch.offsets.read(place, from, reply.value.nextOffset);
      position.next = reply.value.nextOffset;
    }
  }

  async #commit(belief: ClassicBelief): Promise<void> {
    const commits = this.#commitsOf(belief, ({ next, committed }) => next > committed || (this.#isCalm && next > 0));
    if (commits.length === 0) return;
    for (const { place } of commits)
      for (const earlier of this.#open) if (earlier.place === place) earlier.wasOvertaken = true;
    for (const commit of commits) this.#open.add(commit);
    const sentAtMs = this.#client.nowMs;
    const reply = await this.#client.send((broker) => broker.commitClassicOffsets(this.#requestOf(belief, commits)));
    if (reply.type === 'nothing') return;
    for (const commit of commits) this.#open.delete(commit);
    if (reply.type === 'error') {
      expectGroupError(this.#client, reply.error);
      return;
    }
    for (const [i, outcome] of reply.value.entries()) {
      const commit = commits[i] as ClassicCommit;
      const position = this.#positions.get(commit.place);
      if (outcome.ok) {
        this.#watch.offsets.accepted(commit, sentAtMs);
        this.#client.mark('classic commit accepted');
        if (position !== undefined) position.committed = Math.max(position.committed, commit.offset);
      } else if (OF_GENERATIONS.includes(outcome.error.code)) this.#watch.offsets.refused(commit, outcome.error.code);
      else expectGroupError(this.#client, outcome.error);
    }
  }

  /** What was read is committed some time later, when a newer generation may have the partitions. */
  #commitTooLate(belief: ClassicBelief): void {
    const commits = this.#commitsOf(belief, ({ next }) => next > 0);
    if (commits.length === 0 || this.#world.fates.healed) return;
    for (const commit of commits) commit.wasOvertaken = true;
    const slot = this.#client.chance.pick(this.#client.slots);
    const request = this.#requestOf(belief, commits);
    this.#world.loop.at(this.#client.chance.next() ** 2 * 4 * sessionMs(this.#client), () => {
      this.#client.mark('classic commit sent too late');
      void this.#world.request(slot, (broker) => broker.commitClassicOffsets(request));
    });
  }

  #commitsOf(
    { key, memberId, generation }: ClassicBelief,
    which: (position: { readonly next: number; readonly committed: number }) => boolean,
  ): ClassicCommit[] {
    const number = this.#commits++;
    const commits = [...this.#positions].flatMap(([place, position]): ClassicCommit[] => {
      const name = `${this.#options.user}:${number}:${place}`;
      const offset = position.next;
      return which(position) ? [{ name, key, memberId, generation, place, offset, wasOvertaken: false }] : [];
    });
    for (const commit of commits) this.#watch.offsets.sending(commit);
    return commits;
  }

  #requestOf({ memberId, generation }: ClassicBelief, commits: readonly ClassicCommit[]) {
    const offsets = commits.map(({ place, offset, name }) => ({
      topic: nameOf(this.#world, place),
      partition: partitionOf(place),
      offset,
      metadata: name,
    }));
    return { group: GROUP, memberId, instanceId: this.#options.instanceId, generation, offsets };
  }

  async #leave(): Promise<void> {
    const { memberId } = this;
    if (memberId === '') return;
    const key = this.#key;
    this.#watch.believe(this.#options.user, undefined);
    this.#watch.leaving(key);
    const members = [{ memberId, instanceId: this.#options.instanceId }];
    const reply = await this.#client.sendRepeatable(
      (broker) => broker.leaveClassicGroup({ group: GROUP, members }),
      SECOND_DELIVERY_MS_MAX,
    );
    if (reply.type === 'error') expectGroupError(this.#client, reply.error);
    if (reply.type !== 'answer') return;
    const [outcome] = reply.value;
    if (outcome?.ok) {
      this.#watch.left(key, memberId);
      this.#client.mark('classic member left');
    } else if (outcome !== undefined) expectGroupError(this.#client, outcome.error, ...OF_GENERATIONS);
  }

  /** The same request arrives again much later, through any process. Nobody hears the answer. */
  #alsoLate(what: string, send: (broker: Broker) => Promise<unknown>): void {
    const { chance, slots } = this.#client;
    if (this.#isCalm || !chance.chance(0.02)) return;
    this.#client.mark(`classic ${what} delivered late`);
    const slot = chance.pick(slots);
    this.#world.loop.at(chance.next() * LATE_MS_MAX, () => void this.#world.request(slot, send, undefined, WAIT_MS));
  }

  get #waitMs(): number {
    return this.#rebalanceMs + WAIT_MS;
  }

  #ended<T>(
    reply: Reply<T>,
    within?: { readonly of: Omit<ClassicBelief, 'places'>; readonly sentAtMs: number },
  ): Ended<T> {
    if (reply.type === 'answer') return { type: 'answer', value: reply.value };
    if (reply.type === 'nothing') return { type: 'again' };
    return this.#refused(reply.error, within);
  }

  #refused(
    error: EventLogError,
    within: { readonly of: Omit<ClassicBelief, 'places'>; readonly sentAtMs: number } | undefined,
  ): Ended<never> {
    const { code } = error;
    if (code === 'member_id_required') {
      this.memberId = String(error.details.memberId);
      return { type: 'join' };
    }
    if (within !== undefined && OF_GENERATIONS.includes(code)) this.#watch.refusedIn(within.of, code, within.sentAtMs);
    if (code === 'unknown_member') this.memberId = '';
    if (code === 'fenced_instance_id') {
      // Another user of the instance id is the member now.
      this.memberId = '';
      return { type: 'over' };
    }
    if (OF_GENERATIONS.includes(code)) return { type: 'join' };
    expectGroupError(this.#client, error);
    return { type: 'again' };
  }
}

const OF_GENERATIONS = ['unknown_member', 'fenced_instance_id', 'illegal_generation', 'rebalance_in_progress'];

function nameOf({ watch }: World, place: Place): string {
  return TOPICS.find((topic) => watch.topicId(topic) === topicIdOf(place)) as string;
}

export function classicWatchOf({ world }: Client): ClassicWatch {
  const { classic } = world.watch;
  if (classic === undefined) throw new Error('This is no run of a classic group.');
  return classic;
}
