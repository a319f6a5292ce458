import { Broker } from '../../../shared/broker/broker.ts';
import { ByteBudget } from '../../../shared/broker/memory/byte-budget.ts';
import { type BrokerSettings, DEFAULT_SETTINGS } from '../../../shared/broker/settings.ts';
import { AnswerBytes } from '../../../shared/kafka/answer-bytes.ts';
import { FetchSessions } from '../../../shared/kafka/apis/records/fetch-sessions.ts';
import { Connection } from '../../../shared/kafka/connection.ts';
import { DEFAULT_GATEWAY_SETTINGS, type Gateway } from '../../../shared/kafka/gateway.ts';
import { HANDLERS } from '../../../shared/kafka/handlers.ts';
import { EventLogError } from '../../../shared/log/errors.ts';
import { TAIL_ENTRIES_MAX } from '../../../shared/log/head/head.ts';
import { PARTITIONS_PER_HEAD_DEFAULT } from '../../../shared/log/limits.ts';
import { OFFSET_MAP_SLOT_BYTES } from '../../../shared/log/segment/compact/offset-map.ts';
import { aroundStores, keyOf } from '../../../shared/storage/around-stores.ts';
import { MemoryObjectStore } from '../../../shared/storage/memory/object-store.ts';
import type { ByteRange } from '../../../shared/storage/ports.ts';
import type { HistoryEvent } from '../../history/history.ts';
import { Chance, hashOf } from './chance.ts';
import { EventLoop } from './event-loop.ts';
import { drawFaultMix, Fates, type FaultMix, type FaultPlace, type RequestFault } from './faults.ts';
import { type Latency, SimulatedProcess, STREAM } from './simulated-process.ts';
import { SimulatedStorage } from './simulated-storage.ts';
import { SKEW_MS_MAX } from './watch/retention-watch.ts';
import { StorageWatch } from './watch/storage-watch.ts';
import { Wire, type WireListener } from './wire.ts';

/** What is drawn once for a whole run. */
export interface Conditions {
  readonly faults: FaultMix;
  readonly latency: Latency;
  readonly settings: Partial<BrokerSettings>;
  /** The table writes the data of an entry and its commit at once, as an embedded log does. */
  readonly putsBeside: boolean;
  /** Those that clients use. */
  readonly partitions: readonly number[];
  /** Processes that serve at the same time. */
  readonly processes: number;
  /** How often a request finds that a new process has been started for it. */
  readonly coldRate: number;
  readonly skewMs: number;
  /** Faults are over after so long. */
  readonly healAfterMs: number;
  /** Entries in the tail of a head before the run begins. */
  readonly tailBefore: number;
  /** Partitions of the topic that comes and goes; the last of them may be the first one of a 33rd head. */
  readonly passingPartitions: number;
  /** Only in runs with jobs. */
  readonly jobs?: JobConditions;
  /** Only in runs of a consumer group. */
  readonly groups?: GroupConditions;
  /** Only in runs of transactions. */
  readonly transactions?: TransactionConditions;
}

/** Clocks and pauses as in runs of a group: a minute or two, in which time-outs of transactions are over. */
export interface TransactionConditions extends Pick<GroupConditions, 'freezeMs' | 'skewMsMax'> {
  /** Of the transactions, by producer. */
  readonly timeoutMs: number;
  readonly transactionalIds: number;
  /** Of the producers when the run begins: the last ones are soon used up. */
  readonly firstEpoch: number;
  /** The transactional ids were used last so long before the run. */
  readonly unusedMs: number;
  /** Those that commit offsets are members of the group. */
  readonly hasMembers: boolean;
}

/** Runs of a consumer group take a minute or two, in which sessions of some seconds end. */
export interface GroupConditions {
  /** Members use Kafka's classic protocol. */
  readonly isClassic: boolean;
  /** Processes stand still for up to this long. */
  readonly freezeMs: number;
  /** No clock is more wrong than this. When the faults are over, none is wrong any more. */
  readonly skewMsMax: number;
  readonly sessionTimeoutMs: number;
}

/** In some runs jobs look after segments while clients work, and hours and days pass. */
export interface JobConditions {
  /** Clients and jobs pause for up to this long. */
  readonly pauseMs: number;
  /** Processes stand still for up to this long: also longer than anything is kept that is going to be deleted. */
  readonly freezeMs: number;
  /** Entries that were merged before the run begins, in rounds of eight. */
  readonly mergesBefore: number;
  readonly theme: JobTheme;
}

