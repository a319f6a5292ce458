import { describe, expect, it } from 'vitest';
import type { AppendRecordsRequest, RecordOutcome } from '../../shared/broker/append-records.ts';
import type { Broker } from '../../shared/broker/broker.ts';
import { EventLogError } from '../../shared/log/errors.ts';
import { faultyStores, randomFaults } from '../support/faulty-stores.ts';
import { memoryBroker, memoryStores, readAll, record, SeededRandom, text } from '../support/memory-broker.ts';

/**
 * Several processes append to the same heads while requests are throttled, lost, delayed, repeated and late. Whatever the
 * seed: what was acknowledged is there once, where it was said to be; what was refused is not there; what is unknown is
 * there once or not at all; and nothing that was read changes. A failure names its seed: give it to `runSeed`.
 */

const SEEDS = 160;
const PARTITIONS = 40;
const OPERATIONS = 12;
const TRIES_MAX = 60;

interface Fate {
  readonly values: readonly string[];
  readonly type: 'acknowledged' | 'refused' | 'unknown';
  readonly places: readonly string[];
}

interface World {
  readonly random: SeededRandom;
  readonly brokers: readonly Broker[];
  readonly fates: Fate[];
  /** Partition and offset -> value, as readers have seen it. */
  readonly seen: Map<string, string>;
}

type Answer = { readonly type: Fate['type']; readonly code: string; readonly outcomes: readonly RecordOutcome[] };

async function send(broker: Broker, request: AppendRecordsRequest): Promise<Answer> {
  try {
    const outcomes = await broker.appendRecords(request);
    const failed = outcomes.find((outcome) => !outcome.ok);
    if (failed === undefined || failed.ok) return { type: 'acknowledged', code: '', outcomes };
    return { type: failed.error.outcome === 'not_applied' ? 'refused' : 'unknown', code: failed.error.code, outcomes };
  } catch (error) {
    if (!(error instanceof EventLogError)) throw error;
    return { type: error.outcome === 'not_applied' ? 'refused' : 'unknown', code: error.code, outcomes: [] };
  }
}

function note(world: World, values: readonly string[], { type, outcomes }: Answer): void {
  const places = outcomes.map((outcome) => (outcome.ok ? `${outcome.partition}/${outcome.offset}` : '-'));
  world.fates.push({ values, type, places });
}

/** Sends again, through any broker and sometimes through two at once, until it is done. */
async function insist(world: World, values: readonly string[], request: AppendRecordsRequest): Promise<void> {
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const brokers = Array.from({ length: 1 + Math.floor(world.random.next() * 1.4) }, () => pick(world));
    const answers = await Promise.all(brokers.map((broker) => send(broker, request)));
    for (const { type, code } of answers) {
      if (type !== 'acknowledged') expect(['throttled', 'storage_unavailable']).toContain(code);
    }
    const done = answers.filter(({ type }) => type === 'acknowledged');
    for (const answer of done) note(world, values, answer);
    if (done.length > 0) return;
  }
  throw new Error(`Not done after ${TRIES_MAX} tries.`);
}

function pick({ brokers, random }: World): Broker {
  return brokers[random.below(brokers.length)] as Broker;
}

