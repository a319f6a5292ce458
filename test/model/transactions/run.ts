import type { AppendOutcome } from '../../../shared/broker/append/outcomes.ts';
import { encodeBatch } from '../../../shared/log/batch/record-batch.ts';
import { EventLogError } from '../../../shared/log/errors.ts';
import type { ProducerName } from '../../../shared/log/transaction/transaction.ts';
import { bytes, text } from '../../support/memory-broker.ts';
import { FaultyProcesses, GivenUp, type RunOutcome } from '../faulty-processes.ts';
import { judge, type Told, type View } from './judge.ts';

/**
 * The real broker in several processes with faults. Producers share two transactional ids, each of which fences the other. They
 * append to several heads and topics, commit offsets of a group, end their transactions or leave them open; readers look at
 * what is committed meanwhile. In some runs all producers use Kafka's older protocol.
 */

const RUN_MS = 200_000;
const SETTLE_MS = 120_000;
const CLIENT_WAIT_MS = 9_000;
/** Shorter than what a slow process takes, so that transactions are aborted under their producers. */
const TIMEOUT_MS = 15_000;
const IDS = ['x', 'y'];
/** Two heads of one topic, and another topic. */
export const PARTITIONS = [
  { topic: 't', partition: 0 },
  { topic: 't', partition: 1 },
  { topic: 't', partition: 16 },
  { topic: 'u', partition: 0 },
];
type Place = (typeof PARTITIONS)[number];
const placeName = ({ topic, partition }: Place): string => `${topic}-${partition}`;

export async function runSeed(seed: number): Promise<RunOutcome> {
  const world = new World(seed);
  return world.processes.clock.run(() => world.run());
}

class World {
  readonly processes: FaultyProcesses;
  readonly problems: string[] = [];
  readonly #told: Told[] = [];
  readonly #views: View[] = [];
  /** What the group had committed, one after the other. */
  readonly #offsets: (number | null)[] = [];
  /** Kafka's transaction.version 2. */
  readonly #isNew: boolean;
  #intents = 0;

  constructor(seed: number) {
    this.processes = new FaultyProcesses(seed, RUN_MS + SETTLE_MS);
    this.#isNew = this.processes.random.below(4) > 0;
  }

