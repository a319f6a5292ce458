import type { Broker } from '../../../../shared/broker/broker.ts';
import type { EventLogError } from '../../../../shared/log/errors.ts';
import type { AssignedTopic, HeartbeatResult } from '../../../../shared/log/group/heartbeat-result.ts';
import { memberKey } from '../../../../shared/log/group/member.ts';
import { type PartitionSet, partitionSet } from '../../../../shared/log/group/partition-set.ts';
import type { Subscription } from '../../../../shared/log/group/subscription.ts';
import {
  type Belief,
  GROUP,
  type GroupWatch,
  type Place,
  partitionOf,
  type SentCommit,
  topicIdOf,
} from '../../world/watch/group-watch.ts';
import type { World } from '../../world/world.ts';
import type { Client } from '../client.ts';
import { readOnce } from '../read-records.ts';
import { drawSubscription } from './group-topics.ts';

/** A second delivery of a heartbeat or a commit comes up to so much later. */
const SECOND_DELIVERY_MS_MAX = 30_000;
const LATE_HEARTBEAT_MS_MAX = 10_000;
/** A member with this instance id gives up after so many tries to join. */
const JOINS_MAX = 12;
const READ_BYTES = 400;

export interface LifeOptions {
  /** Names the user of the member; no other has this name. */
  readonly user: string;
  readonly memberId: string;
  readonly instanceId?: string | undefined;
  /** Goes on until the run is judged, as it is told. */
  readonly isSteady?: boolean;
  readonly subscription?: Subscription;
}

/**
 * One life of a member: from its join until it leaves, dies, or learns that it is gone. It reads what it is told to, commits
 * what it has read, lets go late, and stands still now and then for longer than its session.
 */
export class MemberLife {
  private readonly client: Client;
  private readonly world: World;
  private readonly watch: GroupWatch;
  private readonly options: LifeOptions;
  private readonly key: string;
  private readonly patience: number;
  /** How often it stands still for a part of its session, while partitions move. */
  private readonly hesitance: number;
  private readonly onlyForward: boolean;
  private subscription: Subscription;
  private epoch = 0;
  private intervalMs = 100;
  private isSettled = false;
  private joins = 0;
  private commits = 0;
  private told: readonly Place[] = [];
  private lettingGo: readonly Place[] = [];
  /** The member epoch under which the member was told last of a place. */
  private readonly toldUnder = new Map<Place, number>();
  private readonly names = new Map<string, string>();
  private readonly positions = new Map<Place, { next: number; committed: number }>();
  /** Commits that were sent and not answered. */
  private readonly open = new Set<SentCommit>();

  constructor(client: Client, options: LifeOptions) {
    this.client = client;
    this.world = client.world;
    this.watch = groupWatchOf(client);
    this.options = options;
    this.key = memberKey(options.memberId, options.instanceId);
    this.patience = client.chance.pick([0, 0.01, 0.04]);
    this.hesitance = client.chance.pick([0, 0.03, 0.15]);
    this.onlyForward = client.chance.chance(0.5);
    this.subscription = options.subscription ?? drawSubscription(client);
  }

  async run(): Promise<void> {
    try {
      while (!this.watch.isJudged && (await this.step()));
    } finally {
      this.told = [];
      this.lettingGo = [];
      this.believe();
    }
    if (this.watch.isJudged && this.epoch > 0) await this.leave(false);
  }