/** One seed of so many has jobs: they take longer. */
const SEEDS_PER_JOBS = 8;

export function hasJobs(seed: number): boolean {
  return hashOf(seed, STREAM.jobs) % SEEDS_PER_JOBS === 0;
}

/** One seed of so many runs over a table that puts items beside an update. */
const SEEDS_PER_PUTS_BESIDE = 4;

/** What most of a run with jobs is about: all topics, the one that retention removes records of, or the compacted one. */
export type JobTheme = 'all' | 'brief' | 'latest' | 'transactions';

/** Those of the log's seeds; runs of transactions have their own. */
const JOB_THEMES: readonly Exclude<JobTheme, 'transactions'>[] = ['all', 'brief', 'latest'];

export function jobThemeOf(seed: number): Exclude<JobTheme, 'transactions'> {
  return JOB_THEMES[hashOf(seed, STREAM.jobs, 1) % JOB_THEMES.length] as (typeof JOB_THEMES)[number];
}

/** One partition, two of one head, and of two heads: the fewer, the more clients meet each other. */
const PARTITION_SETS = [[0], [0], [0, 1], [0, 1, PARTITIONS_PER_HEAD_DEFAULT]];
const CRAMPED_SHARE = 0.3;
const CRAMPED_FAULTS: FaultMix = {
  rates: { late: 0.25, lost_reply: 0.05, throttled: 0.35 },
  keysFrom: 'head#',
};
export const PARTITION_COUNT = PARTITIONS_PER_HEAD_DEFAULT + 1;

/** `keys` are the beginnings of those that matter most to what the run does. */
export function drawConditions(seed: number, keys: readonly string[], mayHaveJobs = true): Conditions {
  const chance = new Chance(seed, STREAM.settings);
  // Some runs of plain writers, whose failed appends are told apart, begin at a full tail, with head requests that are
  // late or refused and little time: hardly anything else shows what is certain then.
  const isCramped = keys.includes('batch#') && chance.chance(CRAMPED_SHARE);
  const faults = isCramped ? CRAMPED_FAULTS : drawFaultMix(new Chance(seed, STREAM.faults), keys);
  const latency: Latency = {
    usualMs: isCramped ? 5 : chance.pick([2, 10, 100]),
    slowMs: chance.pick([50, 1_000, 10_000]),
    slowShare: isCramped ? 0 : chance.pick([0, 0.02, 0.2]),
    patienceMs: isCramped ? 50 : chance.pick([50, 500, 5_000]),
  };
  const settings: Partial<BrokerSettings> = {
    // Small ones, so that short records reach every way of storing them.
    inlineBytesMax: chance.pick([0, 250, DEFAULT_SETTINGS.inlineBytesMax]),
    lingerMs: chance.pick([0, 0, 5]),
    groupsWritingMax: chance.pick([1, 2, DEFAULT_SETTINGS.groupsWritingMax]),
    groupBytesMax: chance.pick([300, DEFAULT_SETTINGS.groupBytesMax]),
    headCacheMs: chance.pick([0, 1_000, 600_000]),
    topicCacheMs: chance.pick([0, 1_000, 1_000, 600_000]),
    cacheBytesMax: chance.pick([1, 2_000, 1_000_000]),
    commitTimeoutMs: isCramped ? 120 : chance.pick([300, 2_000, DEFAULT_SETTINGS.commitTimeoutMs]),
    checkpointEntries: chance.pick([8, 16, DEFAULT_SETTINGS.checkpointEntries]),
    pollIntervalMs: chance.pick([DEFAULT_SETTINGS.pollIntervalMs, undefined]),
  };
  const conditions: Conditions = {
    faults,
    latency,
    settings,
    putsBeside: hashOf(seed, STREAM.table) % SEEDS_PER_PUTS_BESIDE === 0,
    partitions: chance.pick(PARTITION_SETS),
    processes: chance.pick([1, 2, 3, 5]),
    coldRate: chance.pick([0, 0, 0.05, 0.3]),
    skewMs: chance.pick([0, 0, 5_000, 300_000]),
    healAfterMs: isCramped ? 400 : chance.pick([1_000, 10_000, 120_000]),
    tailBefore: isCramped
      ? TAIL_ENTRIES_MAX
      : chance.chance(0.12)
        ? chance.pick([7, 7, 15, 24, TAIL_ENTRIES_MAX - 1])
        : 0,
    passingPartitions: chance.chance(0.1) ? 512 + PARTITION_COUNT - PARTITIONS_PER_HEAD_DEFAULT : PARTITION_COUNT,
  };
  return mayHaveJobs && hasJobs(seed) ? withJobs(seed, conditions) : conditions;
}

