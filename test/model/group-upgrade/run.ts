import { Broker } from '../../../shared/broker/broker.ts';
import type { CommitOutcome } from '../../../shared/broker/groups/offsets/commit-offsets.ts';
import { EventLogError } from '../../../shared/log/errors.ts';
import { MemoryItemStore } from '../../../shared/storage/memory/item-store.ts';
import { MemoryObjectStore } from '../../../shared/storage/memory/object-store.ts';
import type { Clock } from '../../../shared/storage/ports.ts';
import { GROUP } from '../../support/classic-world.ts';
import { type Fault, faultyStores } from '../../support/faulty-stores.ts';
import { SeededRandom } from '../../support/memory-broker.ts';
import { SimulatedClock } from '../../support/simulated-clock.ts';
import { ClassicConsumer } from './classic-consumer.ts';
import { ConsumerMember } from './consumer-member.ts';
import { Judge } from './judge.ts';

/**
 * A random model of a group whose consumers change from Kafka's classic protocol to KIP-848 and back, over the real operations.
 * Consumers of both kinds come, leave, die, stand still for longer than their session, and send each request through any of several
 * processes, also twice or late. Requests of the processes are lost, late and repeated, processes die, and their clocks differ. At the
 * end faults stop, and the group must settle with consumers of one kind or of both.
 */

export const TOPICS = [
  { name: 'small', partitions: 3 },
  { name: 'wide', partitions: 20 },
];
export const ALL = TOPICS.flatMap(({ name, partitions }) =>
  Array.from({ length: partitions }, (_, i) => `${name}/${i}`),
);
const PROCESSES = 3;
const CONSUMERS = 4;
export const SESSION_MS = 6_000;
export const REBALANCE_MS = 8_000;
const RUN_MS = 80_000;
/** After the faults: sessions of the dead end, and late requests arrive. */
const SETTLE_MS = 70_000;
export const LATE_MS_MAX = 8_000;
const SKEW_MS_MAX = 3_000;

export interface RunOutcome {
  readonly problems: readonly string[];
  readonly marks: ReadonlySet<string>;
}

export class GivenUp extends Error {}

/** What the consumers of a run share. */
export interface World {
  readonly clock: SimulatedClock;
  readonly random: SeededRandom;
  readonly judge: Judge;
  readonly marks: Set<string>;
  readonly isCooperative: boolean;
  isHealed(): boolean;
  anyBroker(): Broker;
  /** A request that may not be answered in time, that its client sends twice, or that arrives late. */
  once<T>(send: () => Promise<T>, timeoutMs: number): Promise<T>;
  /** Stands still now and then for longer than a session. */
  pause(): Promise<void>;
  commit(send: () => Promise<readonly CommitOutcome[]>, offset: number): Promise<void>;
}