  async run(): Promise<RunOutcome> {
    const { processes, problems } = this;
    const { clock, marks } = processes;
    processes.start();
    for (const [name, partitions] of [
      ['t', 20],
      ['u', 1],
    ] as const)
      await this.#until(() => processes.anyBroker().putTopic({ name, partitions }));
    const endMs = clock.nowMs() + RUN_MS;
    const isOver = (): boolean => clock.nowMs() >= endMs;
    const busy = [...IDS, ...IDS].map((id) => this.#produce(id, isOver));
    busy.push(this.#append(isOver), this.#read(isOver), this.#maintain(isOver));
    await Promise.all(busy);
    processes.heal();
    await clock.sleep(SETTLE_MS);
    // A new producer of each id gets through, so nothing is open afterwards.
    for (const transactionalId of IDS) {
      const producer = await this.#settled('initialise', () =>
        processes.anyBroker().initialiseProducer({ transactionalId, timeoutMs: TIMEOUT_MS }),
      );
      if (producer !== undefined) await this.#transact(transactionalId, producer, new Map());
    }
    for (const place of PARTITIONS) {
      const ends = await processes.anyBroker().partitionEnds(place.topic, place.partition);
      if (ends.lastStableOffset !== ends.highWatermark)
        problems.push(`${placeName(place)} is open at ${ends.lastStableOffset}, below ${ends.highWatermark}`);
    }
    const whole = new Map<string, readonly string[]>();
    for (const place of PARTITIONS) whole.set(placeName(place), await this.#values(place));
    this.#offsets.push(await this.#offset(true));
    problems.push(...judge({ told: this.#told, views: this.#views, whole, offsets: this.#offsets }));
    return { problems, marks };
  }

  async #produce(transactionalId: string, isOver: () => boolean): Promise<void> {
    const { processes } = this;
    const { random, clock } = processes;
    while (!isOver()) {
      await clock.sleep(random.below(4_000));
      const request = { transactionalId, timeoutMs: TIMEOUT_MS };
      let producer = await this.#tried(() => processes.anyBroker().initialiseProducer(request), 'initialised');
      const sequences = new Map<string, number>();
      for (let left = 1 + random.below(5); left > 0 && producer !== undefined && !isOver(); left--) {
        producer = await this.#transact(transactionalId, producer, sequences);
        if (this.#isNew) sequences.clear();
        if (processes.drawPause()) {
          processes.marks.add('producer stood still');
          await clock.sleep(random.below(2 * TIMEOUT_MS));
        }
      }
    }
  }

  /** One transaction; returns the producer with which the next one goes on, `undefined` if it must begin anew. */
  async #transact(
    transactionalId: string,
    producer: ProducerName,
    sequences: Map<string, number>,
  ): Promise<ProducerName | undefined> {
    const { processes } = this;
    const { random, marks } = processes;
    const intent = this.#intents++;
    const told: Told = { intent, acknowledged: [], sent: [], staged: false, outcome: 'unknown' };
    this.#told.push(told);
    for (let left = 1 + random.below(4); left > 0; left--) {
      const place = PARTITIONS[random.below(PARTITIONS.length)] as Place;
      const value = `${intent}:${told.sent.length}`;
      told.sent.push({ place: placeName(place), value });
      const baseSequence = sequences.get(placeName(place)) ?? 0;
      if (!this.#isNew && !(await this.#enlist(transactionalId, producer, place))) return undefined;
      const outcome = await this.#tried(async () => {
        const [first] = await processes.anyBroker().appendInTransaction({
          transactionalId,
          enlists: this.#isNew,
          batches: [{ ...place, batch: batchOf(value, producer, baseSequence) }],
        });
        if ((first as AppendOutcome).ok) return true;
        throw (first as { readonly error: EventLogError }).error;
      }, 'appended');
      // What became of the batch is not known, or the producer was fenced: a new one aborts the transaction.
      if (outcome === undefined) return undefined;
      told.acknowledged.push({ place: placeName(place), value });
      sequences.set(placeName(place), baseSequence + 1);
    }
    if (random.below(3) === 0) {
      told.staged = true;
      const offsets = [{ topic: 't', partition: 0, offset: intent }];
      const staged = await this.#tried(async () => {
        const broker = processes.anyBroker();
        if (!this.#isNew)
          await broker.enlist({ transactionalId, producer, participants: { groups: ['g'] }, isFresh: true });
        const request = { transactionalId, producer, group: 'g', offsets, enlists: this.#isNew };
        const [first] = await broker.commitOffsetsInTransaction(request);
        if (first?.ok) return true;
        throw first?.error;
      }, 'offsets staged');
      if (staged === undefined) return undefined;
    }
    if (!processes.isHealed && random.below(12) === 0) {
      marks.add('left open');
      return undefined;
    }
    const outcome = random.below(4) === 0 ? 'aborted' : 'committed';
    const next = await this.#tried(
      () => processes.anyBroker().endTransaction({ transactionalId, producer, outcome, raisesEpoch: this.#isNew }),
      outcome,
    );
    if (next !== undefined) told.outcome = outcome;
    return next;
  }

  async #enlist(transactionalId: string, producer: ProducerName, { topic, partition }: Place): Promise<boolean> {
    const enlisted = await this.#tried(async () => {
      const broker = this.processes.anyBroker();
      const { topicId } = await broker.knownTopic(topic);
      const heads = [{ topicId, topic, headNumber: Math.floor(partition / 16) }];
      return broker.enlist({ transactionalId, producer, participants: { heads }, isFresh: true });
    }, 'enlisted');
    return enlisted !== undefined;
  }

  /** Records outside of transactions, between those of transactions. */
  async #append(isOver: () => boolean): Promise<void> {
    const { processes } = this;
    for (let i = 0; !isOver(); i++) {
      await processes.clock.sleep(processes.random.below(1_500));
      const { topic, partition } = PARTITIONS[processes.random.below(PARTITIONS.length)] as Place;
      const records = [{ key: null, value: bytes(`plain:${i}`), headers: [], partition }];
      await processes
        .within(processes.anyBroker().appendRecords({ topic, records, idempotencyKey: `plain ${i}` }), CLIENT_WAIT_MS)
        .catch(() => {});
    }
  }