/** Hours for what takes seconds otherwise. Two clocks differ by less than what the jobs allow for. */
function withJobs(seed: number, conditions: Conditions): Conditions {
  const chance = new Chance(seed, STREAM.jobs);
  return {
    ...conditions,
    partitions: chance.pick([[0], [0], [0, 1], [0, PARTITIONS_PER_HEAD_DEFAULT]]),
    coldRate: chance.pick([0, 0.05, 0.3]),
    skewMs: chance.pick([0, 5_000, SKEW_MS_MAX]),
    healAfterMs: chance.pick([3, 12, 48]) * HOUR_MS,
    tailBefore: chance.pick([0, 7, 15, 24]),
    passingPartitions: PARTITION_COUNT,
    jobs: {
      pauseMs: chance.pick([0.5, 2, 10]) * HOUR_MS,
      freezeMs: chance.pick([0.2, 3, 3, 40]) * HOUR_MS,
      mergesBefore: chance.pick([0, 0, 1, 3, 7]),
      theme: jobThemeOf(seed),
    },
    settings: { ...conditions.settings, ...drawJobSettings(chance) },
    ...(chance.chance(SLEEPY_SHARE) ? drawSleep(chance) : {}),
  };
}

const SLEEPY_SHARE = 0.25;

/** In some runs little else happens than that processes stand still or die amid one step of what they do, and go on late. */
function drawSleep(chance: Chance): Pick<Conditions, 'faults'> {
  return {
    faults: {
      rates: {
        freeze: chance.pick([0.1, 0.3]),
        crash_after: chance.pick([0, 0.1]),
        lost_reply: chance.pick([0, 0.05]),
      },
      keysFrom: chance.pick(SLEEPY_KEYS),
    },
  };
}

const SLEEPY_KEYS = ['segments#', 'segments#', 'segments/', 'batch#', 'hot/', 'head#', 'node#', 'idempotency#'];

/** Small ones, so that short records need several pages of a segment list, and several passes of a compaction. */
export function drawJobSettings(chance: Chance): Partial<BrokerSettings> {
  return {
    listedSegmentsMax: chance.pick([1, 3, DEFAULT_SETTINGS.listedSegmentsMax]),
    compactionMapBytes: chance.pick([2, 3, 100]) * OFFSET_MAP_SLOT_BYTES,
    compactionOutputBytes: chance.pick([1, 500, DEFAULT_SETTINGS.compactionOutputBytes]),
  };
}

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;

/** What a client learns of its request. */
export type Reply<T> =
  | { readonly type: 'answer'; readonly value: T; readonly process: number }
  | { readonly type: 'error'; readonly error: EventLogError; readonly process: number }
  /** No answer came; anything may have happened. */
  | { readonly type: 'nothing' };

/** Everything of one run: the storage, the processes over it, and what was asked of them. */
export class World {
  readonly seed: number;
  readonly conditions: Conditions;
  readonly loop = new EventLoop();
  readonly fates: Fates;
  readonly watch: StorageWatch;
  readonly storage: SimulatedStorage;
  readonly history: HistoryEvent[] = [];
  /** What went wrong otherwise than in the history. */
  readonly surprises: string[] = [];
  /** Values whose clients were told by the answer to a later append that they are in the log. */
  readonly acknowledgedByLater: string[] = [];
  /** Of the brokers that prepare and judge. */
  plainRequests = 0;
  /** Client -> a producer id that was given out days ago. */
  readonly oldIds = new Map<string, number>();
  private readonly slots: { process: SimulatedProcess; broker: Broker }[] = [];
  private readonly processes = new Map<number, SimulatedProcess>();
  private readonly requestsTo: number[] = [];
  private readonly paused = new Set<() => void>();
  private ops = 0;

  constructor(seed: number, conditions: Conditions, only?: ReadonlySet<FaultPlace>) {
    this.seed = seed;
    this.conditions = conditions;
    this.fates = new Fates(seed, conditions.faults, only);
    this.watch = new StorageWatch({
      isAlive: (process) => this.processes.get(process)?.alive ?? false,
      nowMs: () => this.loop.nowMs,
      hasJobs: conditions.jobs !== undefined,
      hasTransactions: conditions.transactions !== undefined,
      groups: conditions.groups && {
        isClassic: conditions.groups.isClassic,
        skewMsMax: conditions.groups.skewMsMax,
        offsetsRetentionMs: conditions.settings.offsetsRetentionMs ?? DEFAULT_SETTINGS.offsetsRetentionMs,
        areClocksRight: () => conditions.skewMs === 0 && !this.fates.struck.some(({ kind }) => kind === 'clock_jump'),
      },
    });
    this.storage = new SimulatedStorage(
      this.loop,
      this.watch,
      new MemoryObjectStore({ signer: SIGNER }),
      conditions.putsBeside,
    );
  }

