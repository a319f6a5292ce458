import { Broker } from '../../../shared/broker/broker.ts';
import { memberFromAttributes } from '../../../shared/broker/groups/items.ts';
import { EventLogError } from '../../../shared/log/errors.ts';
import type { HeartbeatResult } from '../../../shared/log/group/heartbeat-result.ts';
import { memberKey } from '../../../shared/log/group/member.ts';
import { type PartitionSet, partitionSet } from '../../../shared/log/group/partition-set.ts';
import { memberItemKey } from '../../../shared/storage/group-keys.ts';
import { FaultyProcesses, type RunOutcome } from '../faulty-processes.ts';

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
const MEMBERS = 4;
const SESSION_MS = 6_000;
const RUN_MS = 60_000;
/** After the faults: every session that has not ended does so, and the rest must settle. */
const SETTLE_MS = 60_000;

class Dead extends Error {}

export async function runSeed(seed: number): Promise<RunOutcome> {
  const processes = new FaultyProcesses(seed, RUN_MS + SETTLE_MS);
  const { random, clock, bare, marks } = processes;
  const problems: string[] = [];
  const isStatic = random.below(4) === 0;
  processes.start();

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
      while (clock.nowMs() < untilMs || processes.isHealed) {
        if (processes.isHealed && clock.nowMs() > endMs) return;
        await clock.sleep(random.below(2) === 0 ? intervalMs : random.below(intervalMs + 1));
        if (processes.drawPause()) {
          marks.add('member stood still');
          await clock.sleep(random.below(3 * SESSION_MS));
        }
        if (!processes.isHealed && random.next() < 0.02) return;
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
          answer = await once(() => processes.anyBroker().heartbeat(request));
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
        if (!processes.isHealed && random.next() < 0.01) {
          belief.has = new Set();
          await processes
            .anyBroker()
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
    if (!processes.isHealed && random.below(12) === 0) {
      processes.sendLate(send);
      return undefined;
    }
    if (!processes.isHealed && random.below(12) === 0) {
      marks.add('sent twice');
      void send().catch(() => {});
      return send();
    }
    const result = await processes.within(send(), processes.isHealed ? 30_000 : 2_000 + random.below(4_000));
    if (result === undefined) throw new Dead();
    return result.answer;
  }

  async function change(): Promise<void> {
    while (!processes.isHealed) {
      await clock.sleep(5_000 + random.below(20_000));
      const wide = 20 + random.below(30);
      await processes
        .anyBroker()
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
  processes.heal();
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
