import { createWriteStream } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkHistory } from '../history/check-history.ts';
import type { Completion, FinalLog, HistoryEvent, Invocation, ReadRecord, Violation } from '../history/history.ts';
import { Chance } from '../simulation/world/chance.ts';
import { type LoadClient, startLoad } from './load.ts';
import type { AnswerTo, LogClient } from './log-client.ts';
import { type ChaosPlan, PARTITIONS } from './plan.ts';
import { HistoryRecorder, RecordedClient } from './recorder.ts';

/** What is run, and what happens to it. */
export interface ChaosSystem {
  /** The ways to the log; each request of a client takes any of them. */
  readonly ways: readonly LogClient[];
  /** How often each fault has happened. */
  readonly faults: ReadonlyMap<string, number>;
  /** Whether its faults account for this error of such an operation; those of `EXPECTED` are every system's. */
  accountsFor(f: Completion['f'], error: string): boolean;
  /** Does what the plan says, and resolves when all is well again. */
  disturb(): Promise<void>;
  /** Told of every end of an operation. */
  observe?(completion: Completion): void;
  /** Resolves when nothing that was sent before can take effect any more. */
  settle(): Promise<void>;
  /** A way to the log that remembers nothing of before. */
  startAnew(): Promise<LogClient>;
  /** What of its own claims did not hold. */
  findings(): readonly string[];
  close(): Promise<void>;
}

export type Verdict = 'ok' | 'violation' | 'stuck' | 'proves nothing';

export interface ChaosResult {
  readonly plan: ChaosPlan;
  readonly verdict: Verdict;
  /** Why, where it is not `ok`. */
  readonly reasons: readonly string[];
  readonly seconds: number;
  readonly operations: number;
  /** Records that some answer said were appended. */
  readonly acknowledged: number;
  /** Records of which no answer ever told, and how many of them are there in the end. */
  readonly uncertain: { readonly records: number; readonly found: number };
  /** From the end of the faults until every client had done what it is there for. */
  readonly recoveredMs: number;
  readonly faults: Readonly<Record<string, number>>;
  /** Where the history is kept, unless the verdict is `ok`. */
  readonly historyFile: string | undefined;
}

export interface RunLimits {
  /** After the faults are over every client succeeds within this time. */
  readonly recoveryMs: number;
  /** A history with fewer proves nothing. */
  readonly acknowledgedMin: number;
}

export const LIMITS: RunLimits = { recoveryMs: 10_000, acknowledgedMin: 1_000 };

/** The topic of every run; it must be there, with `PARTITIONS` partitions. */
export const TOPIC = 'chaos';

/** Errors that the end of a process, impatience and other clients account for. */
const EXPECTED = new Set([
  ...['timeout', 'connection_lost', 'connection_refused', 'shutting_down'],
  ...['producer_fenced', 'offset_mismatch'],
]);

const STREAM_READ_OUT = 3;
const LOOK_MS = 20;

/**
 * Runs the plan's load on the system while that is being disturbed; waits until every client is going again; reads all
 * there is, and once more after a new start; and judges the history of all of it.
 */
export async function runChaos(plan: ChaosPlan, system: ChaosSystem, limits: RunLimits = LIMITS): Promise<ChaosResult> {
  const startedMs = Date.now();
  const recorder = new HistoryRecorder(TOPIC);
  const { events } = recorder;
  const unexpected = new Set<string>();
  const tally = new Tally();
  const recovery = new Recovery();
  recorder.onEnd = (invocation, completion) => {
    const { process, f } = completion;
    for (const error of errorsOf(completion)) {
      // What nothing accounts for is a bug of the log.
      if (!EXPECTED.has(error) && !system.accountsFor(f, error)) unexpected.add(`${process}: ${f} answered ${error}`);
    }
    tally.note(invocation, completion);
    recovery.note(invocation, completion);
    system.observe?.(completion);
  };
  let over = false;
  const clients = startLoad({ plan: plan.load, seed: plan.seed, recorder, ways: system.ways, isOver: () => over });
  const ended = Promise.all(clients.map((client) => client.ended));
  // Whatever a client throws is a bug and ends the run; it waits to be heard until the faults are over.
  ended.catch(() => {});
  let stuck: readonly string[];
  try {
    await system.disturb();
    recovery.begin(clients);
    // A run that was mostly standing still goes on until it proves something.
    const isDone = (): boolean => recovery.isOver && tally.acknowledged.size >= limits.acknowledgedMin;
    stuck = await Promise.race([recovery.wait(limits.recoveryMs, isDone), ended.then(() => [])]);
  } finally {
    over = true;
  }
  const isEnded = await Promise.race([ended.then(() => true), sleep(limits.recoveryMs, false, { ref: false })]);
  const reasons: string[] = [];
  if (stuck.length > 0) {
    reasons.push(
      `in ${limits.recoveryMs} ms after the faults no success of ${stuck.length} clients: ${stuck.join(', ')}`,
    );
  }
  if (!isEnded) reasons.push('a request under way when the load was over has no answer');
  let verdict: Verdict = reasons.length > 0 ? 'stuck' : 'ok';
  let final: FinalLog = new Map();
  if (verdict === 'ok') {
    await system.settle();
    const reader = new RecordedClient(recorder, 'read-out', system.ways, new Chance(plan.seed, STREAM_READ_OUT));
    await readOut(reasons, (partition, offset) => reader.read({ partition, offset, waitMs: 0 }));
    const anew = await system.startAnew();
    final = await readOut(reasons, (partition, offset) => anew.read(TOPIC, { partition, offset, waitMs: 0 }));
    const violations = checkHistory(events, new Map([[TOPIC, final]]));
    reasons.push(...violations.map(describe), ...unexpected, ...system.findings());
    if (reasons.length > 0) verdict = 'violation';
  }
  if (verdict === 'ok' && tally.acknowledged.size < limits.acknowledgedMin) {
    verdict = 'proves nothing';
    reasons.push(`fewer than ${limits.acknowledgedMin} records were acknowledged`);
  }
  return {
    plan,
    verdict,
    reasons,
    seconds: (Date.now() - startedMs) / 1_000,
    operations: events.filter(({ type }) => type === 'invoke').length,
    acknowledged: tally.acknowledged.size,
    uncertain: tally.uncertainIn(final),
    recoveredMs: recovery.tookMs,
    faults: Object.fromEntries(system.faults),
    historyFile: verdict === 'ok' ? undefined : await keep(plan, events, final),
  };
}

