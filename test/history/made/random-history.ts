import { addSequence, applyBatch, decideProducer, type ProducerState } from '../../../shared/log/head/producer.ts';
import { Chance } from '../../simulation/world/chance.ts';
import { headOf } from '../checks/check-model.ts';
import type {
  AppendedRecord,
  AppendInvocation,
  Completion,
  FinalLog,
  HistoryEvent,
  Invocation,
  ReadRecord,
  RecordFate,
} from '../history.ts';

export interface RandomHistory {
  readonly events: HistoryEvent[];
  readonly final: Map<string, FinalLog>;
}

type Facts = Pick<Invocation, 'op' | 'process' | 'time' | 'topic'>;
type Asked = Omit<AppendInvocation, 'f'>;

/** A topic from its creation to its deletion: what a correct log keeps of it. */
class Incarnation {
  readonly partitions: ReadRecord[][];
  readonly producers = new Map<string, ProducerState>();
  /** Idempotency key and head -> what was answered. */
  readonly keyed = new Map<string, RecordFate[]>();

  constructor(partitions: number) {
    this.partitions = Array.from({ length: partitions }, () => []);
  }
}

/** Some records of a request that are committed by one step, with their places in it. */
interface Unit {
  readonly places: readonly number[];
  readonly partitions: readonly number[];
}

/**
 * A log that keeps every promise, and clients that append, retry, read, and delete topics at the same time: each step of a
 * request is one moment, and which request takes the next step is drawn. Requests and answers get lost, and what was asked
 * may be done after the one who asked has given up.
 */
class RandomLog {
  readonly events: HistoryEvent[] = [];
  readonly topics = new Map<string, Incarnation>();
  private readonly chance: Chance;
  private readonly partitions: number;
  private readonly tasks: Generator<void, unknown>[] = [];
  private ops = 0;
  private values = 0;

  constructor(chance: Chance, partitions: number) {
    this.chance = chance;
    this.partitions = partitions;
    this.topics.set('t', new Incarnation(partitions));
    this.topics.set('u', new Incarnation(partitions));
  }

  run(requests: number): void {
    const clients = 2 + this.chance.below(5);
    for (let i = 0; i < clients; i++) this.tasks.push(this.client(i, Math.ceil(requests / clients)));
    while (this.tasks.length > 0) {
      const i = this.chance.below(this.tasks.length);
      if (this.tasks[i]?.next().done) this.tasks.splice(i, 1);
    }
  }

  private *client(id: number, requests: number): Generator<void> {
    const name = `c${id}`;
    const producer = { id: this.chance.below(2), epoch: id, sequences: new Map<string, number>() };
    for (let i = 0; i < requests; i++) {
      const topic = this.chance.chance(0.7) ? 't' : 'u';
      const partition = this.partition();
      const kind = this.chance.below(16);
      if (kind < 3) yield* this.append(name, topic, { records: this.records(undefined) });
      else if (kind < 4) yield* this.append(name, topic, { records: this.records(undefined), atomic: true });
      else if (kind < 6) yield* this.conditional(name, topic, partition);
      else if (kind < 8) yield* this.keyed(name, topic);
      else if (kind < 11) yield* this.produce(name, topic, partition, producer);
      else if (kind < 14) yield* this.read(name, topic, partition);
      else if (kind < 15) yield* this.end(name, topic, partition);
      else yield* this.replace(name);
    }
  }

  /** Few, so that requests meet. */
  private partition(): number {
    return this.chance.chance(0.7) ? this.chance.below(2) : this.chance.below(this.partitions);
  }

  private records(partition: number | undefined): AppendedRecord[] {
    return Array.from({ length: 1 + this.chance.below(4) }, () => {
      const value = `v${this.values++}`;
      const given = this.chance.chance(0.5) ? { key: `k${value}`, headers: { of: value } } : {};
      const time = this.chance.chance(0.5) ? { timestampMs: this.values } : {};
      return { value, ...given, ...time, partition: partition ?? this.partition() };
    });
  }

  private *conditional(name: string, topic: string, partition: number): Generator<void> {
    const end = this.topics.get(topic)?.partitions[partition]?.length ?? 0;
    const expectedOffset = Math.max(0, end - (this.chance.chance(0.3) ? 1 : 0));
    yield;
    yield* this.append(name, topic, { records: this.records(partition), expectedOffset });
  }

  private *keyed(name: string, topic: string): Generator<void> {
    const asked = { records: this.records(undefined), idempotencyKey: `key ${this.values}` };
    for (let tries = 0; tries < 4; tries++) if (yield* this.append(name, topic, asked)) return;
  }