export async function runSeed(seed: number): Promise<RunOutcome> {
  const random = new SeededRandom(seed);
  const clock = new SimulatedClock();
  const bare = { objects: new MemoryObjectStore(), items: new MemoryItemStore(), clock };
  const marks = new Set<string>();
  const rate = [0, 0.03, 0.1, 0.25][random.below(4)] as number;
  const patience = [0, 0.05, 0.2][random.below(3)] as number;
  const isStatic = random.below(4) === 0;
  const isCooperative = random.below(3) > 0;
  let healed = false;
  let consumerShare = random.below(3) / 2;

  const plain = new Broker({ ...bare, random });
  for (const topic of TOPICS) await clock.run(plain.putTopic(topic));
  const topics = new Map<string, string>();
  for (const { name } of TOPICS) topics.set((await clock.run(plain.describeTopic(name))).topicId, name);
  const judge = new Judge(bare, topics);

  const faults: readonly Fault[] = ['throttled', 'lost_request', 'lost_reply', 'late', 'repeated'];
  const processes = Array.from({ length: PROCESSES }, () => makeProcess());

  function makeProcess(): { broker: Broker; kill(): void } {
    let isDead = false;
    const skewMs = random.below(2) === 0 ? 0 : random.below(2 * SKEW_MS_MAX) - SKEW_MS_MAX;
    const stores = faultyStores(bare, () => {
      if (isDead) return { delayMs: 10 * (RUN_MS + SETTLE_MS) };
      const delayMs = 1 + random.below(random.below(20) === 0 ? 3_000 : 30);
      if (healed || random.next() >= rate) return { delayMs: healed ? 5 : delayMs };
      return { delayMs, fault: faults[random.below(faults.length)], lateMs: random.below(LATE_MS_MAX) };
    });
    const skewed: Clock = {
      nowMs: () => clock.nowMs() + (healed ? 0 : skewMs),
      sleep: (ms, signal) => clock.sleep(ms, signal),
    };
    const settings = { initialRebalanceDelayMs: random.below(3) * 500 };
    return {
      broker: new Broker({ ...stores, clock: skewed, random, settings }),
      kill: () => {
        isDead = true;
      },
    };
  }

  const world: World = {
    clock,
    random,
    judge,
    marks,
    isCooperative,
    isHealed: () => healed,
    anyBroker() {
      const i = random.below(PROCESSES);
      if (!healed && random.next() < 0.005) {
        processes[i]?.kill();
        processes[i] = makeProcess();
        marks.add('process died');
      }
      return (processes[i] as { broker: Broker }).broker;
    },
    async once(send, timeoutMs) {
      if (!healed && random.below(15) === 0) {
        marks.add('given up');
        void clock
          .sleep(random.below(LATE_MS_MAX))
          .then(send)
          .catch(() => {});
        throw new GivenUp();
      }
      if (!healed && random.below(15) === 0) {
        marks.add('sent twice');
        void send().catch(() => {});
      }
      const answer = send();
      answer.catch(() => {});
      const gaveUp = Symbol();
      const result = await Promise.race([answer, clock.sleep(healed ? 60_000 : timeoutMs).then(() => gaveUp)]);
      if (typeof result !== 'symbol') return result;
      marks.add('given up');
      throw new GivenUp();
    },
    async pause() {
      if (healed || random.next() >= patience * 0.1) return;
      marks.add('stood still');
      await clock.sleep(random.below(3 * SESSION_MS));
    },
    async commit(send, offset) {
      try {
        const [outcome] = await world.once(send, 3_000);
        if (outcome?.ok) judge.acknowledged(offset);
        marks.add(outcome?.ok ? 'committed' : `commit: ${outcome?.error.code}`);
      } catch (error) {
        const isExpected = ['throttled', 'storage_unavailable'].includes(codeOfError(error));
        if (!(error instanceof GivenUp) && !isExpected) judge.problems.push(`a commit failed: ${error}`);
      }
    },
  };

  let lives = 0;
  async function live(slot: number, isConsumer: boolean, untilMs: number): Promise<void> {
    const life = lives++;
    const instanceId = isStatic ? `i${slot}` : undefined;
    const one = isConsumer
      ? new ConsumerMember(world, { life, slot, instanceId })
      : new ClassicConsumer(world, { life, slot, instanceId });
    await one.live(untilMs);
  }

  const startMs = clock.nowMs();
  const endMs = startMs + RUN_MS + SETTLE_MS;
  const slots = Array.from({ length: CONSUMERS }, async (_, slot) => {
    while (clock.nowMs() < startMs + RUN_MS) {
      await live(slot, random.next() < consumerShare, startMs + RUN_MS);
      await clock.sleep(random.below(5_000));
    }
  });
  async function migrate(): Promise<void> {
    while (!healed) {
      await clock.sleep(5_000 + random.below(20_000));
      consumerShare = random.below(3) / 2;
    }
  }
  async function watchTypes(): Promise<void> {
    while (!healed) {
      await clock.sleep(500);
      const { items } = await plain.listGroupStates();
      const type = items.find(({ group }) => group === GROUP)?.type;
      const described = type === 'consumer' ? await plain.describeGroup(GROUP).catch(() => undefined) : undefined;
      const kinds = new Set(described?.members.map(({ protocol }) => protocol));
      const now = kinds.size === 2 ? 'mixed' : kinds.has('classic') ? 'only classic' : type;
      if (now !== undefined) marks.add(`group: ${now}`);
    }
  }
  void migrate();
  void watchTypes();
  const all = Promise.all(slots);
  await clock.run(clock.sleep(RUN_MS));
  healed = true;
  for (let i = 0; i < PROCESSES; i++) processes[i] = makeProcess();
  const consumersAtEnd = random.below(3);
  marks.add(`at the end ${consumersAtEnd} consumers`);
  const last = Promise.all([0, 1].map((i) => live(90 + i, i < consumersAtEnd, endMs)));
  await clock.run(clock.sleep(SETTLE_MS - 1_000));
  const read = judge.read();
  if (read.join() !== [...ALL].sort().join()) judge.problems.push(`at the end ${read.join()} are read`);
  if (consumersAtEnd === 0) {
    const { state } = await clock.run(plain.describeClassicGroup(GROUP));
    if (state !== 'Stable') judge.problems.push(`at the end the group is ${state}`);
  } else {
    const { state, members } = await clock.run(plain.describeGroup(GROUP));
    const count = members.filter(({ protocol }) => protocol === 'consumer').length;
    if (state !== 'stable' || members.length !== 2 || count !== consumersAtEnd)
      judge.problems.push(`at the end the group is ${state} with ${count} of ${members.length}`);
  }
  await clock.run(last);
  await clock.run(all);
  return { problems: judge.problems, marks };
}

export function codeOfError(error: unknown): string {
  return error instanceof EventLogError ? error.code : String(error);
}