function errorsOf(completion: Completion): string[] {
  if (completion.f !== 'append' || completion.outcomes === undefined) {
    return completion.error === undefined ? [] : [completion.error];
  }
  return completion.outcomes.flatMap((outcome) => (outcome.type === 'ok' ? [] : [outcome.error]));
}

function describe({ promise, message }: Violation): string {
  return `${promise}: ${message}`;
}

/** Watches that every client succeeds with something that it asked after the faults were over. */
class Recovery {
  tookMs = 0;
  private beganMs = Number.POSITIVE_INFINITY;
  private waiting = new Set<string>();

  begin(clients: readonly LoadClient[]): void {
    this.beganMs = Date.now();
    this.waiting = new Set(clients.map(({ process, f }) => nameOf(process, f)));
  }

  get isOver(): boolean {
    return this.waiting.size === 0;
  }

  note({ time }: Invocation, { type, process, f }: Completion): void {
    if (type !== 'ok' || time < this.beganMs) return;
    if (this.waiting.delete(nameOf(process, f))) this.tookMs = Date.now() - this.beganMs;
  }

  /** Until it is done, or for so long; answers who has not succeeded by then. */
  async wait(ms: number, isDone: () => boolean): Promise<string[]> {
    while (!isDone() && Date.now() - this.beganMs < ms) await sleep(LOOK_MS);
    return [...this.waiting];
  }
}

function nameOf(process: string, f: Completion['f']): string {
  return `${process} (${f})`;
}

/** All records of all partitions. Nothing is in the way of these reads, so one that fails is a reason of its own. */
async function readOut(
  reasons: string[],
  read: (partition: number, offset: number) => Promise<AnswerTo<'read'>>,
): Promise<FinalLog> {
  const final = new Map<number, readonly ReadRecord[]>();
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const all: ReadRecord[] = [];
    for (let offset = 0; ; ) {
      const { error, records = [], nextOffset = offset, highWatermark = 0 } = await read(partition, offset);
      all.push(...records);
      if (error === undefined && nextOffset >= highWatermark) break;
      if (error !== undefined || nextOffset === offset) {
        reasons.push(`partition ${partition} can't be read at ${offset}: ${error ?? 'the read gets nowhere'}`);
        break;
      }
      offset = nextOffset;
    }
    final.set(partition, all);
  }
  return final;
}

/** What became of the records that were sent, by their values. */
class Tally {
  /** Of which some answer said that they were appended. */
  readonly acknowledged = new Set<string>();
  private readonly uncertain = new Set<string>();

  note(invocation: Invocation, completion: Completion): void {
    if (invocation.f !== 'append' || completion.f !== 'append') return;
    invocation.records.forEach(({ value }, i) => {
      const type = completion.outcomes?.[i]?.type ?? completion.type;
      if (type === 'ok') this.acknowledged.add(value);
      if (type === 'info') this.uncertain.add(value);
    });
  }

  uncertainIn(final: FinalLog): ChaosResult['uncertain'] {
    const records = new Set([...this.uncertain].filter((value) => !this.acknowledged.has(value)));
    let found = 0;
    for (const partition of final.values()) for (const { value } of partition) if (records.has(value)) found++;
    return { records: records.size, found };
  }
}

/** The history as lines of JSON, and last the final log, a partition a line. */
async function keep({ kind, seed }: ChaosPlan, events: readonly HistoryEvent[], final: FinalLog): Promise<string> {
  const path = join(await mkdtemp(join(tmpdir(), 'tailrace-chaos-')), `${kind}-${seed}.jsonl`);
  const lines = function* (): Generator<string> {
    for (const event of events) yield `${JSON.stringify(event)}\n`;
    for (const [partition, records] of final) yield `${JSON.stringify({ final: partition, records })}\n`;
  };
  await pipeline(Readable.from(lines()), createWriteStream(path));
  return path;
}