  private *produce(
    name: string,
    topic: string,
    partition: number,
    producer: { readonly id: number; epoch: number; readonly sequences: Map<string, number> },
  ): Generator<void> {
    const at = `${topic}/${partition}`;
    const sequence = producer.sequences.get(at) ?? 0;
    const asked = { records: this.records(partition), producer: { id: producer.id, epoch: producer.epoch, sequence } };
    for (let tries = 0; tries < 4; tries++) {
      if (!(yield* this.append(name, topic, asked))) continue;
      producer.sequences.set(at, addSequence(sequence, asked.records.length));
      return;
    }
    // Fenced, or unsure of what has been appended: it begins anew, above every epoch that another may have.
    producer.epoch += 10;
    producer.sequences.clear();
  }

  /** One try, or two of them at once where that is safe; answers whether all of the first was acknowledged. */
  private append(process: string, topic: string, asked: Asked): Generator<void, boolean> {
    const isRepeatable = asked.producer !== undefined || asked.idempotencyKey !== undefined;
    if (isRepeatable && this.chance.chance(0.2)) this.tasks.push(this.appendOnce(`${process}'`, topic, asked));
    return this.appendOnce(process, topic, asked);
  }

  private *appendOnce(process: string, topic: string, asked: Asked): Generator<void, boolean> {
    const facts = this.facts(process, topic);
    this.note({ ...facts, type: 'invoke', f: 'append', ...asked });
    yield;
    const fate = this.chance.below(10);
    if (fate === 0) {
      this.note({ ...facts, type: 'fail', f: 'append', error: 'throttled' });
      return false;
    }
    if (fate <= 2) {
      if (fate === 1) this.tasks.push(this.serve(topic, asked));
      if (this.chance.chance(0.8)) {
        yield;
        this.note({ ...facts, type: 'info', f: 'append', error: 'storage_unavailable' });
      }
      return false;
    }
    const { outcomes, nextOffset } = yield* this.serve(topic, asked);
    yield;
    const types = new Set(outcomes.map((outcome) => outcome.type));
    const type = types.size === 1 ? (outcomes[0]?.type ?? 'info') : 'info';
    const told = nextOffset === undefined ? {} : { nextOffset };
    this.note({ ...facts, type, f: 'append', outcomes, ...told });
    return type === 'ok';
  }

  private *serve(topic: string, asked: Asked): Generator<void, { outcomes: RecordFate[]; nextOffset?: number }> {
    const outcomes: RecordFate[] = [];
    const result: { outcomes: RecordFate[]; nextOffset?: number } = { outcomes };
    for (const unit of this.unitsOf(asked)) {
      yield;
      const done = this.commit(topic, asked, unit);
      unit.places.forEach((place, i) => {
        outcomes[place] = done.fates[i] as RecordFate;
      });
      if (done.nextOffset !== undefined) result.nextOffset = done.nextOffset;
    }
    return result;
  }

  /** Where nothing holds records together they go in batches of up to two. */
  private unitsOf({ records, atomic, idempotencyKey, expectedOffset }: Asked): Unit[] {
    const units = new Map<string, { places: number[]; partitions: number[] }>();
    records.forEach(({ partition = 0 }, place) => {
      const batch = records.slice(0, place).filter((other) => other.partition === partition).length >> 1;
      let name = `${partition} ${batch}`;
      if (atomic) name = 'all';
      else if (idempotencyKey !== undefined) name = `head ${headOf(partition)}`;
      else if (expectedOffset !== undefined) name = `${partition}`;
      const unit = units.get(name) ?? { places: [], partitions: [] };
      unit.places.push(place);
      unit.partitions.push(partition);
      units.set(name, unit);
    });
    return [...units.values()];
  }