async function write(world: World, writer: number): Promise<void> {
  const { random } = world;
  const own = world.brokers[writer] as Broker;
  const sequences = new Map<number, number>();
  let epoch = 0;
  for (let i = 0; i < OPERATIONS; i++) {
    const values = Array.from(
      { length: 1 + random.below(3) },
      (_, k) => `${writer}.${i}.${k}${random.below(20) === 0 ? 'x'.repeat(9_000) : ''}`,
    );
    const partition = random.below(4) * 11;
    const together = values.map((value) => record(value, { partition }));
    const spread = values.map((value) => record(value, { partition: random.below(PARTITIONS) }));
    const kind = random.below(6);
    if (kind === 0) {
      for (const [k, alone] of spread.entries())
        note(world, values.slice(k, k + 1), await send(own, { topic: 't', records: [alone] }));
    } else if (kind === 1) {
      note(world, values, await send(own, { topic: 't', records: together, atomic: true }));
    } else if (kind === 2) {
      const known = [...world.seen.keys()].filter((place) => place.startsWith(`${partition}/`)).length;
      const answer = await send(own, { topic: 't', records: together, expectedOffset: known });
      note(world, values, answer);
      const first = answer.outcomes[0];
      if (answer.type === 'acknowledged' && first?.ok) expect(first.offset).toBe(known);
    } else if (kind === 3) {
      await insist(world, values, { topic: 't', records: spread, idempotencyKey: `key ${writer}.${i}` });
    } else {
      if (random.below(10) === 0) {
        epoch += 1 + random.below(40);
        sequences.clear();
      }
      const baseSequence = sequences.get(partition) ?? 0;
      await insist(world, values, {
        topic: 't',
        records: together,
        producer: { producerId: writer, producerEpoch: epoch, baseSequence },
      });
      sequences.set(partition, baseSequence + values.length);
    }
  }
}

async function follow(world: World, isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    try {
      await look(world, pick(world), world.random.below(PARTITIONS));
    } catch (error) {
      if (!(error instanceof EventLogError)) throw error;
      expect(['throttled', 'storage_unavailable']).toContain(error.code);
    }
  }
}

async function look(world: World, broker: Broker, partition: number): Promise<void> {
  const records = await readAll(broker, 't', partition);
  records.forEach(({ offset, value }, i) => {
    expect(offset).toBe(i);
    const place = `${partition}/${offset}`;
    expect(world.seen.get(place) ?? text(value)).toBe(text(value));
    world.seen.set(place, text(value));
  });
}

async function runSeed(seed: number): Promise<void> {
  const stores = memoryStores();
  const random = new SeededRandom(seed);
  let rate = 0.02 + random.next() * 0.25;
  const faults = randomFaults(random, 1, 40, 30_000);
  const faulty = faultyStores(stores, (call) => ({
    ...faults(call),
    ...(random.next() < rate ? {} : { fault: undefined }),
  }));
  const settings = { commitTimeoutMs: 2_000, headCacheMs: random.below(2) * 1_000 };
  const brokers = [0, 1, 2, 3].map((n) => memoryBroker(faulty, settings, new SeededRandom(seed * 7 + n)));
  const world: World = { random, brokers, fates: [], seen: new Map() };
  const checker = memoryBroker(stores, settings, new SeededRandom(seed * 7 + 5));
  await checker.putTopic({ name: 't', partitions: PARTITIONS });
  let over = false;
  const writers = Promise.all([0, 1, 2, 3].map((writer) => write(world, writer))).finally(() => {
    over = true;
  });
  await stores.clock.run(Promise.all([writers, follow(world, () => over)]));
  rate = 0;
  // What is late arrives now.
  await stores.clock.advance(120_000);
  await stores.clock.run(Promise.all(brokers.map((broker) => broker.idle())));
  for (let partition = 0; partition < PARTITIONS; partition++) await look(world, checker, partition);
  const places = new Map<string, string[]>();
  for (const [place, value] of world.seen) places.set(value, [...(places.get(value) ?? []), place]);
  let known = 0;
  for (const { values, type, places: said } of world.fates) {
    values.forEach((value, k) => {
      const found = places.get(value) ?? [];
      if (type === 'acknowledged') expect(found, value).toEqual([said[k]]);
      else if (type === 'refused') expect(found, value).toEqual([]);
      else expect(found.length, value).toBeLessThanOrEqual(1);
      known++;
    });
  }
  expect(known).toBeGreaterThan(0);
  const invented = [...places.keys()].filter((value) => !world.fates.some(({ values }) => values.includes(value)));
  expect(invented).toEqual([]);
}

describe('brokers over stores that fail', () => {
  const perTest = 20;
  for (let first = 0; first < SEEDS; first += perTest) {
    it(`keep every promise, seeds ${first} to ${first + perTest - 1}`, async () => {
      for (let seed = first; seed < first + perTest; seed++) {
        await runSeed(seed).catch((cause: unknown) => {
          throw new Error(`Seed ${seed} failed: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
        });
      }
    });
  }
});
