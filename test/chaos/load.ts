import { setTimeout as sleep } from 'node:timers/promises';
import { PARTITIONS_PER_HEAD_DEFAULT } from '../../shared/log/limits.ts';
import type { AppendedRecord, AppendInvocation } from '../history/history.ts';
import { Chance } from '../simulation/world/chance.ts';
import type { AnswerTo, LogClient } from './log-client.ts';
import { type LoadPlan, PARTITIONS, type Sort } from './plan.ts';
import { type HistoryRecorder, RecordedClient } from './recorder.ts';

/**
 * The clients of a run: each does one sort of thing over and over, in its own time, until the load is over, whatever it is
 * answered. Nothing is judged here; that is done by the history.
 */

export interface Load {
  readonly plan: LoadPlan;
  readonly seed: number;
  readonly recorder: HistoryRecorder;
  /** Every request goes one of these ways, so that a retry may meet another process than its first try. */
  readonly ways: readonly LogClient[];
  readonly isOver: () => boolean;
}

export interface LoadClient {
  /** As in the history. */
  readonly process: string;
  /** The operation that it is there for. */
  readonly f: 'append' | 'read' | 'end';
  /** Resolves when the load is over and its last operation has ended. */
  readonly ended: Promise<void>;
}

const STREAM_CLIENTS = 100;

const SORTS: Readonly<Record<Sort, { readonly f: LoadClient['f']; readonly run: (client: Client) => Promise<void> }>> =
  {
    plain: { f: 'append', run: appendPlainly },
    producer: { f: 'append', run: produce },
    keyed: { f: 'append', run: appendUnderKeys },
    conditional: { f: 'append', run: appendConditionally },
    atomic: { f: 'append', run: appendAtomically },
    follower: { f: 'read', run: follow },
    poller: { f: 'read', run: poll },
    ender: { f: 'end', run: askForEnds },
  };

/** Starts all clients of the plan at once. */
export function startLoad(load: Load): LoadClient[] {
  let count = 0;
  return (Object.keys(SORTS) as Sort[]).flatMap((sort) =>
    Array.from({ length: load.plan.clients[sort] }, (_, number) => {
      const client = new Client(load, `${sort}-${number}`, count++, number);
      return { process: client.process, f: SORTS[sort].f, ended: SORTS[sort].run(client) };
    }),
  );
}

/** Where conditional clients append, two to a partition, and others hardly ever: among many none would ever succeed. */
const CONTESTED = [7, 39] as const;
const CLIENTS_PER_CONTESTED = 2;
const OPEN = Array.from({ length: PARTITIONS }, (_, partition) => partition).filter(
  (partition) => !CONTESTED.some((contested) => contested === partition),
);

/** Of one append: what it is spread over is read from as many places. */
const SPREAD_MAX = 4;

class Client extends RecordedClient {
  readonly number: number;
  private readonly load: Load;
  private values = 0;

  constructor(load: Load, process: string, id: number, number: number) {
    super(load.recorder, process, load.ways, new Chance(load.seed, STREAM_CLIENTS, id));
    this.load = load;
    this.number = number;
  }

  get isOver(): boolean {
    return this.load.isOver();
  }

  /** Another process of the same client, which does at the same time as this one what it would do. */
  twin(): RecordedClient {
    return new RecordedClient(this.load.recorder, `${this.process}/twin`, this.load.ways, this.chance);
  }

  async think(): Promise<void> {
    await sleep(this.chance.next() * this.load.plan.thinkMs);
  }

  /** After a failure: long enough not to spin while a server is down. */
  async backOff(): Promise<void> {
    await sleep(20 + this.chance.next() * 60);
  }

  /** New records, spread over at most so many of the partitions. */
  recordsIn(partitions: readonly number[], spreadMax: number, max = this.load.plan.recordsMax): AppendedRecord[] {
    const chosen = Array.from({ length: spreadMax }, () => this.chance.pick(partitions));
    return this.make(max, () => ({ partition: this.chance.pick(chosen) }));
  }

  /** New records, wherever the log will have them. */
  recordsAnywhere(): AppendedRecord[] {
    return this.make(SPREAD_MAX, () => ({}));
  }

  private make(max: number, place: () => { readonly partition?: number }): AppendedRecord[] {
    return Array.from({ length: 1 + this.chance.below(max) }, () => ({ ...this.content(), ...place() }));
  }

  private content(): AppendedRecord {
    const { chance } = this;
    const { largeBytes, largeShare } = this.load.plan;
    const value = `${this.process} ${this.values++}`;
    return {
      value: chance.chance(largeShare) ? value.padEnd(largeBytes, ' .') : value,
      ...(chance.chance(0.3) ? { key: `key ${chance.below(100)}` } : {}),
      ...(chance.chance(0.2) ? { headers: { of: this.process, at: String(this.values) } } : {}),
      ...(chance.chance(0.3) ? { timestampMs: Date.now() - chance.below(1_000_000) } : {}),
    };
  }
}

/** No identity, no second try: whatever is not answered may be there or not. */
async function appendPlainly(client: Client): Promise<void> {
  const { chance } = client;
  while (!client.isOver) {
    const lot = chance.next();
    // In one partition, in several of any heads, or wherever the log will have them.
    const records = lot < 0.9 ? client.recordsIn(OPEN, lot < 0.5 ? 1 : SPREAD_MAX) : client.recordsAnywhere();
    const { type } = await client.append({ f: 'append', records });
    await (type === 'ok' ? client.think() : client.backOff());
  }
}

