import { Broker } from '../../../shared/broker/broker.ts';
import { memberFromAttributes } from '../../../shared/broker/groups/items.ts';
import { EventLogError } from '../../../shared/log/errors.ts';
import type { HeartbeatResult } from '../../../shared/log/group/heartbeat-result.ts';
import { memberKey } from '../../../shared/log/group/member.ts';
import { type PartitionSet, partitionSet } from '../../../shared/log/group/partition-set.ts';
import { memberItemKey } from '../../../shared/storage/group-keys.ts';
import { MemoryItemStore } from '../../../shared/storage/memory/item-store.ts';
import { MemoryObjectStore } from '../../../shared/storage/memory/object-store.ts';
import type { Clock } from '../../../shared/storage/ports.ts';
import { type Fault, faultyStores } from '../../support/faulty-stores.ts';
import { SeededRandom } from '../../support/memory-broker.ts';
import { SimulatedClock } from '../../support/simulated-clock.ts';

/**
 * A random model of the members of a group, over the real heartbeats. Members come and go, stand still for longer than their
 * session, and send each heartbeat through any of several processes, also twice or late. Requests of the processes are lost,
 * late and repeated, processes die, and their clocks differ. At the end faults stop, and the group must settle.
 */

const GROUP = 'model';
const TOPICS = [
  { name: 'small', partitions: 3 },
  { name: 'wide', partitions: 20 },
];
const PROCESSES = 3;
const MEMBERS = 4;
const SESSION_MS = 6_000;
const RUN_MS = 60_000;
/** After the faults: every session that has not ended does so, and the rest must settle. */
const SETTLE_MS = 60_000;
const LATE_MS_MAX = 8_000;
const SKEW_MS_MAX = 3_000;

export interface RunOutcome {
  readonly problems: readonly string[];
  readonly marks: ReadonlySet<string>;
}

class Dead extends Error {}

