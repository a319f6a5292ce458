import type { JoinClassicResult } from '../../../shared/broker/groups/classic/join-classic-group.ts';
import type { EventLogError } from '../../../shared/log/errors.ts';
import { classicKey } from '../../../shared/log/group/classic/classic-member.ts';
import { GROUP, partitionNames, subscriptionBytes } from '../../support/classic-world.ts';
import { GivenUp, LATE_MS_MAX } from '../faulty-processes.ts';
import type { Belief } from './judge.ts';
import { assignAsLeader } from './leader.ts';
import { ALL, codeOfError, REBALANCE_MS, SESSION_MS, TOPICS, type World } from './world.ts';

interface Life {
  readonly life: number;
  readonly slot: number;
  readonly instanceId: string | undefined;
}

/** One life of a consumer by the classic protocol, as Kafka's clients behave: until it leaves, dies, or the run is over. */
export class ClassicConsumer {
  readonly #world: World;
  readonly #slot: number;
  readonly #instanceId: string | undefined;
  readonly #belief: Belief;
  #memberId = '';
  #topics = TOPICS.map(({ name }) => name);
  #generation = -1;

  constructor(world: World, { life, slot, instanceId }: Life) {
    this.#world = world;
    this.#slot = slot;
    this.#instanceId = instanceId;
    this.#belief = { life, key: '', memberId: '', has: new Set() };
  }

