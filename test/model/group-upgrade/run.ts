import { GROUP } from '../../support/classic-world.ts';
import type { RunOutcome } from '../faulty-processes.ts';
import { ClassicConsumer } from './classic-consumer.ts';
import { ConsumerMember } from './consumer-member.ts';
import { ALL, World } from './world.ts';

/**
 * A random model of a group whose consumers change from Kafka's classic protocol to KIP-848 and back, over the real operations.
 * Consumers of both kinds come, leave, die, stand still for longer than their session, and send each request through any of several
 * processes, also twice or late. Requests of the processes are lost, late and repeated, processes die, and their clocks differ. At the
 * end faults stop, and the group must settle with consumers of one kind or of both.
 */

const CONSUMERS = 4;
const RUN_MS = 80_000;
/** After the faults: sessions of the dead end, and late requests arrive. */
const SETTLE_MS = 70_000;

export async function runSeed(seed: number): Promise<RunOutcome> {
  const world = new World(seed, RUN_MS + SETTLE_MS);
  const { clock, random, marks, judge, plain } = world;
  await world.makeTopics();
  world.start();

  let lives = 0;
  async function live(slot: number, isConsumer: boolean, untilMs: number): Promise<void> {
    const life = lives++;
    const instanceId = world.isStatic ? `i${slot}` : undefined;
    const one = isConsumer
      ? new ConsumerMember(world, { life, slot, instanceId })
      : new ClassicConsumer(world, { life, slot, instanceId });
    await one.live(untilMs);
  }

  const startMs = clock.nowMs();
  const endMs = startMs + RUN_MS + SETTLE_MS;
  const slots = Array.from({ length: CONSUMERS }, async (_, slot) => {
    while (clock.nowMs() < startMs + RUN_MS) {
      await live(slot, random.next() < world.consumerShare, startMs + RUN_MS);
      await clock.sleep(random.below(5_000));
    }
  });
  async function migrate(): Promise<void> {
    while (!world.isHealed) {
      await clock.sleep(5_000 + random.below(20_000));
      world.consumerShare = random.below(3) / 2;
    }
  }
  async function watchTypes(): Promise<void> {
    while (!world.isHealed) {
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
  world.heal();
  const consumersAtEnd = random.below(3);
  marks.add(`at the end ${consumersAtEnd} consumers`);
  const last = Promise.all([0, 1].map((i) => live(90 + i, i < consumersAtEnd, endMs)));
  await clock.run(clock.sleep(SETTLE_MS - 1_000));
  const read = judge.read();
  if (read.join() !== [...ALL].sort().join()) judge.problems.push(`at the end ${read.join()} are read`);
  const [ended] = (await clock.run(plain.listGroupStates())).items;
  if (consumersAtEnd === 0 && (world.mayDowngrade || ended?.type === 'classic')) {
    const { state } = await clock.run(plain.describeClassicGroup(GROUP));
    if (state !== 'Stable') judge.problems.push(`at the end the group is ${state}`);
  } else {
    if (consumersAtEnd === 0) marks.add('at the end only classic consumers by KIP-848');
    const { state, members } = await clock.run(plain.describeGroup(GROUP));
    const count = members.filter(({ protocol }) => protocol === 'consumer').length;
    if (state !== 'stable' || members.length !== 2 || count !== consumersAtEnd)
      judge.problems.push(`at the end the group is ${state} with ${count} of ${members.length}`);
  }
  await clock.run(last);
  await clock.run(all);
  return { problems: judge.problems, marks };
}
