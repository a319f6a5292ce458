import type { AssignorGroup, AssignorTopic, GroupAssignment } from '../assignor.ts';
import { GROUP_PAGE_PARTITIONS } from '../partition-set.ts';

/** Passes over the pools, as many as Kafka's assignor makes over the topics; two are enough for most groups. */
const PASSES_MAX = 16;

/** Topics with the same subscribers. Within a pool it does not matter for the balance who has which partition. */
interface Pool {
  /** Positions of the topics in the group, ascending. */
  readonly topics: number[];
  /** Positions of the subscribers in the group, ascending. The lists below have one number for each of them. */
  readonly subscribers: readonly number[];
  partitions: number;
  /** How many of the pool's partitions each subscriber has before the assignment. */
  readonly owned: Int32Array;
  /** How many it gets. */
  readonly counts: Int32Array;
}

/**
 * Gives all members the same number of partitions, as far as their subscriptions allow. If all members subscribe to the same
 * topics, the numbers differ by at most 1, and no assignment with that balance moves fewer partitions. Otherwise no
 * single partition can be moved to improve the balance, unless `PASSES_MAX` was reached. The partitions that a member gets
 * share pages as far as possible, because the requests of a rebalance are one for each page.
 */
export function assignUniform(group: AssignorGroup): GroupAssignment {
  const owners = ownedPartitions(group);
  const pools = makePools(group, owners);
  const loads = new Int32Array(group.members.length);
  for (const { subscribers, owned } of pools) addLoads(loads, subscribers, owned, 1);
  for (const pool of pools) spreadFree(pool, loads);
  for (let pass = 0; pass < PASSES_MAX; pass++) {
    // Not `some`, which would stop at the first pool that changes.
    if (pools.filter((pool) => balance(pool, loads)).length === 0) break;
  }
  for (const pool of pools) place(group.topics, pool, owners);
  return owners;
}

/** The partitions that members have now and still subscribe to. */
function ownedPartitions({ members, topics, subscribers }: AssignorGroup): Int32Array[] {
  const numbers = new Map(topics.map(({ topicId }, i) => [topicId, i]));
  const owners = topics.map(({ partitions }) => new Int32Array(partitions).fill(-1));
  const subscribed = subscribers.map((positions) => new Set(positions));
  for (const [position, { owned }] of members.entries()) {
    for (const [topicId, partitions] of owned) {
      const topic = numbers.get(topicId);
      if (topic === undefined || !subscribed[topic]?.has(position)) continue;
      const ownersOfTopic = owners[topic] as Int32Array;
      for (const partition of partitions) if (ownersOfTopic[partition] === -1) ownersOfTopic[partition] = position;
    }
  }
  return owners;
}

/** The pools in the order of Kafka's assignor: those that leave their subscribers the least choice come first. */
function makePools({ topics, subscribers }: AssignorGroup, owners: GroupAssignment): Pool[] {
  const pools = new Map<string, Pool>();
  for (const [topic, positions] of subscribers.entries()) {
    if (positions.length === 0) continue;
    const name = positions.join();
    const pool = pools.get(name) ?? {
      topics: [],
      subscribers: positions,
      partitions: 0,
      owned: new Int32Array(positions.length),
      counts: new Int32Array(positions.length),
    };
    pools.set(name, pool);
    pool.topics.push(topic);
    pool.partitions += (topics[topic] as AssignorTopic).partitions;
  }
  for (const pool of pools.values()) {
    const places = placesOf(pool);
    for (const topic of pool.topics) {
      for (const owner of owners[topic] as Int32Array) {
        if (owner !== -1) (pool.owned[places.get(owner) as number] as number)++;
      }
    }
    pool.counts.set(pool.owned);
  }
  return [...pools.values()].sort(
    (a, b) =>
      b.partitions / b.subscribers.length - a.partitions / a.subscribers.length ||
      a.subscribers.length - b.subscribers.length ||
      (a.topics[0] as number) - (b.topics[0] as number),
  );
}

/** Position of a subscriber in the group -> its place in the pool's lists. */
function placesOf({ subscribers }: Pool): Map<number, number> {
  return new Map(subscribers.map((position, place) => [position, place]));
}

function addLoads(loads: Int32Array, subscribers: readonly number[], counts: Int32Array, factor: 1 | -1): void {
  for (const [place, position] of subscribers.entries())
    (loads[position] as number) += factor * (counts[place] as number);
}

/** Gives the partitions that nobody has to the subscribers with the fewest. Takes nothing from anybody. */
function spreadFree(pool: Pool, loads: Int32Array): void {
  const free = pool.partitions - pool.owned.reduce((sum, count) => sum + count, 0);
  const gains = fill(
    Int32Array.from(pool.subscribers, (position) => loads[position] as number),
    free,
    () => 0,
  );
  for (const [place, gain] of gains.entries()) (pool.counts[place] as number) += gain;
  addLoads(loads, pool.subscribers, gains, 1);
}

