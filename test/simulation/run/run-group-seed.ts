import type { Broker } from '../../../shared/broker/broker.ts';
import { compileTopicPattern } from '../../../shared/broker/groups/membership/topic-pattern.ts';
import { toRecord } from '../../history/history-records.ts';
import { Client } from '../clients/client.ts';
import { stayInClassicGroup } from '../clients/in-classic-groups/live-in-classic-group.ts';
import { GROWING_TOPIC, PATTERN, STEADY_PARTITIONS, STEADY_TOPIC } from '../clients/in-groups/group-topics.ts';
import { stay } from '../clients/in-groups/live-in-group.ts';
import { Chance } from '../world/chance.ts';
import { STREAM } from '../world/simulated-process.ts';
import type { ClassicWatch } from '../world/watch/classic-watch.ts';
import { GROUP, type GroupWatch, type Place } from '../world/watch/group-watch.ts';
import type { Conditions, World } from '../world/world.ts';
import {
  drawClassicClients,
  drawClassicConditions,
  drawGroupClients,
  drawGroupConditions,
  drawGrowingPartitions,
} from './draw-group-run.ts';
import { type PlannedClient, type RunResult, runInWorld, type Selection, type WorldRun } from './run-in-world.ts';

/** Faults are over after so many requests at the latest. */
const FAULTY_REQUESTS_MAX = 3_000;
const REQUESTS_MAX = 40_000;
/** A group is settled so long after the last session has ended that nobody goes on with; */
const SETTLED_MS = 20_000;
/** Rounds of a classic group wait for those that are gone, also one after the other. */
const CLASSIC_SETTLED_MS = 60_000;
/** and has read and committed everything after this. */
const READ_MS = 20_000;
/** What is late has arrived by then. */
const OVER_MS = 12 * 60_000;
const PRODUCE_EVERY_MS = 800;
const STEADY_MEMBERS = 2;
const STEADY_CLIENT = 1_000;

/** What judges the group of a run, as far as both protocols have it. */
interface JudgedGroup {
  isJudged: boolean;
  readonly lastSessionEndMs: number;
  readonly leftovers: readonly string[];
  settledBelieversOf(place: Place): readonly string[];
  isOwned(place: Place): boolean;
  committedOf(place: Place): number | undefined;
}

/** How the members of a run live, and what for. */
interface GroupRun {
  readonly clients: readonly PlannedClient[];
  readonly conditions: Conditions;
  readonly stay: (client: Client) => Promise<void>;
  readonly watchOf: (world: World) => JudgedGroup;
  readonly settledMs: number;
  /** What happens to a group that has settled, which then has to settle again. */
  readonly disturb?: (world: World) => void;
}

/**
 * One run of a consumer group from one seed: members come and go while faults strike; then the faults are over, and those
 * that stay must own every partition and read everything; then all leave, and the group can be deleted without a trace.
 */
export function runGroupSeed(
  seed: number,
  selection: Selection = {},
  log?: (line: string) => void,
): Promise<RunResult> {
  const run: GroupRun = {
    clients: drawGroupClients(seed),
    conditions: drawGroupConditions(seed),
    stay,
    watchOf: ({ watch }) => watch.groups as GroupWatch,
    settledMs: SETTLED_MS,
  };
  return runMembers(seed, run, selection, log);
}

/** The same for members that use Kafka's classic protocol. */
export function runClassicSeed(
  seed: number,
  selection: Selection = {},
  log?: (line: string) => void,
): Promise<RunResult> {
  const run: GroupRun = {
    clients: drawClassicClients(seed),
    conditions: drawClassicConditions(seed),
    stay: stayInClassicGroup,
    watchOf: ({ watch }) => watch.classic as ClassicWatch,
    settledMs: CLASSIC_SETTLED_MS,
    // A member dies, and only the others can notice.
    disturb: ({ watch }) => watch.classic?.dead.add(nameOfSteady(0)),
  };
  return runMembers(seed, run, selection, log);
}

