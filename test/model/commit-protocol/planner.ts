import { toHex } from '../../../shared/log/bytes.ts';
import { EventLogError } from '../../../shared/log/errors.ts';
import { makeBatchId } from '../../../shared/log/head/batch-id.ts';
import type { Entry } from '../../../shared/log/head/entry.ts';
import { type PlacedPart, placeParts } from '../../../shared/log/head/head.ts';
import type { BatchOutcome, HeadAppend, PlacedBatch } from '../../../shared/log/head/head-append.ts';
import { idempotencyOnceKey } from '../../../shared/log/head/once-key.ts';
import {
  type CommitPlan,
  type LaidOutBatch,
  type PlannedCommit,
  planCommit,
} from '../../../shared/log/head/plan-commit.ts';
import type { ProducerState } from '../../../shared/log/head/producer.ts';
import { headAfter, producersAfter, totalsAfter } from '../entries.ts';
import type { Flaw } from './flaws.ts';
import type { Batch } from './scenarios.ts';
import { COMMITS_MAX } from './state.ts';
import { ATTEMPTS_MAX } from './steps.ts';

/**
 * What a writer decides to commit is the product's own decision: `planCommit`, on heads that hold what the model's log
 * holds. It depends on the log up to the observed entry alone, so each is made once. Logs, commits and once keys are
 * numbered in the order in which they are met, so that a state can hold them as numbers.
 */

/** All entries from the first one on. Two logs are the same object exactly if they hold the same. */
export interface Log {
  readonly id: number;
  readonly commits: readonly Commit[];
  /** By length: what the log was before. The last one is the log itself. */
  readonly prefixes: readonly Log[];
  /** By slot, the offset that the next record gets. */
  readonly nextOffsets: readonly number[];
  /** What readers find, part by part. */
  readonly placed: readonly PlacedPart[];
}

/** What one update of the head demands and leaves, but for the observed entry. */
export interface Commit {
  readonly id: number;
  /** Equal for equal bytes. */
  readonly entryId: number;
  readonly entry: Entry;
  /** Which data it refers to. */
  readonly data: DataName;
  readonly leaves: readonly number[];
  readonly demandsAbsent: readonly number[];
  /** Slot -> the offset that must be the next. */
  readonly expected: ReadonlyMap<number, number>;
  /** The batch, all of whose attempts it shuts out by leaving its use of an idempotency key. It appends nothing then. */
  readonly shutsOut: number | undefined;
  /** The batches that it appends. */
  readonly appends: readonly { readonly batch: number; readonly slot: number; readonly offsetInEntry: number }[];
}

export interface DataName {
  readonly batch: number;
  readonly attempt: number;
}

/** What a writer is to do: the batches of a group that are not settled yet. */
export interface Job {
  readonly data: DataName;
  /** All batches of the group, in their order in the data. */
  readonly group: readonly number[];
  /** A bit for each of the group. */
  readonly unsettled: number;
}

export type Answer =
  | { readonly type: 'offset'; readonly offset: number }
  | { readonly type: 'producer_fenced' | 'out_of_order_sequence' | 'offset_mismatch' }
  /** The partition has not reached the offset, so that a later attempt might be applied. */
  | { readonly type: 'offset_not_reached' };

export interface Plan {
  readonly refuses: boolean;
  readonly settles: readonly { readonly member: number; readonly answer: Answer }[];
  readonly commit: Commit | undefined;
}

const PRODUCER_ID = 7;
const SLOTS = 2;

export class Planner {
  readonly logs: Log[] = [];
  readonly commits: Commit[] = [];
  private readonly flaw: Flaw | undefined;
  private readonly isYoung: boolean;
  private readonly appends: readonly HeadAppend[];
  private readonly entries = new Ids();
  private readonly keys = new Ids();
  private readonly commitIds = new Ids();
  /** Log and commit -> log. */
  private readonly appended = new Map<number, Log>();
  private readonly plans = new Map<number, Plan>();

  constructor(batches: readonly Batch[], isYoung: boolean, flaw: Flaw | undefined) {
    this.flaw = flaw;
    this.isYoung = isYoung && flaw !== 'a plan takes a young id for an old one';
    const reusesKey = flaw === 'a corrected request has the use of the rejected one';
    this.appends = batches.map((batch, i) => appendOf(batch, i, reusesKey ? 0 : i));
    this.addLog(undefined, []);
  }

  append(log: Log, commit: Commit): Log {
    const key = log.id * COMMITS_MAX + commit.id;
    let longer = this.appended.get(key);
    if (longer === undefined) {
      longer = this.addLog(log, [...log.commits, commit]);
      this.appended.set(key, longer);
    }
    return longer;
  }