  /** Answers whether the life goes on. */
  private async step(): Promise<boolean> {
    const { client } = this;
    const { chance } = client;
    await client.sleep(chance.chance(0.5) ? this.intervalMs : chance.next() * this.intervalMs);
    if (!this.world.fates.healed && !this.options.isSteady) {
      if (chance.chance(this.patience)) {
        client.mark('member stood still');
        await client.sleep(chance.next() * 3 * sessionMs(client));
      }
      if (!this.isSettled && chance.chance(this.hesitance)) {
        client.mark('member hesitated');
        await client.sleep(chance.next() * 0.9 * sessionMs(client));
      }
      if (chance.chance(0.015)) {
        this.commitTooLate();
        return false;
      }
      if (this.epoch > 0 && chance.chance(0.015)) {
        await this.leave(this.options.instanceId !== undefined && chance.chance(0.5));
        return false;
      }
    }
    if (this.lettingGo.length > 0 && chance.chance(0.7)) {
      if (chance.chance(0.7)) await this.commit();
      else this.commitTooLate();
      this.lettingGo = [];
      this.believe();
    }
    if (!(await this.beat())) return false;
    await this.findPositions();
    const { healed } = this.world.fates;
    if (healed || chance.chance(0.6)) await this.readSome();
    if (!healed && chance.chance(0.3)) client.tracks(this.commit());
    else if (healed || chance.chance(0.5)) await this.commit();
    return true;
  }

  /** Answers whether the life goes on. */
  private async beat(): Promise<boolean> {
    const { client, epoch } = this;
    const { chance } = client;
    if (epoch > 0 && !this.world.fates.healed && chance.chance(0.01)) this.subscription = drawSubscription(client);
    const isChanging = epoch === 0 || chance.chance(0.05);
    const request = {
      group: GROUP,
      memberId: this.options.memberId,
      instanceId: this.options.instanceId,
      memberEpoch: epoch,
      owned: this.owned(),
      sessionTimeoutMs: sessionMs(client),
      rebalanceTimeoutMs: sessionMs(client),
      ...(isChanging ? { subscription: this.subscription } : {}),
    };
    const beat = (broker: Broker): Promise<HeartbeatResult> => broker.heartbeat(request);
    if (!this.world.fates.healed && chance.chance(0.03)) {
      client.mark('heartbeat delivered late');
      const slot = chance.pick(client.slots);
      this.world.loop.at(chance.next() * LATE_HEARTBEAT_MS_MAX, () => void this.world.request(slot, beat));
    }
    const reply = await client.sendRepeatable(beat, SECOND_DELIVERY_MS_MAX);
    if (reply.type === 'error') return this.refused(reply.error);
    if (reply.type === 'answer') {
      if (epoch === 0) this.watch.targets.joined(this.key);
      this.take(reply.value);
    }
    return true;
  }

  private async refused(error: EventLogError): Promise<boolean> {
    const { client } = this;
    if (error.code === 'unknown_member' || error.code === 'fenced_member_epoch') {
      client.mark(`heartbeat: ${error.code}`);
      this.commitTooLate();
      this.told = [];
      this.lettingGo = [];
      this.positions.clear();
      this.epoch = 0;
      this.believe();
      return this.options.isSteady === true || this.world.fates.healed || client.chance.chance(0.6);
    }
    if (error.code === 'instance_in_use' && this.epoch === 0) {
      client.mark('instance in use');
      await client.sleep(1_000);
      return ++this.joins < JOINS_MAX;
    }
    expectGroupError(client, error);
    return true;
  }

  private take(answer: HeartbeatResult): void {
    if (answer.memberEpoch < this.epoch) return;
    this.epoch = answer.memberEpoch;
    this.intervalMs = answer.heartbeatIntervalMs;
    this.isSettled = answer.isSettled;
    const before = new Set(this.told);
    const next = placesOf(answer.assignment);
    for (const { topicId, topic } of answer.assignment) this.names.set(topicId, topic);
    const isTold = new Set(next);
    this.lettingGo = [...this.told, ...this.lettingGo].filter((place) => !isTold.has(place));
    this.told = next;
    for (const place of next) this.toldUnder.set(place, this.epoch);
    // Also what was to be let go: somebody else may have had it meanwhile.
    for (const place of next) if (!before.has(place)) this.positions.delete(place);
    this.client.mark(answer.isSettled ? 'told that it is settled' : 'told to come again soon');
    this.watch.told(this.belief(next));
    this.believe();
  }

