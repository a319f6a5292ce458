import { DEFAULT_SETTINGS } from '../../../shared/broker/settings.ts';
import {
  ADMINISTER_CLASSIC_GROUP,
  LIVE_AS_STATIC_CLASSIC,
  LIVE_IN_CLASSIC_GROUP,
} from '../clients/in-classic-groups/live-in-classic-group.ts';
import { ADMINISTER_GROUP } from '../clients/in-groups/administer-group.ts';
import { GROUP_KEYS, LIVE_AS_STATIC, LIVE_IN_GROUP } from '../clients/in-groups/live-in-group.ts';
import { POLL_IN_GROUP } from '../clients/in-groups/poll-in-group.ts';
import { Chance } from '../world/chance.ts';
import { drawFaultMix } from '../world/faults.ts';
import { type Latency, STREAM } from '../world/simulated-process.ts';
import type { Conditions, GroupConditions } from '../world/world.ts';
import type { PlannedClient } from './run-in-world.ts';

const SESSION_MS = 6_000;
const SKEW_MS_MAX = 20_000;

/** In runs of a minute or two, in which sessions and transactions end by time. */
export function drawLatency(chance: Chance): Latency {
  return {
    usualMs: chance.pick([2, 10, 50]),
    slowMs: chance.pick([50, 1_000, 8_000]),
    slowShare: chance.pick([0, 0.02, 0.1]),
    patienceMs: chance.pick([50, 300, 1_500]),
  };
}

/** A minute or two of a consumer group, in which sessions of some seconds end. */
export function drawGroupConditions(seed: number): Conditions {
  const chance = new Chance(seed, STREAM.settings);
  return {
    faults: drawFaultMix(new Chance(seed, STREAM.faults), GROUP_KEYS),
    latency: drawLatency(chance),
    putsBeside: false,
    settings: {
      topicCacheMs: chance.pick([0, 1_000, 5_000]),
      commitTimeoutMs: chance.pick([1_000, 5_000, DEFAULT_SETTINGS.commitTimeoutMs]),
      offsetsRetentionMs: chance.pick([10_000, 30_000, DEFAULT_SETTINGS.offsetsRetentionMs]),
    },
    partitions: [0],
    processes: chance.pick([1, 2, 3]),
    coldRate: chance.pick([0, 0, 0.02, 0.1]),
    skewMs: chance.pick([0, 0, 1_500, SKEW_MS_MAX]),
    healAfterMs: chance.pick([20_000, 40_000, 60_000]),
    tailBefore: 0,
    passingPartitions: 1,
    groups: {
      isClassic: false,
      freezeMs: chance.pick([5_000, 20_000, 120_000]),
      skewMsMax: SKEW_MS_MAX,
      sessionTimeoutMs: SESSION_MS,
    },
  };
}

/** The same for a classic group. */
export function drawClassicConditions(seed: number): Conditions {
  const chance = new Chance(seed, STREAM.settings, 1);
  const conditions = drawGroupConditions(seed);
  const { settings, groups } = conditions;
  return {
    ...conditions,
    settings: {
      ...settings,
      offsetsRetentionMs: DEFAULT_SETTINGS.offsetsRetentionMs,
      initialRebalanceDelayMs: chance.pick([0, 500, 3_000]),
    },
    groups: { ...(groups as GroupConditions), isClassic: true },
  };
}

const MEMBERS_MAX = 4;

export function drawGroupClients(seed: number): PlannedClient[] {
  const chance = new Chance(seed, STREAM.plan);
  const count = 1 + chance.below(MEMBERS_MAX);
  const lives = chance.pick([2, 4, 8]);
  const main = chance.chance(0.3) ? LIVE_AS_STATIC : LIVE_IN_GROUP;
  const members = Array.from({ length: count }, () => chance.pick([main, main, main, LIVE_IN_GROUP, POLL_IN_GROUP]));
  const beside = chance.chance(0.6) ? [ADMINISTER_GROUP] : [];
  return [...members, ...beside].map((workload) => ({ workload, operations: lives }));
}

export function drawClassicClients(seed: number): PlannedClient[] {
  const chance = new Chance(seed, STREAM.plan);
  const count = 1 + chance.below(MEMBERS_MAX);
  const lives = chance.pick([2, 4, 8]);
  const main = chance.chance(0.35) ? LIVE_AS_STATIC_CLASSIC : LIVE_IN_CLASSIC_GROUP;
  const members = Array.from({ length: count }, () => chance.pick([main, main, LIVE_IN_CLASSIC_GROUP]));
  const beside = chance.chance(0.5) ? [ADMINISTER_CLASSIC_GROUP] : [];
  return [...members, ...beside].map((workload) => ({ workload, operations: lives }));
}

/** Of the topic that grows, at first. */
export function drawGrowingPartitions(seed: number): number {
  return new Chance(seed, STREAM.plan, 1).pick([2, 3, 5, 18]);
}