  async #read(isOver: () => boolean): Promise<void> {
    const { processes } = this;
    while (!isOver()) {
      await processes.clock.sleep(processes.random.below(5_000));
      const place = PARTITIONS[processes.random.below(PARTITIONS.length)] as Place;
      const seen = await processes.within(this.#values(place), CLIENT_WAIT_MS).catch(() => undefined);
      if (seen !== undefined) this.#views.push({ place: placeName(place), values: seen.answer });
      const requireStable = processes.random.below(2) === 0;
      const offset = await processes.within(this.#offset(requireStable), CLIENT_WAIT_MS).catch(() => undefined);
      if (offset !== undefined) this.#offsets.push(offset.answer);
    }
  }

  /** Merges, and ends what was left open. */
  async #maintain(isOver: () => boolean): Promise<void> {
    const { processes } = this;
    while (!isOver()) {
      await processes.clock.sleep(processes.random.below(20_000));
      const broker = processes.anyBroker();
      const work = async (): Promise<void> => {
        const { topicId } = await broker.knownTopic('t');
        const merged = await broker.mergeHead(topicId, processes.random.below(2), { force: true });
        if ((merged?.nodesMerged ?? 0) > 0) processes.marks.add('merged');
        const { transactionsEnded } = await broker.sweepTransactions();
        if (transactionsEnded > 0) processes.marks.add('ended by the sweep');
      };
      await processes.within(work(), 60_000).catch(() => {});
    }
  }

  /** `null` if nothing is committed, or a transaction is about to commit another offset. */
  async #offset(requireStable: boolean): Promise<number | null> {
    const partitions = [{ topic: 't', partition: 0 }];
    const { items } = await this.processes.anyBroker().fetchOffsets({ group: 'g', requireStable, partitions });
    return items[0]?.offset ?? null;
  }

  async #values({ topic, partition }: Place): Promise<string[]> {
    const values: string[] = [];
    for (let offset = 0; ; ) {
      const { records, nextOffset } = await this.processes
        .anyBroker()
        .readRecords({ topic, partition, from: { offset }, maxBytes: 2_000 });
      for (const { value } of records) values.push(text(value));
      if (nextOffset === offset) return values;
      offset = nextOffset;
    }
  }

  /** A request that its client repeats; `undefined` if it fails for good, or its outcome stays unknown. */
  async #tried<T>(send: () => Promise<T>, mark: string): Promise<T | undefined> {
    const { processes } = this;
    const isOnce = !this.#isNew;
    for (let tries = 0; tries < (processes.isHealed ? 20 : 4); tries++) {
      try {
        // A second copy of a request can't be told from the next one by Kafka's older protocol.
        const answer = await (isOnce ? this.#alone(send) : processes.once(send, CLIENT_WAIT_MS));
        processes.marks.add(mark);
        return answer;
      } catch (error) {
        if (error instanceof EventLogError && !isRepeatable(error)) {
          processes.marks.add(error.code);
          return undefined;
        }
        if (!(error instanceof EventLogError || error instanceof GivenUp)) throw error;
        if (isOnce && error instanceof GivenUp) return undefined;
        await processes.clock.sleep(200);
      }
    }
    return undefined;
  }

  async #alone<T>(send: () => Promise<T>): Promise<T> {
    const result = await this.processes.within(send(), 60_000);
    if (result === undefined) throw new GivenUp();
    return result.answer;
  }

  async #until<T>(send: () => Promise<T>): Promise<T> {
    for (;;) {
      const result = await this.processes.within(send(), CLIENT_WAIT_MS).catch(() => undefined);
      if (result !== undefined) return result.answer;
    }
  }

  async #settled<T>(what: string, send: () => Promise<T>): Promise<T | undefined> {
    const answer = await this.#tried(send, `${what} in the end`);
    if (answer === undefined) this.problems.push(`${what} does not get through after all faults`);
    return answer;
  }
}

function isRepeatable({ retry, outcome }: EventLogError): boolean {
  return retry === 'as_is' || outcome === 'unknown';
}

function batchOf(value: string, producer: ProducerName, baseSequence: number): Uint8Array {
  const record = { key: null, value: bytes(value), headers: [], timestampMs: 1_700_000_000_000 };
  return encodeBatch([record], { producer: { ...producer, baseSequence }, transactional: true });
}