/** Divides the pool's partitions again, given what its subscribers have of other pools. Returns whether that changed a count. */
function balance(pool: Pool, loads: Int32Array): boolean {
  const { subscribers, owned, counts } = pool;
  addLoads(loads, subscribers, counts, -1);
  const bases = Int32Array.from(subscribers, (position) => loads[position] as number);
  // Whoever has one more now keeps it: first what is owned, then what this assignment gave.
  const next = fill(bases, pool.partitions, (place, count) => {
    const isOwned = (owned[place] as number) > count;
    return (isOwned ? 0 : 2) + ((counts[place] as number) > count ? 0 : 1);
  });
  const changed = next.some((count, place) => count !== counts[place]);
  counts.set(next);
  addLoads(loads, subscribers, counts, 1);
  return changed;
}

const RANKS = 4;

/**
 * Divides a number over members that have `bases` already, so that those who get any end up equal, or one above the others.
 * Returns what each gets. The rank, below `RANKS`, decides who gets the ones that remain: the lowest, given what the member
 * gets without it.
 */
function fill(bases: Int32Array, amount: number, rank: (place: number, count: number) => number): Int32Array {
  const below = (level: number): number => bases.reduce((sum, base) => sum + Math.max(0, level - base), 0);
  let level = bases.reduce((least, base) => Math.min(least, base), Number.MAX_SAFE_INTEGER);
  // The highest level that does not take more than the amount is in [level, tooHigh).
  let tooHigh = level + amount + 1;
  while (tooHigh - level > 1) {
    const middle = Math.floor((level + tooHigh) / 2);
    if (below(middle) <= amount) level = middle;
    else tooHigh = middle;
  }
  const counts = bases.map((base) => Math.max(0, level - base));
  let rest = amount - below(level);
  const ranks = counts.map((count, place) => ((bases[place] as number) > level ? RANKS : rank(place, count)));
  for (let current = 0; rest > 0; current++) {
    for (let place = 0; place < counts.length && rest > 0; place++) {
      if (ranks[place] !== current) continue;
      (counts[place] as number)++;
      rest--;
    }
  }
  return counts;
}

/** Partitions of one page of a topic. */
interface PageRun {
  readonly owners: Int32Array;
  readonly partitions: number[];
}

/** Changes the owners of the pool's partitions so that each subscriber has as many as it gets. */
function place(topics: readonly AssignorTopic[], pool: Pool, owners: GroupAssignment): void {
  const places = placesOf(pool);
  // Positive: so many are needed; negative: so many are given up.
  const needs = pool.counts.map((count, i) => count - (pool.owned[i] as number));
  giveUp(topics, pool, owners, places, needs);
  joinPages(topics, pool, owners, places, needs);
  let taker = 0;
  for (const topic of pool.topics) {
    const ownersOfTopic = owners[topic] as Int32Array;
    for (let partition = 0; partition < ownersOfTopic.length; partition++) {
      if (ownersOfTopic[partition] !== -1) continue;
      while ((needs[taker] as number) === 0) taker++;
      ownersOfTopic[partition] = pool.subscribers[taker] as number;
      (needs[taker] as number)--;
    }
  }
}

/** A member gives up the pages of which it has the least, so that it keeps whole ones. */
function giveUp(
  topics: readonly AssignorTopic[],
  pool: Pool,
  owners: GroupAssignment,
  places: ReadonlyMap<number, number>,
  needs: Int32Array,
): void {
  const runs = pool.subscribers.map((): PageRun[] => []);
  for (const topic of pool.topics) {
    const ownersOfTopic = owners[topic] as Int32Array;
    for (let from = 0; from < (topics[topic] as AssignorTopic).partitions; from += GROUP_PAGE_PARTITIONS) {
      const runsOfPage = new Map<number, PageRun>();
      for (let i = from; i < Math.min(from + GROUP_PAGE_PARTITIONS, ownersOfTopic.length); i++) {
        const place = places.get(ownersOfTopic[i] as number);
        if (place === undefined || (needs[place] as number) >= 0) continue;
        let run = runsOfPage.get(place);
        if (run === undefined) {
          run = { owners: ownersOfTopic, partitions: [] };
          runsOfPage.set(place, run);
          (runs[place] as PageRun[]).push(run);
        }
        run.partitions.push(i);
      }
    }
  }
  for (const [place, runsOfMember] of runs.entries()) {
    // Of runs of the same length the last is given up first.
    for (const run of runsOfMember.reverse().sort((a, b) => a.partitions.length - b.partitions.length)) {
      for (const partition of run.partitions.reverse()) {
        if ((needs[place] as number) === 0) break;
        run.owners[partition] = -1;
        (needs[place] as number)++;
      }
    }
  }
}

/** Gives free partitions to members that need some and have others of the same page. */
function joinPages(
  topics: readonly AssignorTopic[],
  pool: Pool,
  owners: GroupAssignment,
  places: ReadonlyMap<number, number>,
  needs: Int32Array,
): void {
  for (const topic of pool.topics) {
    const ownersOfTopic = owners[topic] as Int32Array;
    for (let from = 0; from < (topics[topic] as AssignorTopic).partitions; from += GROUP_PAGE_PARTITIONS) {
      const page = ownersOfTopic.subarray(from, from + GROUP_PAGE_PARTITIONS);
      for (const owner of new Set(page)) {
        const place = places.get(owner);
        if (place === undefined) continue;
        for (let i = 0; i < page.length && (needs[place] as number) > 0; i++) {
          if (page[i] !== -1) continue;
          page[i] = owner;
          (needs[place] as number)--;
        }
      }
    }
  }
}