  /** As of `observed`; `producersAsOf` is an older log only where that is the flaw. */
  plan(job: Job, observed: Log, producersAsOf: Log = observed): Plan {
    const { batch, attempt } = job.data;
    let key = observed.id * LOGS_MAX + producersAsOf.id;
    key = ((key * BATCHES_MAX + batch) * ATTEMPTS_MAX + attempt) * GROUPS_MAX + job.unsettled;
    let plan = this.plans.get(key);
    if (plan === undefined) {
      plan = this.makePlan(job, observed, producersAsOf);
      this.plans.set(key, plan);
    }
    return plan;
  }

  /** The commit by which an attempt shuts out all attempts of its batch. */
  shutOut({ data, group }: Job, observed: Log): Commit {
    const { idempotency } = this.appends[data.batch] as HeadAppend;
    const append: HeadAppend = { atomic: true, batches: [], bytes: 0, idempotency };
    const batchId = makeBatchId(Uint8Array.of(data.batch, data.attempt, 1, 0, 0, 0), 0);
    const producers = { stateOf: () => undefined, isYoung: () => false };
    const { commit } = planCommit(headAfter(entriesOf(observed), SLOTS), producers, [append], [], {
      batchId,
      location: 'inline',
    });
    if (commit === undefined) throw new Error('A key can always be left.');
    return this.addCommit(commit, data, group, [], data.batch);
  }

  /** What an entry leaves for the use of an idempotency key. */
  useKey(batch: number): number | undefined {
    const { idempotency } = this.appends[batch] as HeadAppend;
    return idempotency === undefined ? undefined : this.keys.of(toHex(idempotencyOnceKey(idempotency.use)));
  }

  private makePlan({ data, group, unsettled }: Job, observed: Log, producersAsOf: Log): Plan {
    const appends = group.map((batch) => this.appends[batch] as HeadAppend);
    const layout = appends.map((append, position): LaidOutBatch => ({ append, index: 0, position }));
    const batchId = makeBatchId(Uint8Array.of(data.batch, data.attempt, 0, 0, 0, 0), 0);
    const left = appends.filter((_, member) => (unsettled & (1 << member)) !== 0);
    const states = producersAfter(entriesOf(producersAsOf));
    const producers = {
      stateOf: (id: number) => this.spoilt(states.get(id)),
      isYoung: () => this.isYoung,
    };
    const made = planCommit(headAfter(entriesOf(observed), SLOTS), producers, left, layout, {
      batchId,
      location: 'inline',
    });
    if (this.flaw === 'a plan looks at the expected offset before the sequence') this.expectFirst(left, observed, made);
    const settles = [...made.settled].map(([append, outcomes]) => ({
      member: appends.indexOf(append),
      answer: this.answerOf(outcomes[0] as BatchOutcome),
    }));
    return {
      refuses: settles.some(({ answer }) => answer.type !== 'offset'),
      settles,
      commit: made.commit && this.addCommit(this.withLateFence(made.commit, states), data, group, appends),
    };
  }

  private expectFirst(left: readonly HeadAppend[], observed: Log, { settled }: CommitPlan): void {
    for (const append of left) {
      const { slot, expectedOffset } = append.batches[0] as PlacedBatch;
      const nextOffset = observed.nextOffsets[slot] as number;
      if (expectedOffset === undefined || expectedOffset === nextOffset) continue;
      const error = new EventLogError('offset_mismatch', '', { details: { expectedOffset, nextOffset } });
      settled.set(append, [{ type: 'failed', error }]);
    }
  }

  /** With the flaw that a fence does not reach below the newest epoch that has written anywhere. */
  private withLateFence(commit: PlannedCommit, states: ReadonlyMap<number, ProducerState>): PlannedCommit {
    const state = states.get(PRODUCER_ID);
    if (state === undefined || this.flaw !== 'a fence begins at the newest epoch in any partition') return commit;
    // The epochs of the model have one digit, the last byte.
    const isKept = (key: Uint8Array): boolean => key[0] !== KIND_FENCE || (key.at(-1) as number) >= newestEpoch(state);
    return { ...commit, leave: commit.leave.filter(isKept) };
  }

  /** With the flaw of one epoch for all slots: as if the newest had written to each of them. */
  private spoilt(state: ProducerState | undefined): ProducerState | undefined {
    if (state === undefined || this.flaw !== 'a plan fences by the newest epoch in any partition') return state;
    const newest = newestEpoch(state);
    return { slots: state.slots.map((kept) => kept && { ...kept, epoch: newest }) };
  }

  private answerOf(outcome: BatchOutcome): Answer {
    if (outcome.type !== 'failed') return { type: 'offset', offset: outcome.baseOffset };
    const { code, details } = outcome.error;
    if (code === 'out_of_order_sequence' && this.flaw === 'a plan takes what is out of order for fenced') {
      return { type: 'producer_fenced' };
    }
    if (code === 'producer_fenced' || code === 'out_of_order_sequence') return { type: code };
    if (code !== 'offset_mismatch') throw outcome.error;
    const isReached = Number(details.nextOffset) > Number(details.expectedOffset);
    return { type: isReached ? 'offset_mismatch' : 'offset_not_reached' };
  }