  /** Where the group has come to in the partitions that are new to the member. */
  private async findPositions(): Promise<void> {
    const missing = this.told.filter((place) => !this.positions.has(place));
    if (missing.length === 0) return;
    const { epoch } = this;
    const partitions = missing.map((place) => ({ topic: this.nameOf(place), partition: partitionOf(place) }));
    const reply = await this.client.send((broker) => broker.fetchOffsets({ group: GROUP, partitions }));
    if (reply.type === 'error') expectGroupError(this.client, reply.error);
    if (reply.type !== 'answer' || this.epoch !== epoch) return;
    for (const [i, { offset, error }] of reply.value.items.entries()) {
      if (error !== undefined) continue;
      this.positions.set(missing[i] as Place, { next: offset ?? 0, committed: offset ?? 0 });
    }
  }

  private async readSome(): Promise<void> {
    const places = [...this.told, ...this.lettingGo].filter((place) => this.positions.has(place));
    if (places.length === 0) return;
    const { healed } = this.world.fates;
    const how = healed ? {} : { maxBytes: READ_BYTES };
    for (const place of healed ? places : [this.client.chance.pick(places)]) {
      const position = this.positions.get(place);
      if (position === undefined) continue;
      const from = position.next;
      const reply = await this.client.send((broker) =>
        readOnce(broker, this.nameOf(place), partitionOf(place), from, how),
      );
      if (reply.type === 'error') expectGroupError(this.client, reply.error);
      if (reply.type !== 'answer' || this.positions.get(place) !== position) continue;
      this.watch.read(place, from, reply.value.nextOffset);
      position.next = reply.value.nextOffset;
    }
  }

  /** Commits what was read and is not committed yet. */
  private async commit(): Promise<void> {
    const { client, epoch, onlyForward } = this;
    const { memberId, instanceId, user } = this.options;
    const places = [...this.told, ...this.lettingGo].filter((place) => {
      const position = this.positions.get(place);
      if (position === undefined) return false;
      // In the end also what was committed before: a commit that was overtaken may have taken that back.
      return position.next > position.committed || (this.world.fates.healed && position.next > 0);
    });
    if (places.length === 0) return;
    const number = this.commits++;
    const sentAtMs = client.nowMs;
    const commits = places.map((place): SentCommit => {
      const { next } = this.positions.get(place) as { next: number };
      for (const earlier of this.open) if (earlier.place === place) earlier.wasOvertaken = true;
      const name = `${user}:${number}:${place}`;
      return {
        name,
        memberKey: this.key,
        memberId,
        memberEpoch: epoch,
        place,
        offset: next,
        onlyForward,
        wasOvertaken: false,
      };
    });
    for (const commit of commits) {
      this.watch.sending(commit);
      this.open.add(commit);
    }
    const offsets = commits.map(({ place, offset, name }) => ({
      topic: this.nameOf(place),
      partition: partitionOf(place),
      offset,
      metadata: name,
    }));
    const request = { group: GROUP, member: { memberId, instanceId, memberEpoch: epoch }, onlyForward, offsets };
    const send = (broker: Broker): ReturnType<Broker['commitOffsets']> => broker.commitOffsets(request);
    // One that comes late says itself that the offset is to go back, unless it goes forward only.
    const reply = onlyForward ? await client.sendRepeatable(send, SECOND_DELIVERY_MS_MAX) : await client.send(send);
    if (reply.type === 'nothing') return;
    for (const commit of commits) this.open.delete(commit);
    if (reply.type === 'error') return expectGroupError(client, reply.error);
    for (const [i, outcome] of reply.value.entries()) {
      const commit = commits[i] as SentCommit;
      const position = this.positions.get(commit.place);
      if (outcome.ok) {
        this.watch.accepted(commit, sentAtMs);
        if (position !== undefined) position.committed = Math.max(position.committed, commit.offset);
      } else if (outcome.error.code === 'fenced_member_epoch') this.watch.fenced(commit, sentAtMs);
      else expectGroupError(client, outcome.error);
    }
  }