/** Errors after which the very same may be sent again. */
const FOR_NOW = new Set([
  ...['throttled', 'storage_unavailable', 'storage_full', 'shutting_down'],
  ...['timeout', 'connection_lost', 'connection_refused'],
]);

function isForNow({ error, outcomes }: AnswerTo<'append'>): boolean {
  const errors = outcomes?.flatMap((outcome) => (outcome.type === 'ok' ? [] : [outcome.error])) ?? [error ?? ''];
  return errors.every((code) => FOR_NOW.has(code));
}

/** Sends again until it is settled; or gives up, seldom, as a client does that is restarted. Answers whether it is done. */
async function insist(client: Client, append: AppendInvocation, givesUp: number): Promise<boolean> {
  for (;;) {
    // Now and then a second process sends the same at the same time.
    const twin = client.chance.chance(0.05) ? client.twin().append(append) : undefined;
    const answers = [await client.append(append)];
    if (twin !== undefined) answers.push(await twin);
    if (answers.some(({ type }) => type === 'ok')) return true;
    if (!answers.every(isForNow) || client.isOver || client.chance.chance(givesUp)) return false;
    await client.backOff();
  }
}

/** An idempotent producer, which begins a new epoch now and then, and whenever it does not know where it is. */
async function produce(client: Client): Promise<void> {
  const { chance } = client;
  const id = 1_000 + client.number;
  const partitions = [chance.pick(OPEN), chance.pick(OPEN), chance.pick(OPEN)];
  const sequences = new Map<number, number>();
  for (let epoch = 0; !client.isOver; ) {
    const partition = chance.pick(partitions);
    const sequence = sequences.get(partition) ?? 0;
    const records = client.recordsIn([partition], 1);
    const done = await insist(client, { f: 'append', records, producer: { id, epoch, sequence } }, 0.05);
    sequences.set(partition, sequence + records.length);
    if (!done || chance.chance(0.03)) {
      epoch += 1 + chance.below(2) * chance.below(40);
      sequences.clear();
    }
    await client.think();
  }
}

async function appendUnderKeys(client: Client): Promise<void> {
  for (let n = 0; !client.isOver; n++) {
    const records = client.chance.chance(0.8) ? client.recordsIn(OPEN, SPREAD_MAX) : client.recordsAnywhere();
    await insist(client, { f: 'append', records, idempotencyKey: `${client.process} ${n}` }, 0.01);
    await client.think();
  }
}

/** As event sourcing does it: knows the end, appends if it still is, and otherwise looks again. */
async function appendConditionally(client: Client): Promise<void> {
  const place = Math.floor(client.number / CLIENTS_PER_CONTESTED) % CONTESTED.length;
  const partition = CONTESTED[place] as number;
  let end: number | undefined;
  while (!client.isOver) {
    end ??= (await client.end(partition)).highWatermark;
    if (end === undefined) {
      await client.backOff();
      continue;
    }
    const records = client.recordsIn([partition], 1, 3);
    const { type, nextOffset } = await client.append({ f: 'append', records, expectedOffset: end });
    end = type === 'ok' ? end + records.length : nextOffset;
    await client.think();
  }
}

/** Several partitions of one head by one commit; half of the time under a key too. */
async function appendAtomically(client: Client): Promise<void> {
  const { chance } = client;
  for (let n = 0; !client.isOver; n++) {
    const head = Math.floor(chance.pick(OPEN) / PARTITIONS_PER_HEAD_DEFAULT);
    const partitions = OPEN.filter((partition) => Math.floor(partition / PARTITIONS_PER_HEAD_DEFAULT) === head);
    const records = client.recordsIn(partitions, SPREAD_MAX);
    const append: AppendInvocation = { f: 'append', records, atomic: true };
    if (chance.chance(0.5)) {
      await insist(client, { ...append, idempotencyKey: `${client.process} ${n}` }, 0.01);
      await client.think();
    } else {
      const { type } = await client.append(append);
      await (type === 'ok' ? client.think() : client.backOff());
    }
  }
}

/** Reads half of all partitions from their beginning to their ends, and on as they grow. */
async function follow(client: Client): Promise<void> {
  const { chance } = client;
  const partitions = Array.from({ length: PARTITIONS }, (_, partition) => partition).filter(() => chance.chance(0.5));
  const positions = new Map<number, number>();
  while (!client.isOver) {
    const partition = partitions.length === 0 ? 0 : chance.pick(partitions);
    const offset = positions.get(partition) ?? 0;
    const { type, nextOffset = offset } = await client.read({ partition, offset, waitMs: 0 });
    positions.set(partition, nextOffset);
    await (type === 'ok' ? client.think() : client.backOff());
  }
}

/** Waits at the end of one partition for what comes. */
async function poll(client: Client): Promise<void> {
  const { chance } = client;
  const partition = chance.pick(OPEN);
  let offset = 0;
  while (!client.isOver) {
    const { type, nextOffset } = await client.read({ partition, offset, waitMs: 50 + chance.below(500) });
    offset = nextOffset ?? offset;
    if (type !== 'ok') await client.backOff();
  }
}

async function askForEnds(client: Client): Promise<void> {
  while (!client.isOver) {
    const { type } = await client.end(client.chance.below(PARTITIONS));
    await (type === 'ok' ? client.think() : client.backOff());
  }
}