export async function runSeed(seed: number): Promise<RunOutcome> {
  const random = new SeededRandom(seed);
  const clock = new SimulatedClock();
  const bare = { objects: new MemoryObjectStore(), items: new MemoryItemStore(), clock };
  const problems: string[] = [];
  const marks = new Set<string>();
  const rate = [0, 0.03, 0.1, 0.25][random.below(4)] as number;
  const patience = [0, 0.05, 0.2][random.below(3)] as number;
  const isStatic = random.below(4) === 0;
  let healed = false;

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
    const broker = new Broker({ ...stores, clock: skewed, random });
    return {
      broker,
      kill: () => {
        isDead = true;
      },
    };
  }
  function anyBroker(): Broker {
    const i = random.below(PROCESSES);
    if (!healed && random.next() < 0.005) {
      processes[i]?.kill();
      processes[i] = makeProcess();
      marks.add('process died');
    }
    return (processes[i] as { broker: Broker }).broker;
  }

  /** What each user of a member believes to have. */
  const beliefs = new Map<number, { readonly key: string; readonly memberId: string; has: Set<string> }>();
  async function isGone(key: string, memberId: string): Promise<boolean> {
    const { attributes } = await bare.items.get(memberItemKey(GROUP, key));
    if (attributes === undefined) return true;
    const member = memberFromAttributes(key, attributes);
    return member.isGone || member.memberId !== memberId;
  }
  async function checkBeliefs(): Promise<void> {
    const owners = new Map<string, string>();
    for (const { key, memberId, has } of beliefs.values()) {
      if (has.size === 0 || (await isGone(key, memberId))) continue;
      for (const partition of has) {
        const other = owners.get(partition);
        if (other !== undefined) problems.push(`${memberId} and ${other} both have ${partition}`);
        owners.set(partition, memberId);
      }
    }
  }

  let lives = 0;
  /** One life of a member: from its join until it leaves, is told that it is gone, or stands still for good. */
  async function live(slot: number, untilMs: number): Promise<void> {
    const life = lives++;
    // Some come back under the id of their former life.
    const memberId = random.below(3) === 0 ? `m${slot}` : `m${slot}-${life}`;
    const instanceId = isStatic ? `i${slot}` : undefined;
    const belief = { key: memberKey(memberId, instanceId), memberId, has: new Set<string>() };
    beliefs.set(life, belief);
    const topics = random.below(4) === 0 ? ['wide'] : ['small', 'wide'];
    let memberEpoch = 0;
    let told: readonly (readonly [string, number])[] = [];
    let letGoOf: (readonly [string, number])[] = [];
    let intervalMs = 100;
    const hold = async (): Promise<void> => {
      belief.has = new Set([...told, ...letGoOf].map(([topicId, partition]) => `${topicId}/${partition}`));
      await checkBeliefs();
    };
    try {
      while (clock.nowMs() < untilMs || healed) {
        if (healed && clock.nowMs() > endMs) return;
        await clock.sleep(random.below(2) === 0 ? intervalMs : random.below(intervalMs + 1));
        if (!healed && random.next() < patience * 0.1) {
          marks.add('member stood still');
          await clock.sleep(random.below(3 * SESSION_MS));
        }
        if (!healed && random.next() < 0.02) return;
        if (random.below(3) > 0) letGoOf = [];
        await hold();
        const owned: PartitionSet = partitionSet([...told, ...letGoOf]);
        const request = {
          group: GROUP,
          memberId,
          instanceId,
          memberEpoch,
          owned,
          sessionTimeoutMs: SESSION_MS,
          rebalanceTimeoutMs: SESSION_MS,
          ...(memberEpoch === 0 ? { subscription: { topics } } : {}),
        };
        let answer: HeartbeatResult | undefined;
        try {
          answer = await once(() => anyBroker().heartbeat(request));
        } catch (error) {
          if (error instanceof Dead) continue;
          const code = error instanceof EventLogError ? error.code : String(error);
          if (code === 'unknown_member' || code === 'fenced_member_epoch') {
            marks.add(code);
            return;
          }
          if (code === 'instance_in_use' && memberEpoch === 0) {
            await clock.sleep(1_000);
            continue;
          }
          if (!['throttled', 'storage_unavailable'].includes(code)) problems.push(`a heartbeat failed: ${error}`);
          continue;
        }
        if (answer === undefined) continue;
        memberEpoch = answer.memberEpoch;
        const next = answer.assignment.flatMap(({ topicId, partitions }) =>
          partitions.map((each) => [topicId, each] as const),
        );
        const names = new Set(next.map(String));
        letGoOf = [...told, ...letGoOf].filter((each) => !names.has(String(each)));
        told = next;
        intervalMs = answer.heartbeatIntervalMs;
        await hold();
        marks.add(answer.isSettled ? 'settled' : 'not settled');
        if (!healed && random.next() < 0.01) {
          belief.has = new Set();
          await anyBroker()
            .leaveGroup({
              group: GROUP,
              memberId,
              instanceId,
              willReturn: instanceId !== undefined && random.below(2) === 0,
            })
            .catch(() => {});
          marks.add('left');
          return;
        }
      }
    } finally {
      beliefs.delete(life);
    }
  }

  /** A heartbeat through a process that may not answer in time, or whose caller sends it again through another. */
  async function once(send: () => Promise<HeartbeatResult>): Promise<HeartbeatResult | undefined> {
    if (!healed && random.below(12) === 0) {
      // The caller gives this one up, and it arrives when it does.
      void clock
        .sleep(random.below(LATE_MS_MAX))
        .then(send)
        .catch(() => {});
      return undefined;
    }
    if (!healed && random.below(12) === 0) {
      marks.add('sent twice');
      void send().catch(() => {});
      return send();
    }
    const answer = send();
    answer.catch(() => {});
    const gaveUp = Symbol();
    const result = await Promise.race([
      answer,
      clock.sleep(healed ? 30_000 : 2_000 + random.below(4_000)).then(() => gaveUp),
    ]);
    if (typeof result === 'symbol') throw new Dead();
    return result;
  }

  async function change(): Promise<void> {
    while (!healed) {
      await clock.sleep(5_000 + random.below(20_000));
      const wide = 20 + random.below(30);
      await anyBroker()
        .putTopic({ name: 'wide', partitions: wide })
        .catch(() => {});
    }
  }

  const plain = new Broker({ ...bare, random });
  for (const topic of TOPICS) await clock.run(plain.putTopic(topic));
  const startMs = clock.nowMs();
  const endMs = startMs + RUN_MS + SETTLE_MS;
  const slots = Array.from({ length: MEMBERS }, async (_, slot) => {
    while (clock.nowMs() < startMs + RUN_MS) {
      await live(slot, startMs + RUN_MS);
      await clock.sleep(random.below(5_000));
    }
  });
  void change();
  const all = Promise.all(slots);
  await clock.run(Promise.race([all, clock.sleep(RUN_MS)]));
  healed = true;
  for (let i = 0; i < PROCESSES; i++) processes[i] = makeProcess();
  const last = Promise.all([live(90, endMs), live(91, endMs)]);
  await clock.run(clock.sleep(SETTLE_MS - 1_000));
  await judgeEnd();
  await clock.run(last);
  await clock.run(all);
  return { problems, marks };

  /** Every partition has exactly one owner, among those that live. */
  async function judgeEnd(): Promise<void> {
    const { topicId: small } = await clock.run(plain.describeTopic('small'));
    const { topicId: wide, partitions } = await clock.run(plain.describeTopic('wide'));
    const owned = new Set([...beliefs.values()].flatMap(({ has }) => [...has]));
    const isSmallWanted = (await clock.run(plainMembers())).some((topics) => topics.includes('small'));
    for (let i = 0; i < partitions; i++)
      if (!owned.has(`${wide}/${i}`)) problems.push(`nobody has wide/${i} at the end`);
    for (let i = 0; i < 3 && isSmallWanted; i++)
      if (!owned.has(`${small}/${i}`)) problems.push(`nobody has small/${i} at the end`);
  }
  async function plainMembers(): Promise<readonly (readonly string[])[]> {
    const page = await bare.items.query({ pk: memberItemKey(GROUP, '-').pk, limit: 1_000 });
    return page.items
      .map(({ sk, attributes }) => memberFromAttributes(sk, attributes))
      .filter((member) => !member.isGone)
      .map(({ subscription }) => subscription.topics);
  }
}
