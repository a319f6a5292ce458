import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { AppendRecordsRequest, RecordOutcome } from '../../shared/broker/append/outcomes.ts';
import type { Broker } from '../../shared/broker/broker.ts';
import { PRODUCER_EPOCH_MAX } from '../../shared/log/limits.ts';
import { memoryBroker, memoryStores, readAll, record, text } from '../support/memory-broker.ts';

/** Random commands to several brokers over the same stores, against a log that is a list per partition. */

interface ModelRecord {
  readonly value: string;
  readonly timestampMs: number;
}

/** One producer in one partition. */
interface ModelProducer {
  epoch: number;
  /** Those of the epoch, in order. */
  batches: { readonly sequence: number; readonly records: number; readonly offset: number }[];
  /** Every batch that was ever appended, by epoch, sequence and length -> its offset. */
  readonly past: Map<string, number>;
}

interface Model {
  /** `undefined` while there is no topic. */
  partitions: ModelRecord[][] | undefined;
  /** By producer and partition. */
  producers: Map<string, ModelProducer>;
  /** By producer id: the day on which it was given out. */
  ids: number[];
  /** Lower ids may have written to the topic before this one. */
  producersBefore: number;
  wasDeleted: boolean;
  day: number;
  keys: Map<string, string>;
  values: number;
}

interface Real {
  readonly stores: ReturnType<typeof memoryStores>;
  readonly brokers: Broker[];
}

type Command = fc.AsyncCommand<Model, Real>;
const T = 1_700_000_000_000;

/** Offsets, `+` behind a duplicate's, or the error's code. */
function print(outcomes: readonly RecordOutcome[]): string {
  return outcomes
    .map((outcome) =>
      outcome.ok ? `${outcome.partition}/${outcome.offset}${outcome.duplicate ? '+' : ''}` : outcome.error.code,
    )
    .join(' ');
}

abstract class BaseCommand implements Command {
  readonly broker: number;
  constructor(broker: number) {
    this.broker = broker;
  }
  check(): boolean {
    return true;
  }
  abstract run(model: Model, real: Real): Promise<void>;
  abstract toString(): string;
  protected of(real: Real): Broker {
    return real.brokers[this.broker] as Broker;
  }
}

async function expectAppend(work: Promise<RecordOutcome[]>, expected: string, or = expected): Promise<void> {
  const answer = await work.then(print, (error: { code: string }) => error.code);
  if (answer !== or) expect(answer).toBe(expected);
}

/** What an append of `count` records to a partition answers, and the records are kept. */
function appendToModel(model: Model, partition: number, values: readonly ModelRecord[]): string {
  const log = model.partitions?.[partition];
  if (log === undefined) return 'unknown';
  const first = log.length;
  log.push(...values);
  return values.map((_, i) => `${partition}/${first + i}`).join(' ');
}

class Append extends BaseCommand {
  readonly partition: number;
  readonly times: readonly number[];
  readonly expected: number | undefined;
  constructor(broker: number, partition: number, times: readonly number[], expected: number | undefined) {
    super(broker);
    this.partition = partition;
    this.times = times;
    this.expected = expected;
  }
  async run(model: Model, real: Real): Promise<void> {
    const records = this.times.map((time) => ({ value: `${model.values++}`, timestampMs: T + time }));
    const { partition } = this;
    const expectedOffset =
      this.expected === undefined
        ? undefined
        : Math.max(0, (model.partitions?.[partition]?.length ?? 0) + this.expected);
    const request: AppendRecordsRequest = {
      topic: 't',
      records: records.map(({ value, timestampMs }) => record(value, { partition, timestampMs })),
      expectedOffset,
    };
    let answer: string;
    if (model.partitions === undefined) answer = 'unknown_topic';
    else if (partition >= model.partitions.length) {
      const others = records.slice(1).map(() => 'unknown_partition');
      answer = ['unknown_partition', ...others].join(' ');
    } else if (expectedOffset !== undefined && expectedOffset !== model.partitions[partition]?.length) {
      answer = records.map(() => 'offset_mismatch').join(' ');
    } else answer = appendToModel(model, partition, records);
    await expectAppend(this.of(real).appendRecords(request), answer);
  }
  toString(): string {
    return `append(b${this.broker} p${this.partition} ${this.times.length} records, expected ${this.expected})`;
  }
}