  /** One moment. */
  private commit(topic: string, asked: Asked, unit: Unit): { fates: RecordFate[]; nextOffset?: number } {
    const all = (fate: RecordFate): RecordFate[] => unit.places.map(() => fate);
    const { producer, idempotencyKey, expectedOffset } = asked;
    const incarnation = this.topics.get(topic);
    if (incarnation === undefined) return { fates: all({ type: 'fail', error: 'unknown_topic' }) };
    const head = headOf(unit.partitions[0] as number);
    const kept = incarnation.keyed.get(`${idempotencyKey} ${head}`);
    if (kept !== undefined) return { fates: kept };
    if (producer === undefined && idempotencyKey === undefined && this.chance.chance(0.05)) {
      return { fates: all({ type: 'fail', error: 'throttled' }) };
    }
    const [partition = 0] = unit.partitions;
    const nextOffset = incarnation.partitions[partition]?.length ?? 0;
    if (expectedOffset !== undefined && expectedOffset !== nextOffset) {
      return { fates: all({ type: 'fail', error: 'offset_mismatch' }), nextOffset };
    }
    if (producer !== undefined) {
      const id = `${producer.id} ${head}`;
      const state = incarnation.producers.get(id);
      const baseSequence = addSequence(producer.sequence, unit.places[0] as number);
      const batch = { slot: partition, producerEpoch: producer.epoch, baseSequence, records: unit.places.length };
      const decision = decideProducer(state, batch, false);
      if (decision.type === 'duplicate') {
        const { baseOffset } = decision;
        const fates = unit.places.map(
          (_, i) => ({ type: 'ok', partition, offset: baseOffset + i, duplicate: true }) as const,
        );
        return { fates };
      }
      if (decision.type !== 'accepted') return { fates: all({ type: 'fail', error: decision.type }) };
      incarnation.producers.set(id, applyBatch(state, batch, nextOffset));
    }
    const fates = unit.places.map((place): RecordFate => {
      const { partition = 0, ...content } = asked.records[place] as AppendedRecord;
      const log = incarnation.partitions[partition] as ReadRecord[];
      const offset = log.length;
      log.push({ timestampMs: 1_000 + this.events.length, headers: {}, ...content, offset });
      return { type: 'ok', partition, offset, duplicate: false };
    });
    if (idempotencyKey !== undefined) {
      const again = fates.map((fate) => (fate.type === 'ok' ? { ...fate, duplicate: true } : fate));
      incarnation.keyed.set(`${idempotencyKey} ${head}`, again);
    }
    return { fates };
  }

  private *read(process: string, topic: string, partition: number): Generator<void> {
    const facts = this.facts(process, topic);
    const known = this.topics.get(topic)?.partitions[partition]?.length ?? 0;
    const offset = this.chance.chance(0.2) ? undefined : this.chance.below(known + 1);
    this.note({ ...facts, type: 'invoke', f: 'read', partition, ...(offset === undefined ? {} : { offset }) });
    yield;
    const log = this.topics.get(topic)?.partitions[partition];
    if (log === undefined || (offset ?? 0) > log.length) {
      yield;
      this.note({
        ...facts,
        type: 'fail',
        f: 'read',
        error: log === undefined ? 'unknown_topic' : 'offset_out_of_range',
      });
      return;
    }
    const start = offset ?? this.chance.below(log.length + 1);
    const highWatermark = log.length;
    const records = log.slice(start, start + 1 + this.chance.below(8));
    yield;
    const answer = { records, highWatermark, logStartOffset: 0, nextOffset: start + records.length };
    this.note({ ...facts, type: 'ok', f: 'read', ...answer });
  }

  private *end(process: string, topic: string, partition: number): Generator<void> {
    const facts = this.facts(process, topic);
    this.note({ ...facts, type: 'invoke', f: 'end', partition });
    yield;
    const highWatermark = this.topics.get(topic)?.partitions[partition]?.length;
    yield;
    if (highWatermark === undefined) this.note({ ...facts, type: 'fail', f: 'end', error: 'unknown_topic' });
    else this.note({ ...facts, type: 'ok', f: 'end', highWatermark });
  }

  /** Deletes the other topic, which may fail or take long, and makes it again. */
  private *replace(process: string): Generator<void> {
    const deletion = this.facts(process, 'u');
    this.note({ ...deletion, type: 'invoke', f: 'delete_topic' });
    yield;
    const fate = this.chance.below(12);
    const exists = this.topics.has('u');
    if (fate === 0) this.tasks.push(this.deleteLate());
    else if (fate > 1) this.topics.delete('u');
    yield;
    const type = fate === 0 ? 'info' : fate === 1 || !exists ? 'fail' : 'ok';
    this.note({ ...deletion, type, f: 'delete_topic' });
    yield;
    const creation = this.facts(process, 'u');
    this.note({ ...creation, type: 'invoke', f: 'create_topic' });
    yield;
    if (!this.topics.has('u')) this.topics.set('u', new Incarnation(this.partitions));
    yield;
    this.note({ ...creation, type: 'ok', f: 'create_topic' });
  }

  private *deleteLate(): Generator<void> {
    for (let i = this.chance.below(30); i > 0; i--) yield;
    this.topics.delete('u');
  }

  private facts(process: string, topic: string): Facts {
    return { op: this.ops++, process, time: this.events.length, topic };
  }

  private note(event: Invocation | Completion): void {
    this.events.push(event);
  }
}

/** What clients of a correct log saw, and what it has in the end. About `requests` requests; the same for the same seed. */
export function randomHistory(seed: number, requests: number, partitions = 20): RandomHistory {
  const log = new RandomLog(new Chance(seed, requests), partitions);
  log.run(requests);
  const final = new Map<string, FinalLog>();
  for (const [name, incarnation] of log.topics) final.set(name, new Map(incarnation.partitions.entries()));
  return { events: log.events, final };
}