  /** Hours, in a run with jobs; ends when the faults are over. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.fates.healed) return resolve();
      this.paused.add(resolve);
      this.loop.at(ms, () => {
        if (this.paused.delete(resolve)) resolve();
      });
    });
  }

  get slotCount(): number {
    return this.conditions.processes;
  }

  private get hasRightClocksInTheEnd(): boolean {
    return this.conditions.groups !== undefined || this.conditions.transactions !== undefined;
  }

  /** For how long clients wait for an answer. */
  get patienceMs(): number {
    const { jobs, latency } = this.conditions;
    return Math.max(jobs === undefined ? 0 : CLIENT_PATIENCE_AMONG_JOBS_MS, latency.patienceMs * CLIENT_PATIENCE);
  }

  nextOp(): number {
    return this.ops++;
  }

  heal(): void {
    if (this.fates.healed) return;
    this.fates.healed = true;
    this.loop.note('heals', 0, '');
    for (const process of this.processes.values()) {
      process.thaw();
      if (this.hasRightClocksInTheEnd) process.correctClock();
    }
    for (const resume of this.paused) resume();
    this.paused.clear();
  }

  /**
   * A broker over the bare stores, where nothing fails: to judge. With `stuckTail`, it can't write tail nodes; with `agoMs`,
   * its clock is that of a time before the run.
   */
  plainBroker({ stuckTail = false, agoMs = 0 } = {}): Broker {
    const { clock, random, id } = this.makeProcess(stuckTail ? BEFORE : agoMs > 0 ? LONG_BEFORE : AFTER, -agoMs);
    const stores = aroundStores(this.storage.storesOf(id), (request, run) => async (...args) => {
      if (stuckTail && request === 'putItem' && keyOf(args).startsWith('node#'))
        throw new EventLogError('throttled', 'Simulated: throttled.');
      if (++this.plainRequests > PLAIN_REQUESTS_MAX)
        throw new Error('A broker of which nothing fails goes round in circles.');
      return run(...args);
    });
    const { listedSegmentsMax } = this.conditions.settings;
    const settings = listedSegmentsMax === undefined ? {} : { listedSegmentsMax };
    return new Broker({ ...stores, clock, random, settings });
  }

  /**
   * Sends a request to the process that now serves slot `slot`. A fault of the request itself strikes here: `fault`.
   * Always answered in the end; a client is patient for `waitMs` longer.
   */
  request<T>(slot: number, run: (broker: Broker) => Promise<T>, fault?: RequestFault, waitMs = 0): Promise<Reply<T>> {
    const { loop, conditions } = this;
    const chance = this.chanceOfNext(slot);
    const { process, broker } = this.serve(slot, chance);
    const patienceMs = this.patienceMs + waitMs;
    return new Promise((resolve) => {
      let undo = (): void => {};
      const settle = (reply: Reply<T>): void => {
        undo();
        resolve(reply);
      };
      const answer = (reply: Reply<T>): void => {
        undo();
        if (fault === 'lost_answer') return;
        loop.at(conditions.latency.usualMs * chance.next(), () => settle(reply));
      };
      loop.at(patienceMs, () => settle({ type: 'nothing' }));
      process.later(conditions.latency.usualMs * chance.next(), () => {
        undo = process.onDeath(() => loop.at(conditions.latency.usualMs, () => settle({ type: 'nothing' })));
        run(broker).then(
          (value) => answer({ type: 'answer', value, process: process.id }),
          (error: unknown) => {
            if (error instanceof EventLogError) return answer({ type: 'error', error, process: process.id });
            this.surprises.push(`Thrown by the broker: ${error instanceof Error ? error.stack : String(error)}`);
            settle({ type: 'nothing' });
          },
        );
      });
      if (fault === 'deadline') {
        loop.at(patienceMs * chance.next() ** 2, () => {
          if (!this.fates.healed) process.die();
        });
      }
    });
  }