class Produce extends BaseCommand {
  readonly partition: number;
  readonly producerId: number;
  readonly epochStep: number;
  readonly sequenceStep: number;
  readonly count: number;
  constructor(
    broker: number,
    partition: number,
    producerId: number,
    epochStep: number,
    sequenceStep: number,
    count: number,
  ) {
    super(broker);
    this.partition = partition;
    this.producerId = producerId;
    this.epochStep = epochStep;
    this.sequenceStep = sequenceStep;
    this.count = count;
  }
  async run(model: Model, real: Real): Promise<void> {
    const { partition, count, producerId } = this;
    const log = model.partitions?.[partition];
    if (log === undefined) return;
    const name = `${producerId}@${partition}`;
    const known = model.producers.get(name);
    const last = known?.batches.at(-1);
    const epoch = Math.min(PRODUCER_EPOCH_MAX, Math.max(0, (known?.epoch ?? 0) + this.epochStep));
    // Steps of 0 and below send a batch again, or one that overlaps; those above leave a gap.
    const next = last === undefined || known?.epoch !== epoch ? 0 : last.sequence + last.records;
    const back = this.sequenceStep < 0 ? known?.batches.at(this.sequenceStep) : undefined;
    const sequence = back?.sequence ?? next + Math.max(0, this.sequenceStep);
    const records = back?.records ?? count;
    const values = Array.from({ length: records }, () => ({ value: `${model.values++}`, timestampMs: T }));
    const all = (code: string): string => values.map(() => code).join(' ');
    const again = (offset: number): string => values.map((_, i) => `${partition}/${offset + i}+`).join(' ');
    const same =
      known?.epoch === epoch
        ? known.batches.slice(-5).find((batch) => batch.sequence === sequence && batch.records === records)
        : undefined;
    // An id that nobody was given is young too.
    const isYoung = (model.ids[producerId] ?? model.day) >= model.day - 1 && producerId >= model.producersBefore;
    const mayBegin = known === undefined ? !isYoung || sequence === 0 : sequence === next;
    let answer: string;
    if (known !== undefined && epoch < known.epoch) answer = all('producer_fenced');
    else if (same !== undefined) answer = again(same.offset);
    else if (!mayBegin) answer = all('out_of_order_sequence');
    else {
      const batch = { sequence, records, offset: log.length };
      answer = appendToModel(model, partition, values);
      const producer = known ?? { epoch, batches: [], past: new Map<string, number>() };
      producer.batches = producer.epoch === epoch ? [...producer.batches, batch] : [batch];
      producer.epoch = epoch;
      producer.past.set(`${epoch} ${sequence} ${records}`, batch.offset);
      model.producers.set(name, producer);
    }
    // A broker whose memory is older may say of a batch that it was appended, which is true.
    const past = known?.past.get(`${epoch} ${sequence} ${records}`);
    const isRejected = /^(producer_fenced|out_of_order_sequence)/.test(answer);
    const request: AppendRecordsRequest = {
      topic: 't',
      records: values.map(({ value, timestampMs }) => record(value, { partition, timestampMs })),
      producer: { producerId, producerEpoch: epoch, baseSequence: sequence },
    };
    const or = isRejected && past !== undefined ? again(past) : answer;
    await expectAppend(this.of(real).appendRecords(request), answer, or);
  }
  toString(): string {
    return `produce(b${this.broker} p${this.partition} id ${this.producerId} epoch ${this.epochStep} sequence ${this.sequenceStep} × ${this.count})`;
  }
}