  async live(untilMs: number): Promise<void> {
    const { clock, judge, random, isCooperative } = this.#world;
    judge.begin(this.#belief);
    try {
      while (clock.nowMs() < untilMs) {
        if (!isCooperative) await this.#revokeAll();
        if (!this.#world.isHealed && random.below(12) === 0)
          this.#topics = random.below(2) === 0 ? ['wide'] : ['small', 'wide'];
        if (this.#world.isHealed) this.#topics = ['small', 'wide'];
        const joined = await this.#join();
        if (joined === 'stop') return;
        if (joined === undefined) continue;
        const before = this.#generation;
        this.#generation = joined.generation;
        const assigned = await this.#sync(joined);
        if (assigned === 'stop') return;
        if (assigned === undefined) continue;
        const lost = [...this.#belief.has].filter((partition) => !assigned.includes(partition));
        // Under its present generation, a member of a classic group may commit for what others read.
        this.#commitLate(lost[0], before);
        judge.letGo(this.#belief, lost);
        await judge.told(this.#belief, assigned, { byLeader: joined.leader !== '' });
        this.#world.marks.add(assigned.length > 0 ? 'classic reads' : 'classic reads nothing');
        // A cooperative consumer joins again at once, so that others get what it has let go of.
        if (lost.length > 0) continue;
        if ((await this.#read(untilMs)) === 'stop') return;
      }
    } finally {
      this.#commitLate([...this.#belief.has][0]);
      judge.end(this.#belief);
    }
  }

  async #revokeAll(): Promise<void> {
    const [partition] = this.#belief.has;
    if (partition !== undefined && this.#world.random.below(2) === 0) await this.#commit(partition);
    this.#commitLate([...this.#belief.has][1]);
    this.#world.judge.letGo(this.#belief, [...this.#belief.has]);
  }

  async #join(): Promise<JoinClassicResult | 'stop' | undefined> {
    await this.#world.pause();
    const metadata = subscriptionBytes(this.#topics, { owned: [...this.#belief.has] });
    const request = {
      group: GROUP,
      memberId: this.#memberId,
      instanceId: this.#instanceId,
      protocolType: 'consumer',
      protocols: [{ name: 'sticky', metadata }],
      sessionTimeoutMs: SESSION_MS,
      rebalanceTimeoutMs: REBALANCE_MS,
      requiresMemberId: true,
      supportsSkippingAssignment: true,
      clientId: `c${this.#slot}`,
    };
    const result = await this.#attempt(() => this.#world.anyBroker().joinClassicGroup(request), REBALANCE_MS + 5_000);
    if (typeof result !== 'object') return result;
    this.#name(result.memberId);
    return result;
  }

  async #sync(joined: JoinClassicResult): Promise<readonly string[] | 'stop' | undefined> {
    await this.#world.pause();
    const { generation, members, leader, memberId, skipAssignment } = joined;
    const leads = leader === memberId && !skipAssignment;
    const assignments = leads ? assignAsLeader(members, ALL) : [];
    const request = { group: GROUP, memberId, instanceId: this.#instanceId, generation, assignments };
    const result = await this.#attempt(() => this.#world.anyBroker().syncClassicGroup(request), REBALANCE_MS + 5_000);
    return typeof result === 'object' ? partitionNames(result.assignment) : result;
  }

  async #read(untilMs: number): Promise<'stop' | undefined> {
    const { clock, random } = this.#world;
    for (;;) {
      await clock.sleep(300 + random.below(1_500));
      await this.#world.pause();
      if (clock.nowMs() >= untilMs) return 'stop';
      const isFaulty = !this.#world.isHealed;
      if (isFaulty && random.next() < 0.02) return 'stop';
      if (isFaulty && random.next() < 0.02) {
        this.#world.marks.add('classic left');
        this.#world.judge.letGo(this.#belief, [...this.#belief.has]);
        const leaving = { memberId: this.#memberId, instanceId: this.#instanceId };
        const request = { group: GROUP, members: [leaving] };
        await this.#attempt(() => this.#world.anyBroker().leaveClassicGroup(request), 5_000);
        return 'stop';
      }
      if (isFaulty && random.next() < 0.02) return undefined;
      const owned = [...this.#belief.has];
      const partition = owned[random.below(Math.max(1, owned.length))];
      if (partition !== undefined && random.below(2) === 0) await this.#commit(partition);
      const beat = await this.#attempt(() => this.#beat(), 3_000);
      if (beat === 'stop') return 'stop';
      if (beat === undefined && this.#mustJoin) return undefined;
    }
  }

  async #beat(): Promise<'alive'> {
    const named = { group: GROUP, memberId: this.#memberId, instanceId: this.#instanceId };
    await this.#world.anyBroker().heartbeatClassicGroup({ ...named, generation: this.#generation });
    return 'alive';
  }

  /** Sent now, and late: others may read the partition when it arrives. */
  #commitLate(partition: string | undefined, generation = this.#generation): void {
    const { random } = this.#world;
    if (partition === undefined || this.#world.isHealed || random.below(3) > 0) return;
    void this.#commit(partition, generation, random.below(LATE_MS_MAX));
  }

  async #commit(partition: string, generation = this.#generation, lateMs = 0): Promise<void> {
    if (this.#memberId === '' || generation < 0) return;
    const [topic = '', number] = partition.split('/');
    const offset = this.#world.judge.offsetFor(this.#belief, partition);
    const named = { group: GROUP, memberId: this.#memberId, instanceId: this.#instanceId };
    const offsets = [{ topic, partition: Number(number), offset }];
    const request = { ...named, generation, offsets };
    await this.#world.commit(async () => {
      if (lateMs > 0) await this.#world.clock.sleep(lateMs);
      // As the gateway does: the request does not say which protocol its member uses.
      const broker = this.#world.anyBroker();
      if (await broker.usesClassicProtocol(named)) return broker.commitClassicOffsets(request);
      const member = { memberId: named.memberId, instanceId: named.instanceId, memberEpoch: generation };
      return broker.commitOffsets({ group: GROUP, member, offsets });
    }, offset);
  }

  #mustJoin = false;

  /** `undefined`: it failed, and if `#mustJoin` the consumer joins again. */
  async #attempt<T>(send: () => Promise<T>, timeoutMs: number): Promise<T | 'stop' | undefined> {
    const { clock, judge, marks, random } = this.#world;
    this.#mustJoin = false;
    try {
      return await this.#world.once(send, timeoutMs);
    } catch (error) {
      if (error instanceof GivenUp) return undefined;
      const code = codeOfError(error);
      marks.add(code);
      this.#mustJoin = !['throttled', 'storage_unavailable'].includes(code);
      if (code === 'member_id_required') this.#name(String((error as EventLogError).details.memberId));
      else if (code === 'unknown_member' || code === 'illegal_generation') {
        judge.letGo(this.#belief, [...this.#belief.has]);
        if (code === 'unknown_member') this.#name('');
        this.#generation = -1;
      } else if (code === 'fenced_instance_id') return 'stop';
      else if (code !== 'rebalance_in_progress' && this.#mustJoin) judge.problems.push(`a request failed: ${error}`);
      await clock.sleep(random.below(200));
      return undefined;
    }
  }

  #name(memberId: string): void {
    this.#memberId = memberId;
    this.#belief.memberId = memberId;
    this.#belief.key = classicKey(memberId, this.#instanceId);
  }
}
