import type { HeartbeatResult } from '../../../shared/broker/groups/membership/heartbeat.ts';
import { memberKey } from '../../../shared/log/group/member.ts';
import { partitionSet } from '../../../shared/log/group/partition-set.ts';
import { GROUP } from '../../support/classic-world.ts';
import { GivenUp, LATE_MS_MAX } from '../faulty-processes.ts';
import type { Belief } from './judge.ts';
import { codeOfError, SESSION_MS, type World } from './world.ts';

interface Life {
  readonly life: number;
  readonly slot: number;
  readonly instanceId: string | undefined;
}

/** One life of a member by KIP-848: until it leaves, is told that it is gone, dies, or the run is over. */
export class ConsumerMember {
  readonly #world: World;
  readonly #instanceId: string | undefined;
  readonly #belief: Belief;
  readonly #ids = new Map<string, string>();
  #epoch = 0;

  constructor(world: World, { life, slot, instanceId }: Life) {
    this.#world = world;
    this.#instanceId = instanceId;
    const memberId = `m${slot}-${life}`;
    this.#belief = { life, key: memberKey(memberId, instanceId), memberId, has: new Set() };
  }

  async live(untilMs: number): Promise<void> {
    const { clock, judge, marks, random } = this.#world;
    judge.begin(this.#belief);
    let told: readonly string[] = [];
    let intervalMs = 100;
    try {
      while (clock.nowMs() < untilMs) {
        await clock.sleep(random.below(2) === 0 ? intervalMs : random.below(intervalMs + 1));
        await this.#world.pause();
        const isFaulty = !this.#world.isHealed;
        if (isFaulty && random.next() < 0.01) return;
        if (isFaulty && random.next() < 0.01) return await this.#leave();
        const [kept] = told;
        if (kept !== undefined && random.below(4) === 0) await this.#commit(kept);
        if (random.below(3) > 0)
          judge.letGo(
            this.#belief,
            [...this.#belief.has].filter((each) => !told.includes(each)),
          );
        const answer = await this.#beat();
        if (answer === 'stop') return;
        if (answer === undefined) continue;
        this.#epoch = answer.memberEpoch;
        intervalMs = answer.heartbeatIntervalMs;
        told = answer.assignment.flatMap(({ topic, topicId, partitions }) =>
          partitions.map((partition) => {
            this.#ids.set(topic, topicId);
            return `${topic}/${partition}`;
          }),
        );
        await judge.told(this.#belief, told);
        if (told.length > 0) marks.add('consumer reads');
      }
    } finally {
      const [partition] = this.#belief.has;
      if (partition !== undefined && !this.#world.isHealed) void this.#commit(partition, random.below(LATE_MS_MAX));
      judge.end(this.#belief);
    }
  }

  async #beat(): Promise<HeartbeatResult | 'stop' | undefined> {
    const { clock, judge, marks } = this.#world;
    const owned = partitionSet(
      [...this.#belief.has].map((each) => {
        const [topic = '', number] = each.split('/');
        return [this.#ids.get(topic) ?? '', Number(number)];
      }),
    );
    const request = {
      group: GROUP,
      memberId: this.#belief.memberId,
      instanceId: this.#instanceId,
      memberEpoch: this.#epoch,
      owned,
      sessionTimeoutMs: SESSION_MS,
      rebalanceTimeoutMs: SESSION_MS,
      ...(this.#epoch === 0 ? { subscription: { topics: ['small', 'wide'] } } : {}),
    };
    try {
      return await this.#world.once(() => this.#world.anyBroker().heartbeat(request), 5_000);
    } catch (error) {
      if (error instanceof GivenUp) return undefined;
      const code = codeOfError(error);
      marks.add(code);
      if (code === 'unknown_member' || code === 'fenced_member_epoch') return 'stop';
      if (code === 'instance_in_use') await clock.sleep(1_000);
      else if (!['throttled', 'storage_unavailable'].includes(code))
        judge.problems.push(`a heartbeat failed: ${error}`);
      return undefined;
    }
  }

  async #leave(): Promise<void> {
    const { judge, marks, random } = this.#world;
    judge.letGo(this.#belief, [...this.#belief.has]);
    const willReturn = this.#instanceId !== undefined && random.below(2) === 0;
    const request = { group: GROUP, memberId: this.#belief.memberId, instanceId: this.#instanceId, willReturn };
    await this.#world.once(() => this.#world.anyBroker().leaveGroup(request), 5_000).catch(() => {});
    marks.add('consumer left');
  }

  async #commit(partition: string, lateMs = 0): Promise<void> {
    const [topic = '', number] = partition.split('/');
    const offset = this.#world.judge.offsetFor(this.#belief, partition);
    const named = { group: GROUP, memberId: this.#belief.memberId, instanceId: this.#instanceId };
    const offsets = [{ topic, partition: Number(number), offset }];
    const epoch = this.#epoch;
    await this.#world.commit(async () => {
      if (lateMs > 0) await this.#world.clock.sleep(lateMs);
      const broker = this.#world.anyBroker();
      if (await broker.usesClassicProtocol(named))
        return broker.commitClassicOffsets({ ...named, generation: epoch, offsets });
      const member = { memberId: named.memberId, instanceId: named.instanceId, memberEpoch: epoch };
      return broker.commitOffsets({ group: GROUP, member, offsets });
    }, offset);
  }
}