  private addCommit(
    planned: PlannedCommit,
    data: DataName,
    group: readonly number[],
    made: readonly HeadAppend[],
    shutsOut?: number,
  ): Commit {
    const leaves = this.keyIds(planned.leave);
    const demandsAbsent = this.keyIds(planned.demandAbsent.filter((key) => this.isDemanded(key)));
    const packed = toHex(planned.packed);
    const id = this.commitIds.of(JSON.stringify([packed, leaves, demandsAbsent, [...planned.expected]]));
    const appends = [...planned.appends].flatMap(([append, outcomes]) => {
      const outcome = outcomes[0];
      if (outcome === undefined) return [];
      if (outcome.type !== 'pending') throw new Error('Every append of the model has one batch.');
      const { slot, offsetInEntry } = outcome;
      return { batch: group[made.indexOf(append)] as number, slot, offsetInEntry };
    });
    const { entry } = planned;
    const expected = this.flaw === 'a commit does not demand its expected offset' ? new Map() : planned.expected;
    this.commits[id] ??= {
      id,
      entryId: this.entries.of(packed),
      entry,
      data,
      leaves,
      demandsAbsent,
      expected,
      shutsOut,
      appends,
    };
    return this.commits[id] as Commit;
  }

  private isDemanded([kind]: Uint8Array): boolean {
    if (this.flaw === 'a commit demands no once keys absent') return false;
    return kind !== KIND_IDEMPOTENCY_KEY || this.flaw !== 'a use is not demanded absent';
  }

  private keyIds(keys: readonly Uint8Array[]): number[] {
    const kept = keys.filter(([kind]) => {
      if (kind === KIND_FENCE) return this.flaw !== 'a newer epoch leaves no fence';
      return kind !== KIND_FIRST_BATCH || this.flaw !== 'a first batch leaves no key';
    });
    return kept.map((key) => this.keys.of(toHex(this.isOfNoSlot(key) ? withoutSlot(key) : key)));
  }

  private isOfNoSlot([kind]: Uint8Array): boolean {
    if (kind === KIND_BATCH) return this.flaw === 'a batch has one key in all partitions';
    if (kind === KIND_FIRST_BATCH) return this.flaw === 'a first batch has one key in all partitions';
    return kind === KIND_FENCE && this.flaw === 'a fence shuts out all partitions';
  }

  private addLog(before: Log | undefined, commits: readonly Commit[]): Log {
    const entries = commits.map(({ entry }) => entry);
    const prefixes: Log[] = [...(before?.prefixes ?? [])];
    const log: Log = {
      id: this.logs.length,
      commits,
      prefixes,
      nextOffsets: totalsAfter(entries, SLOTS).map(({ nextOffset }) => nextOffset),
      placed: placeParts(entries, 0, []),
    };
    prefixes.push(log);
    this.logs.push(log);
    if (this.logs.length >= LOGS_MAX || this.commits.length >= COMMITS_MAX)
      throw new Error('The scenario is too large.');
    return log;
  }
}

const LOGS_MAX = 65_536;
const BATCHES_MAX = 16;
const GROUPS_MAX = 4;

/** The kinds of once keys as `once-key.ts` persists them. */
const KIND_BATCH = 1;
const KIND_FENCE = 2;
const KIND_IDEMPOTENCY_KEY = 3;
const KIND_FIRST_BATCH = 4;

/** The slot is the byte behind the kind. */
function withoutSlot(key: Uint8Array): Uint8Array {
  return Uint8Array.of(key[0] as number, ...key.subarray(2));
}

function newestEpoch({ slots }: ProducerState): number {
  return slots.reduce((newest, slot) => Math.max(newest, slot?.epoch ?? 0), 0);
}

function entriesOf({ commits }: Log): Entry[] {
  return commits.map(({ entry }) => entry);
}

class Ids {
  private readonly ids = new Map<string, number>();

  of(name: string): number {
    const known = this.ids.get(name);
    if (known !== undefined) return known;
    this.ids.set(name, this.ids.size);
    return this.ids.size - 1;
  }
}

function appendOf({ slot, producer, expectedOffset, keyed }: Batch, batch: number, use: number): HeadAppend {
  const placed: PlacedBatch = {
    partition: slot,
    slot,
    data: Uint8Array.of(batch),
    records: 1,
    maxTimestampMs: 0,
    logAppendTimeMs: undefined,
    producer:
      producer === undefined
        ? undefined
        : { producerId: PRODUCER_ID, producerEpoch: producer.epoch, baseSequence: producer.sequence },
    expectedOffset,
  };
  const idempotency = keyed ? { use: Uint8Array.of(use), observedEntry: 0 } : undefined;
  return { atomic: false, batches: [placed], bytes: 1, idempotency };
}