class AllocateId extends BaseCommand {
  async run(model: Model, real: Real): Promise<void> {
    expect(await this.of(real).allocateProducerId()).toBe(model.ids.length);
    model.ids.push(model.day);
  }
  toString(): string {
    return `allocateId(b${this.broker})`;
  }
}

class NextDay extends BaseCommand {
  async run(model: Model, real: Real): Promise<void> {
    await real.stores.clock.advance(24 * 3_600_000);
    model.day++;
    // Idempotency keys are known for 24 hours.
    model.keys.clear();
  }
  toString(): string {
    return 'nextDay()';
  }
}

class AppendKeyed extends BaseCommand {
  readonly key: string;
  constructor(broker: number, key: string) {
    super(broker);
    this.key = key;
  }
  override check(model?: Model): boolean {
    return model?.partitions !== undefined;
  }
  async run(model: Model, real: Real): Promise<void> {
    const records = [0, 1, 0].map((partition, i) => record(`key ${this.key}.${i}`, { partition, timestampMs: T }));
    const before = model.keys.get(this.key);
    const request = { topic: 't', records, idempotencyKey: this.key };
    if ((model.partitions?.length ?? 0) < 2) return;
    const known = (value: string): ModelRecord => ({ value: `key ${this.key}.${value}`, timestampMs: T });
    if (before === undefined) {
      const [first, third] = appendToModel(model, 0, [known('0'), known('2')]).split(' ');
      const second = appendToModel(model, 1, [known('1')]);
      model.keys.set(this.key, `${first} ${second} ${third}`);
      await expectAppend(this.of(real).appendRecords(request), model.keys.get(this.key) as string);
    } else {
      await expectAppend(this.of(real).appendRecords(request), before.replaceAll(/(\d+\/\d+)/g, '$1+'));
    }
  }
  toString(): string {
    return `appendKeyed(b${this.broker} ${this.key})`;
  }
}

class Read extends BaseCommand {
  readonly partition: number;
  readonly place: number;
  readonly maxBytes: number;
  constructor(broker: number, partition: number, place: number, maxBytes: number) {
    super(broker);
    this.partition = partition;
    this.place = place;
    this.maxBytes = maxBytes;
  }
  override check(model?: Model): boolean {
    return model?.partitions?.[this.partition] !== undefined;
  }
  async run(model: Model, real: Real): Promise<void> {
    const log = model.partitions?.[this.partition] as ModelRecord[];
    const from = Math.floor(this.place * log.length);
    const read = await readAll(this.of(real), 't', this.partition, { from, maxBytes: this.maxBytes });
    expect(read.map(({ offset, value }) => `${offset} ${text(value)}`)).toEqual(
      log.slice(from).map(({ value }, i) => `${from + i} ${value}`),
    );
    const timestampMs = log[from]?.timestampMs ?? T;
    const at = log.findIndex((each) => each.timestampMs >= timestampMs);
    const found = await this.of(real).offsetForTime('t', this.partition, timestampMs);
    expect(found).toMatchObject({ offset: at < 0 ? log.length : at, logStartOffset: 0, highWatermark: log.length });
  }
  toString(): string {
    return `read(b${this.broker} p${this.partition} at ${this.place} by ${this.maxBytes})`;
  }
}

class PutTopic extends BaseCommand {
  readonly partitions: number;
  constructor(broker: number, partitions: number) {
    super(broker);
    this.partitions = partitions;
  }
  async run(model: Model, real: Real): Promise<void> {
    const had = model.partitions?.length ?? 0;
    const answer = await this.of(real)
      .putTopic({ name: 't', partitions: this.partitions })
      .then(
        ({ created }) => created,
        (error: { code: string }) => error.code,
      );
    if (this.partitions < had) return expect(answer).toBe('topic_conflict');
    expect(answer).toBe(model.partitions === undefined);
    if (model.partitions === undefined) model.producersBefore = model.wasDeleted ? model.ids.length : 0;
    model.partitions ??= [];
    while (model.partitions.length < this.partitions) model.partitions.push([]);
    // Others may go on for a second with the partitions that they know.
    await real.stores.clock.advance(1_001);
  }
  toString(): string {
    return `putTopic(b${this.broker} ${this.partitions})`;
  }
}