async function runMembers(
  seed: number,
  { clients, conditions, stay: stayOn, watchOf, settledMs, disturb }: GroupRun,
  selection: Selection,
  log: ((line: string) => void) | undefined,
): Promise<RunResult> {
  // Loads its library, which takes time from outside.
  await compileTopicPattern(PATTERN);
  const live = async (run: WorldRun): Promise<void> => {
    const { world, violations } = run;
    const watch = watchOf(world);
    const plain = world.plainBroker();
    await plain.putTopic({ name: GROWING_TOPIC, partitions: drawGrowingPartitions(seed) });
    await plain.putTopic({ name: STEADY_TOPIC, partitions: STEADY_PARTITIONS });
    produce(world, plain);
    await run.workUnderFaults(FAULTY_REQUESTS_MAX);
    for (let i = 0; i < STEADY_MEMBERS; i++) {
      const client = new Client(world, STEADY_CLIENT + i, nameOfSteady(i));
      run.start(client, stayOn(client));
    }
    const healedAtMs = world.loop.nowMs;
    const settle = async (): Promise<void> => {
      const beganAtMs = world.loop.nowMs;
      const places = await placesOfTopics(plain);
      const untilMs = (): number => Math.max(beganAtMs, watch.lastSessionEndMs) + settledMs;
      await world.loop.run(() => isSettled(watch, places) || world.loop.nowMs > untilMs() || run.isEndless);
      for (const place of places) {
        const believers = watch.settledBelieversOf(place);
        if (believers.length !== 1 || !watch.isOwned(place))
          run.broken(
            'R11',
            `${believers.length} settled members have ${place} ${world.loop.nowMs - healedAtMs} ms after all faults.`,
          );
      }
    };
    await settle();
    const { partitions } = await plain.describeTopic(GROWING_TOPIC);
    await plain.putTopic({ name: GROWING_TOPIC, partitions: partitions + 1 });
    await settle();
    if (disturb !== undefined) {
      disturb(world);
      await settle();
    }
    if (violations.length === 0) {
      const ends = await endsOf(plain);
      const readUntilMs = world.loop.nowMs + READ_MS;
      const isRead = (): boolean => [...ends].every(([place, end]) => end === 0 || watch.committedOf(place) === end);
      await world.loop.run(() => isRead() || world.loop.nowMs > readUntilMs || run.isEndless);
      for (const [place, end] of ends) {
        const committed = watch.committedOf(place) ?? 0;
        if (committed !== end)
          run.broken('R18', `${place} is committed up to ${committed} of ${end} after all faults.`);
      }
    }
    watch.isJudged = true;
    const lastMs = world.loop.nowMs + OVER_MS;
    // So much time passes, also where nothing else happens: sessions end by it.
    world.loop.at(OVER_MS, () => {});
    await world.loop.run(() => world.loop.nowMs > lastMs || run.isEndless);
    if (run.working > 0)
      run.broken('R18', `${run.working} clients are not done ${OVER_MS} ms after the last judgement.`);
    if (violations.length === 0) await removeAll(plain, watch, run);
    if (run.isEndless) run.broken('R18', 'Something goes round in circles.');
  };
  return runInWorld({ seed, clients, conditions, requestsMax: REQUESTS_MAX }, selection, log, live);
}

function nameOfSteady(i: number): string {
  return `steady.${i}`;
}

/** Appends to the topics now and then until the faults are over, over stores that never fail. */
function produce(world: World, plain: Broker): void {
  const chance = new Chance(world.seed, STREAM.plan, 2);
  const once = async (): Promise<void> => {
    if (world.fates.healed) return;
    const topic = chance.pick([GROWING_TOPIC, STEADY_TOPIC]);
    const records = Array.from({ length: 1 + chance.below(5) }, (_, i) =>
      toRecord({ value: `${i}`, key: `${chance.below(100)}`, headers: {} }),
    );
    await plain.appendRecords({ topic, records });
    world.loop.at(chance.next() * 2 * PRODUCE_EVERY_MS, () => void once());
  };
  world.loop.at(0, () => void once());
}

/** All members have left, or their sessions have ended. A deletion leaves nothing then. */
async function removeAll(plain: Broker, watch: JudgedGroup, run: WorldRun): Promise<void> {
  await plain.deleteGroup(GROUP);
  for (const left of watch.leftovers) run.broken('R16', `After the group was deleted, ${left} is left.`);
}

async function placesOfTopics(plain: Broker): Promise<Place[]> {
  return [...(await endsOf(plain)).keys()];
}

async function endsOf(plain: Broker): Promise<Map<Place, number>> {
  const ends = new Map<Place, number>();
  for (const name of [GROWING_TOPIC, STEADY_TOPIC]) {
    const { topicId } = await plain.describeTopic(name);
    for (const { partition, highWatermark } of await plain.describePartitions(name))
      ends.set(`${topicId}/${partition}`, highWatermark);
  }
  return ends;
}

function isSettled(watch: JudgedGroup, places: readonly Place[]): boolean {
  return places.every((place) => watch.settledBelieversOf(place).length === 1 && watch.isOwned(place));
}
