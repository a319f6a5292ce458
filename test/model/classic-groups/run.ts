import { Broker } from '../../../shared/broker/broker.ts';
import type { JoinClassicResult } from '../../../shared/broker/groups/classic/join-classic-group.ts';
import { EventLogError } from '../../../shared/log/errors.ts';
import { assignmentOf, GROUP, partitionNames } from '../../support/classic-world.ts';
import { bytes } from '../../support/memory-broker.ts';
import { FaultyProcesses, GivenUp, type RunOutcome } from '../faulty-processes.ts';
import { Judge } from './judge.ts';

/**
 * A random model of classic consumers, over the real operations. Consumers come, leave, die, stand still for longer than their
 * session, change what they say, and send each request through any of several processes, also twice or late. Requests of the
 * processes are lost, late and repeated, processes die, and their clocks differ. At the end faults stop, and the group must settle.
 */

const TOPICS = [
  { name: 'small', partitions: 3 },
  { name: 'wide', partitions: 20 },
];
const ALL = TOPICS.flatMap(({ name, partitions }) => Array.from({ length: partitions }, (_, i) => `${name}/${i}`));
const CONSUMERS = 4;
const SESSION_MS = 6_000;
const REBALANCE_MS = 8_000;
const RUN_MS = 60_000;
/** After the faults: sessions of the dead end, and late requests arrive. */
const SETTLE_MS = 60_000;