class DeleteTopic extends BaseCommand {
  async run(model: Model, real: Real): Promise<void> {
    const answer = await this.of(real)
      .deleteTopic('t')
      .then(
        () => 'deleted',
        (error: { code: string }) => error.code,
      );
    expect(answer).toBe(model.partitions === undefined ? 'unknown_topic' : 'deleted');
    model.wasDeleted ||= model.partitions !== undefined;
    model.partitions = undefined;
    model.producers.clear();
    model.keys.clear();
    await real.stores.clock.advance(1_001);
  }
  toString(): string {
    return `deleteTopic(b${this.broker})`;
  }
}

class Restart extends BaseCommand {
  async run(_model: Model, real: Real): Promise<void> {
    real.brokers[this.broker] = memoryBroker(real.stores);
  }
  toString(): string {
    return `restart(b${this.broker})`;
  }
}

class Settle extends BaseCommand {
  async run(model: Model, real: Real): Promise<void> {
    await this.of(real).idle();
    await real.stores.clock.advance(this.broker * 700);
    if (model.partitions === undefined) return;
    const described = await this.of(real).describePartitions('t');
    expect(described.map(({ highWatermark }) => highWatermark)).toEqual(model.partitions.map((log) => log.length));
  }
  toString(): string {
    return `settle(b${this.broker})`;
  }
}

it('brokers do as a list of records per partition does', { timeout: 60_000 }, async () => {
  const broker = fc.nat(2);
  const partition = fc.oneof(fc.constantFrom(0, 1), fc.nat(20));
  const times = fc.array(fc.integer({ min: -1_000_000, max: 1_000_000 }), { minLength: 1, maxLength: 4 });
  const expected = fc.option(fc.constantFrom(0, 0, 0, -1, 1), { nil: undefined });
  const append = fc.tuple(broker, partition, times, expected).map((given) => new Append(...given));
  const produce = fc
    .tuple(
      broker,
      partition,
      fc.nat(3),
      fc.constantFrom(0, 0, 0, 0, 0, 0, -1, 1, 37, 1_000),
      fc.constantFrom(0, 0, 0, 0, -1, -1, -3, -5, -6, 1, 5),
      fc.integer({ min: 1, max: 3 }),
    )
    .map((given) => new Produce(...given));
  const commands: fc.Arbitrary<Command>[] = [
    append,
    append,
    produce,
    produce,
    produce,
    fc.tuple(broker, fc.constantFrom('a', 'b', 'c')).map((given) => new AppendKeyed(...given)),
    fc
      .tuple(broker, partition, fc.double({ min: 0, max: 1, noNaN: true }), fc.constantFrom(1, 300, 1_000_000))
      .map((given) => new Read(...given)),
    broker.map((given) => new Settle(given)),
    broker.map((given) => new Restart(given)),
    fc.oneof(
      broker.map((given) => new AllocateId(given)),
      broker.map((given) => new NextDay(given)),
    ),
    fc.tuple(broker, fc.integer({ min: 1, max: 21 })).map((given) => new PutTopic(...given)),
  ];
  const rare = broker.map((given) => new DeleteTopic(given));
  await fc.assert(
    fc.asyncProperty(
      fc.commands([...commands, ...commands, ...commands, rare], { size: 'max', maxCommands: 150 }),
      async (steps) => {
        await fc.asyncModelRun(() => {
          const stores = memoryStores();
          return {
            model: {
              partitions: undefined,
              producers: new Map(),
              ids: [],
              producersBefore: 0,
              wasDeleted: false,
              day: 0,
              keys: new Map(),
              values: 0,
            },
            real: { stores, brokers: [0, 1, 2].map(() => memoryBroker(stores)) },
          };
        }, [new PutTopic(0, 18), ...steps]);
      },
    ),
    { numRuns: 80 },
  );
});
