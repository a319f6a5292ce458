import type { Broker } from '../../shared/broker/broker.ts';
import type { JoinClassicRequest, JoinClassicResult } from '../../shared/broker/groups/classic/join-classic-group.ts';
import type { HeartbeatResult } from '../../shared/broker/groups/membership/heartbeat.ts';
import { partitionSet } from '../../shared/log/group/partition-set.ts';
import { GROUP, joinRequest, partitionNames, subscriptionBytes } from './classic-world.ts';
import { codeOf } from './memory-broker.ts';
import type { SimulatedClock } from './simulated-clock.ts';

/** Longer than a test takes. */
const SESSION_MS = 300_000;

/** Clients of both protocols in one group, which reads the topic `orders`. */
export class UpgradeWorld {
  readonly #broker: Broker;
  readonly #clock: SimulatedClock;

  constructor(broker: Broker, clock: SimulatedClock) {
    this.#broker = broker;
    this.#clock = clock;
  }

  /** `owned`: what a cooperative consumer still reads. An eager one has let go of all. */
  request(memberId: string, owned: readonly string[] = [], more: Partial<JoinClassicRequest> = {}): JoinClassicRequest {
    const metadata = subscriptionBytes(['orders'], { owned });
    return joinRequest(memberId, { protocols: [{ name: 'sticky', metadata }], sessionTimeoutMs: SESSION_MS, ...more });
  }

  join(memberId: string, owned?: readonly string[], more?: Partial<JoinClassicRequest>): Promise<JoinClassicResult> {
    return this.#clock.run(this.#broker.joinClassicGroup(this.request(memberId, owned, more)));
  }

  async sync({ memberId, generation }: JoinClassicResult, instanceId?: string): Promise<string[]> {
    const request = { group: GROUP, memberId, generation, instanceId, assignments: [] };
    return partitionNames((await this.#clock.run(this.#broker.syncClassicGroup(request))).assignment);
  }

  /** Joins and syncs. */
  async take(memberId: string, owned?: readonly string[]): Promise<{ generation: number; owned: string[] }> {
    const joined = await this.join(memberId, owned);
    return { generation: joined.generation, owned: await this.sync(joined) };
  }

  /** `undefined`: there is nothing to do. */
  beat(memberId: string, generation: number, instanceId?: string): Promise<unknown> {
    return this.#clock.run(
      codeOf(this.#broker.heartbeatClassicGroup({ group: GROUP, memberId, generation, instanceId })),
    );
  }

  async commit(memberId: string, generation: number, partition: number, offset: number): Promise<string> {
    const offsets = [{ topic: 'orders', partition, offset }];
    const request = { group: GROUP, memberId, generation, offsets };
    const [outcome] = await this.#clock.run(this.#broker.commitClassicOffsets(request));
    return outcome?.ok ? 'ok' : String(outcome?.error.code);
  }

  async committed(partition: number): Promise<number | null | undefined> {
    const partitions = [{ topic: 'orders', partition }];
    const { items } = await this.#clock.run(this.#broker.fetchOffsets({ group: GROUP, partitions }));
    return items[0]?.offset;
  }
}

/** A member by KIP-848, which does what it is told. */
export class Consumer {
  readonly #broker: Broker;
  readonly #clock: SimulatedClock;
  readonly memberId: string;
  readonly instanceId: string | undefined;
  epoch = 0;
  owned: readonly (readonly [string, number])[] = [];
  isSettled = false;
  sessionTimeoutMs = SESSION_MS;

  constructor(broker: Broker, clock: SimulatedClock, memberId: string, instanceId?: string) {
    this.#broker = broker;
    this.#clock = clock;
    this.memberId = memberId;
    this.instanceId = instanceId;
  }

  async beat(): Promise<HeartbeatResult> {
    const result = await this.#clock.run(
      this.#broker.heartbeat({
        group: GROUP,
        memberId: this.memberId,
        instanceId: this.instanceId,
        memberEpoch: this.epoch,
        owned: partitionSet(this.owned),
        sessionTimeoutMs: this.sessionTimeoutMs,
        ...(this.epoch === 0 ? { subscription: { topics: ['orders'] } } : {}),
      }),
    );
    this.epoch = result.memberEpoch;
    this.isSettled = result.isSettled;
    this.owned = result.assignment.flatMap(({ topicId, partitions }) =>
      partitions.map((partition) => [topicId, partition] as const),
    );
    return result;
  }

  /** Several heartbeats, as many as a change can need. */
  async beats(count = 12): Promise<number[]> {
    for (let i = 0; i < count; i++) {
      await this.beat();
      await this.#clock.advance(600);
    }
    return this.partitions;
  }

  get partitions(): number[] {
    return this.owned.map(([, partition]) => partition).sort((a, b) => a - b);
  }

  leave(): Promise<void> {
    return this.#clock.run(
      this.#broker.leaveGroup({ group: GROUP, memberId: this.memberId, instanceId: this.instanceId }),
    );
  }
}