export async function runSeed(seed: number): Promise<RunOutcome> {
  const processes = new FaultyProcesses(seed, RUN_MS + SETTLE_MS, (random) => ({
    initialRebalanceDelayMs: random.below(3) * 500,
  }));
  const { random, clock, bare, marks } = processes;
  const isStatic = random.below(4) === 0;
  const judge = new Judge({ isStatic });

  const plain = new Broker({ ...bare, random });
  for (const topic of TOPICS) await clock.run(plain.putTopic(topic));
  const topics = new Map<string, string>();
  for (const { name } of TOPICS) topics.set((await clock.run(plain.describeTopic(name))).topicId, name);
  judge.watch(bare.items, topics);
  processes.start();

  /** What each consumer reads now. */
  const reading = new Map<number, { readonly generation: number; readonly partitions: readonly string[] }>();
  let lives = 0;

  /** One life of a consumer: until it leaves, dies, or the run is over. */
  class Consumer {
    readonly life = lives++;
    readonly slot: number;
    readonly instanceId: string | undefined;
    readonly sharesId = random.below(4) === 0;
    memberId = '';
    metadata = 0;

    constructor(slot: number) {
      this.slot = slot;
      this.instanceId = isStatic ? `i${slot}` : undefined;
    }

    async live(untilMs: number): Promise<void> {
      try {
        while (clock.nowMs() < untilMs) {
          const joined = await this.join();
          if (joined === undefined) continue;
          if (joined === 'stop') return;
          const partitions = await this.sync(joined);
          if (partitions === undefined) continue;
          reading.set(this.life, { generation: joined.generation, partitions });
          marks.add(partitions.length > 0 ? 'reads' : 'reads nothing');
          const end = await this.read(joined.generation, partitions, untilMs);
          reading.delete(this.life);
          if (end === 'stop') return;
        }
      } finally {
        reading.delete(this.life);
      }
    }

    async join(): Promise<JoinClassicResult | 'stop' | undefined> {
      if (random.below(8) === 0) this.metadata++;
      const request = {
        group: GROUP,
        memberId: this.memberId,
        instanceId: this.instanceId,
        protocolType: 'consumer',
        protocols: [{ name: 'range', metadata: bytes(`${this.slot} ${this.metadata}`) }],
        sessionTimeoutMs: SESSION_MS,
        rebalanceTimeoutMs: REBALANCE_MS,
        requiresMemberId: true,
        supportsSkippingAssignment: true,
      };
      const result = await this.attempt(() => processes.anyBroker().joinClassicGroup(request), REBALANCE_MS + 5_000);
      if (typeof result !== 'object') return result;
      this.memberId = result.memberId;
      judge.joined(result);
      return result;
    }

    async sync(joined: JoinClassicResult): Promise<readonly string[] | undefined> {
      await this.pause();
      const { generation, members, leader, memberId, skipAssignment } = joined;
      const leads = leader === memberId && !skipAssignment;
      const assignments = leads
        ? members.map((member, i) => {
            const own = ALL.filter((_, at) => (at + generation) % members.length === i);
            const topics = Map.groupBy(own, (name) => name.split('/')[0] as string);
            const numbers = [...topics].map(([topic, names]) => [
              topic,
              names.map((name) => Number(name.split('/')[1])),
            ]);
            return { memberId: member.memberId, assignment: assignmentOf(Object.fromEntries(numbers)) };
          })
        : [];
      const request = { group: GROUP, memberId, instanceId: this.instanceId, generation, assignments };
      const result = await this.attempt(() => processes.anyBroker().syncClassicGroup(request), REBALANCE_MS + 5_000);
      if (typeof result !== 'object') return undefined;
      const partitions = partitionNames(result.assignment);
      judge.synced(generation, memberId, this.instanceId ?? memberId, partitions);
      return partitions;
    }

    async read(generation: number, partitions: readonly string[], untilMs: number): Promise<'stop' | undefined> {
      for (;;) {
        await clock.sleep(300 + random.below(1_500));
        await this.pause();
        if (clock.nowMs() >= untilMs) return 'stop';
        if (!processes.isHealed && random.next() < 0.01) return 'stop';
        if (!processes.isHealed && random.next() < 0.01) {
          marks.add('left');
          const leaving = { memberId: this.memberId, instanceId: this.instanceId };
          await this.attempt(
            () => processes.anyBroker().leaveClassicGroup({ group: GROUP, members: [leaving] }),
            5_000,
          );
          return 'stop';
        }
        if (!processes.isHealed && random.next() < 0.02) return undefined;
        // Members of a generation may commit for all partitions.
        const from = random.below(10) === 0 ? ALL : partitions;
        const partition = from[random.below(Math.max(1, from.length))];
        if (partition !== undefined && random.below(2) === 0) await this.commit(generation, partition);
        const request = { group: GROUP, memberId: this.memberId, instanceId: this.instanceId, generation };
        const before = this.memberId;
        const beat = await this.attempt(
          () =>
            processes
              .anyBroker()
              .heartbeatClassicGroup(request)
              .then(() => 'alive'),
          3_000,
        );
        if (beat === 'stop') return 'stop';
        if (beat === undefined && (this.mustJoin || this.memberId !== before)) {
          // An eager consumer commits what it has read before it joins again.
          if (partition !== undefined && random.below(2) === 0) await this.commit(generation, partition, before);
          return undefined;
        }
      }
    }

    mustJoin = false;

    async commit(generation: number, partition: string, memberId = this.memberId): Promise<void> {
      const [topic = '', number] = partition.split('/');
      const offset = judge.offsetFor(generation, partition);
      const offsets = [{ topic, partition: Number(number), offset }];
      const request = { group: GROUP, memberId: memberId || 'none', instanceId: this.instanceId, generation, offsets };
      try {
        const [outcome] = await processes.once(() => processes.anyBroker().commitClassicOffsets(request), 3_000);
        if (outcome?.ok) judge.acknowledged(generation, partition);
        marks.add(outcome?.ok ? 'committed' : `commit: ${outcome?.error.code}`);
      } catch (error) {
        if (!(error instanceof GivenUp)) judge.problems.push(`a commit failed: ${error}`);
      }
    }

    /** `undefined`: it failed, and the consumer joins again. */
    async attempt<T>(send: () => Promise<T>, timeoutMs: number): Promise<T | 'stop' | undefined> {
      this.mustJoin = false;
      try {
        return await processes.once(send, timeoutMs);
      } catch (error) {
        if (error instanceof GivenUp) return undefined;
        const code = error instanceof EventLogError ? error.code : String(error);
        marks.add(code);
        if (code === 'member_id_required') this.memberId = String((error as EventLogError).details.memberId);
        else if (code === 'unknown_member') this.memberId = '';
        else if (code === 'fenced_instance_id') return 'stop';
        else if (!KNOWN_ERRORS.includes(code)) judge.problems.push(`a request failed: ${error}`);
        this.mustJoin = !['throttled', 'storage_unavailable'].includes(code);
        await clock.sleep(random.below(200));
        return undefined;
      }
    }

    async pause(): Promise<void> {
      if (!processes.drawPause()) return;
      marks.add('stood still');
      await clock.sleep(random.below(3 * SESSION_MS));
    }
  }

  const startMs = clock.nowMs();
  const endMs = startMs + RUN_MS + SETTLE_MS;
  const slots = Array.from({ length: CONSUMERS }, async (_, slot) => {
    while (clock.nowMs() < startMs + RUN_MS) {
      await new Consumer(slot).live(startMs + RUN_MS);
      await clock.sleep(random.below(5_000));
    }
  });
  await clock.run(clock.sleep(RUN_MS));
  processes.heal();
  const last = Promise.all([90, 91].map((slot) => new Consumer(slot).live(endMs)));
  await clock.run(clock.sleep(SETTLE_MS - 1_000));
  const now = [...reading.values()];
  const read = now.flatMap(({ partitions }) => partitions).sort();
  if (read.join() !== [...ALL].sort().join()) judge.problems.push(`at the end ${read.join()} are read`);
  if (new Set(now.map(({ generation }) => generation)).size !== 1) judge.problems.push('at the end generations differ');
  const { state } = await clock.run(plain.describeClassicGroup(GROUP));
  if (state !== 'Stable') judge.problems.push(`at the end the group is ${state}`);
  await clock.run(last);
  await clock.run(Promise.all(slots));
  return { problems: judge.problems, marks };
}

const KNOWN_ERRORS = ['throttled', 'storage_unavailable', 'illegal_generation', 'rebalance_in_progress'];