  /** What was read is committed some time later, when the partitions may have another owner, or the member another life. */
  private commitTooLate(): void {
    const { client, epoch, key } = this;
    const { memberId, instanceId, user } = this.options;
    const number = this.commits++;
    const commits = [...this.positions].flatMap(([place, { next }]): SentCommit[] => {
      const name = `${user}:${number}:${place}`;
      const shared = { name, memberKey: key, memberId, memberEpoch: epoch, place, offset: next };
      return next === 0 ? [] : [{ ...shared, onlyForward: true, wasOvertaken: true }];
    });
    if (commits.length === 0 || this.world.fates.healed) return;
    for (const commit of commits) this.watch.sending(commit);
    const offsets = commits.map(({ place, offset, name }) => ({
      topic: this.nameOf(place),
      partition: partitionOf(place),
      offset,
      metadata: name,
    }));
    const request = {
      group: GROUP,
      member: { memberId, instanceId, memberEpoch: epoch },
      // Its member may still be the owner, and have committed more.
      onlyForward: true,
      offsets,
    };
    const slot = client.chance.pick(client.slots);
    this.world.loop.at(client.chance.next() ** 2 * 4 * sessionMs(client), () => {
      client.mark('commit sent too late');
      void this.world.request(slot, (broker) => broker.commitOffsets(request));
    });
  }

  private async leave(willReturn: boolean): Promise<void> {
    const { memberId, instanceId } = this.options;
    this.told = [];
    this.lettingGo = [];
    this.believe();
    const life = this.watch.leaving(this.key);
    const reply = await this.client.sendRepeatable(
      (broker) => broker.leaveGroup({ group: GROUP, memberId, instanceId, willReturn }),
      SECOND_DELIVERY_MS_MAX,
    );
    if (reply.type === 'answer' && !willReturn) this.watch.left(this.key, memberId, life);
    const isOut = reply.type === 'error' && ['unknown_member', 'fenced_member_epoch'].includes(reply.error.code);
    if (reply.type === 'error' && !isOut) expectGroupError(this.client, reply.error);
  }

  private owned(): PartitionSet {
    return partitionSet([...this.told, ...this.lettingGo].map((place) => [topicIdOf(place), partitionOf(place)]));
  }

  private believe(): void {
    this.watch.believe(this.options.user, this.belief([...this.told, ...this.lettingGo]), this.isSettled);
  }

  private belief(places: readonly Place[]): Belief {
    const { memberId } = this.options;
    return {
      memberKey: this.key,
      memberId,
      memberEpoch: this.epoch,
      places: new Map(places.map((place) => [place, this.toldUnder.get(place) ?? this.epoch])),
    };
  }

  private nameOf(place: Place): string {
    return this.names.get(topicIdOf(place)) as string;
  }
}

export function placesOf(assignment: readonly AssignedTopic[]): Place[] {
  return assignment.flatMap(({ topicId, partitions }) => partitions.map((each): Place => `${topicId}/${each}`));
}

export function groupWatchOf({ world }: Client): GroupWatch {
  const { groups } = world.watch;
  if (groups === undefined) throw new Error('This is no run of a consumer group.');
  return groups;
}

export function sessionMs({ world }: Client): number {
  return world.conditions.groups?.sessionTimeoutMs ?? 0;
}

const FINE = ['throttled', 'storage_unavailable', 'unknown_topic', 'unknown_partition'];

/** Whatever faults and the deletion of topics do not account for is a bug. */
export function expectGroupError(client: Client, error: EventLogError, ...others: readonly string[]): void {
  if (!FINE.includes(error.code) && !others.includes(error.code)) client.surprise(`${error.code}: ${error.message}`);
}