  /** Connects to the gateway of the process that now serves the slot, as Kafka's clients do. */
  connect(slot: number, listener: WireListener): Wire {
    const { loop, conditions } = this;
    const chance = this.chanceOfNext(slot);
    const { process, broker } = this.serve(slot, chance);
    const self = { nodeId: slot, host: 'simulated', port: 9_092 };
    const gateway: Gateway = {
      broker,
      clock: process.clock,
      random: process.random,
      settings: { ...DEFAULT_GATEWAY_SETTINGS, clusterId: 'simulated' },
      access: undefined,
      nodes: () => [self],
      self,
      stopping: new AbortController().signal,
    };
    return new Wire({
      process,
      at: (afterMs, run) => loop.at(afterMs, run),
      latencyMs: conditions.latency.usualMs / 2,
      chance,
      listener,
      accept: (socket) =>
        new Connection({
          gateway,
          socket,
          handlers: HANDLERS,
          requestBytes: new ByteBudget(gateway.settings.requestBytesMax),
          answerBytes: new AnswerBytes(gateway.settings.answerBytesMax),
          fetchSessions: new FetchSessions(gateway.settings.fetchSessionBytesMax, gateway.random),
          onError: (error, api) =>
            this.surprises.push(`Thrown by ${api}: ${error instanceof Error ? error.stack : String(error)}`),
        }),
    });
  }

  /** Kills the process that serves the slot after `afterMs`, unless the faults are over then. */
  killLater(slot: number, afterMs: number): void {
    const serving = this.slots[slot];
    this.loop.at(afterMs, () => {
      if (!this.fates.healed) serving?.process.die();
    });
  }

  /** The process that serves the slot after `afterMs` stands still from then on, until the faults are over at the latest. */
  freezeLater(slot: number, afterMs: number, ms: number): void {
    this.loop.at(afterMs, () => {
      if (!this.fates.healed) this.slots[slot]?.process.freeze(ms);
    });
  }

  /** Seeded by slot and request number, so that it does not depend on requests to other slots. */
  private chanceOfNext(slot: number): Chance {
    const count = this.requestsTo[slot] ?? 0;
    this.requestsTo[slot] = count + 1;
    return new Chance(this.seed, STREAM.request + slot, count);
  }

  private serve(slot: number, chance: Chance): { process: SimulatedProcess; broker: Broker } {
    const serving = this.slots[slot];
    const cold = chance.chance(this.conditions.coldRate) && !this.fates.healed;
    if (serving?.process.alive && !cold) return serving;
    const process = this.makeProcess(LONG_BEFORE + 1 + this.processes.size);
    const { items, objects, clock, random } = process;
    const started = {
      process,
      broker: new Broker({ items, objects, clock, random, settings: this.conditions.settings }),
    };
    this.slots[slot] = started;
    return started;
  }

  private makeProcess(id: number, skewOfPlainMs = 0): SimulatedProcess {
    const { seed, loop, fates, storage, conditions } = this;
    const { latency, jobs, groups, transactions } = conditions;
    const isRight = id <= LONG_BEFORE || (this.hasRightClocksInTheEnd && fates.healed);
    const skewMs = isRight ? skewOfPlainMs : (fates.share(id, 0, SKEW) * 2 - 1) * conditions.skewMs;
    const freezeMsMax = jobs?.freezeMs ?? groups?.freezeMs ?? transactions?.freezeMs ?? 15 * MINUTE_MS;
    const skewMsMax =
      groups?.skewMsMax ?? transactions?.skewMsMax ?? (jobs === undefined ? Number.POSITIVE_INFINITY : SKEW_MS_MAX);
    const process = new SimulatedProcess({ id, seed, loop, fates, storage, latency, skewMs, freezeMsMax, skewMsMax });
    this.processes.set(id, process);
    return process;
  }
}

/** URLs that nobody opens; the judges of fetch plans look at what they name. */
const SIGNER = {
  sign: (key: string, { start, end }: ByteRange) => ({ url: `memory:${key}?${start}-${end}`, headers: {} }),
};
/** Requests of the brokers that prepare and judge: no event loop can stop them. */
const PLAIN_REQUESTS_MAX = 100_000;
/** Processes before and after all others. */
const BEFORE = 0;
const AFTER = 1;
const LONG_BEFORE = 2;
/** Tells the share that a process's clock goes wrong by from those of its requests. */
const SKEW = 1_000;
/** A client waits longer than a process waits for the storage. */
const CLIENT_PATIENCE = 20;
/** A read over many pages of a segment list takes many requests. */
const CLIENT_PATIENCE_AMONG_JOBS_MS = 4_000;
