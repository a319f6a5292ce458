import { toHex } from '../../../../shared/log/bytes.ts';
import { makeBatchId } from '../../../../shared/log/head/batch-id.ts';
import type { Entry } from '../../../../shared/log/head/entry.ts';
import type { HeadAppend, PlacedBatch } from '../../../../shared/log/head/head-append.ts';
import { type PlannedCommit, planCommit } from '../../../../shared/log/head/plan-commit.ts';
import { openSlots, type ProducerState } from '../../../../shared/log/head/producer.ts';
import type { TransactionOutcome } from '../../../../shared/log/transaction/transaction.ts';
import { headAfter, producersAfter } from '../../entries.ts';
import type { Flaw } from '../flaws.ts';
import { type NumberedBatch, SLOTS } from '../scenarios.ts';
import { Interned } from './interned.ts';
import { PRODUCER_ID } from './item.ts';
import { type LogRead, readLog } from './read-log.ts';

/** All entries that a head ever took. */
export interface HeadLog {
  readonly id: number;
  readonly commits: readonly Commit[];
  /** By length: what the log was before. The last one is the log itself. */
  readonly prefixes: readonly HeadLog[];
  readonly entries: readonly Entry[];
  readonly read: LogRead;
}

/** One update of a head, but for the observed entry. */
export interface Commit {
  readonly id: number;
  readonly head: number;
  readonly entry: Entry;
  /** Equal for equal bytes. */
  readonly packed: string;
  readonly leaves: readonly string[];
  readonly demandsAbsent: readonly string[];
  /** The batch that it appends; a marker appends none. */
  readonly batch: number | undefined;
}

export type Job =
  | {
      readonly type: 'batch';
      readonly batch: number;
      readonly epoch: number;
      /** The number of the transaction. */
      readonly number: number;
      readonly attempt: number;
    }
  | {
      readonly type: 'marker';
      readonly head: number;
      readonly epoch: number;
      readonly number: number;
      readonly outcome: TransactionOutcome;
      /** Whoever writes it: two who do it leave different entries. */
      readonly by: number;
    };

export type Plan =
  | { readonly type: 'commit'; readonly commit: Commit }
  | { readonly type: 'done' }
  | { readonly type: 'refused'; readonly code: string };

/** What is committed to the heads is planned by the product's own `planCommit`, on heads that hold what the model's log holds. */
export class Heads {
  readonly logs = new Interned<HeadLog>();
  readonly initial: HeadLog;
  private readonly flaw: Flaw | undefined;
  private readonly batches: readonly NumberedBatch[];
  private readonly commits = new Interned<Commit>();
  private readonly plans = new Map<string, Plan>();
  private readonly longer = new Map<number, HeadLog>();

  constructor(batches: readonly NumberedBatch[], flaw: Flaw | undefined) {
    this.batches = batches;
    this.flaw = flaw;
    this.initial = this.addLog(undefined, []);
  }

  plan(job: Job, observed: HeadLog, producersAsOf: HeadLog = observed): Plan {
    const what = job.type === 'batch' ? `${job.batch} ${job.attempt}` : `${job.outcome} ${job.head} ${job.by}`;
    const key = `${observed.id} ${producersAsOf.id} ${job.number} ${job.epoch} ${what}`;
    let plan = this.plans.get(key);
    if (plan === undefined) {
      plan =
        job.type === 'batch'
          ? this.planBatch(job, observed, producersAsOf)
          : this.planMarker(job, observed, producersAsOf);
      this.plans.set(key, plan);
    }
    return plan;
  }

  /** Whether all conditions of the update hold. */
  takes({ commits }: HeadLog, firstEntry: number, commit: Commit, observedEntry: number): boolean {
    if (firstEntry > observedEntry && this.flaw !== 'a commit does not hold firstEntry against what was observed')
      return false;
    return !commits.slice(firstEntry).some((taken) => contradicts(taken, commit));
  }

  /** Whether it has met something for good that it demands absent, or itself. */
  isOutdated({ commits }: HeadLog, firstEntry: number, commit: Commit, observedEntry: number): boolean {
    return firstEntry > observedEntry || commits.slice(observedEntry).some((taken) => contradicts(taken, commit));
  }

  append(log: HeadLog, commit: Commit): HeadLog {
    const key = log.id * 65_536 + commit.id;
    let longer = this.longer.get(key);
    if (longer === undefined) {
      longer = this.addLog(log, [...log.commits, commit]);
      this.longer.set(key, longer);
    }
    return longer;
  }

  private planBatch(
    { batch, epoch, number, attempt }: Job & { readonly type: 'batch' },
    observed: HeadLog,
    producersAsOf: HeadLog,
  ): Plan {
    const { head, slot, sequence } = this.batches[batch] as NumberedBatch;
    const transaction = this.flaw === 'a batch does not name its transaction' ? undefined : number;
    const placed: PlacedBatch = {
      partition: slot,
      slot,
      data: Uint8Array.of(batch),
      records: 1,
      maxTimestampMs: 0,
      logAppendTimeMs: undefined,
      producer: { producerId: PRODUCER_ID, producerEpoch: epoch, baseSequence: sequence, transaction },
      firstSequence: 'zero',
    };
    const append: HeadAppend = { atomic: false, batches: [placed], bytes: 1 };
    const batchId = makeBatchId(Uint8Array.of(batch, attempt, 0, 0, 0, 0), 0);
    const { settled, commit } = this.planned(append, batchId, observed, producersAsOf, false);
    if (commit !== undefined) return { type: 'commit', commit: this.addCommit(head, commit, batch) };
    const outcome = settled.get(append)?.[0];
    if (outcome === undefined) throw new Error('A plan settles what it does not commit.');
    return outcome.type === 'failed' ? { type: 'refused', code: outcome.error.code } : { type: 'done' };
  }

  private planMarker(
    { head, epoch, number, outcome, by }: Job & { readonly type: 'marker' },
    observed: HeadLog,
    producersAsOf: HeadLog,
  ): Plan {
    const state = producersAfter(producersAsOf.entries).get(PRODUCER_ID);
    if (this.flaw === 'a head without data gets no fence' && openSlots(state, number).length === 0)
      return { type: 'done' };
    const marker = { producerId: PRODUCER_ID, producerEpoch: epoch, transaction: number, outcome };
    const append: HeadAppend = { atomic: true, batches: [], bytes: 0, marker };
    const batchId = makeBatchId(new Uint8Array(6), by);
    const { commit } = this.planned(append, batchId, observed, producersAsOf, true);
    return commit === undefined
      ? { type: 'done' }
      : { type: 'commit', commit: this.addCommit(head, commit, undefined) };
  }

  private planned(
    append: HeadAppend,
    batchId: Uint8Array,
    observed: HeadLog,
    producersAsOf: HeadLog,
    isMarker: boolean,
  ): ReturnType<typeof planCommit> {
    const states = producersAfter(producersAsOf.entries);
    const forgetsEnd = isMarker
      ? this.flaw === 'a marker does not look for one before it'
      : this.flaw === 'a batch does not look for the marker before it';
    const stateOf = (id: number): ProducerState | undefined => {
      const state = states.get(id);
      return state !== undefined && forgetsEnd ? { slots: state.slots } : state;
    };
    const layout = append.batches.map((_, index) => ({ append, index, position: index }));
    const producers = { stateOf, isYoung: () => false };
    return planCommit(headAfter(observed.entries, SLOTS), producers, [append], layout, { batchId, location: 'inline' });
  }

  private addCommit(
    head: number,
    { entry, packed, leave, demandAbsent }: PlannedCommit,
    batch: number | undefined,
  ): Commit {
    const isMarker = batch === undefined;
    const leaves = leave.filter((key) => this.isLeft(key, isMarker)).map(toHex);
    const demandsAbsent = demandAbsent.filter((key) => this.isDemanded(key, isMarker)).map(toHex);
    const bytes = toHex(packed);
    const key = JSON.stringify([head, bytes, leaves, demandsAbsent]);
    return this.commits.of(key, (id) => ({ id, head, entry, packed: bytes, leaves, demandsAbsent, batch }));
  }

  private isLeft([kind]: Uint8Array, isMarker: boolean): boolean {
    if (kind === KIND_MARKER && isMarker) return this.flaw !== 'a marker leaves no key';
    if (kind === KIND_NEW_SLOT) return this.flaw !== 'a new slot leaves no key';
    return true;
  }

  private isDemanded([kind]: Uint8Array, isMarker: boolean): boolean {
    if (kind === KIND_MARKER)
      return (
        this.flaw !==
        (isMarker ? 'a marker does not demand that there is none' : 'a batch does not demand that its marker is absent')
      );
    if (kind === KIND_NEW_SLOT)
      return (
        this.flaw !==
        (isMarker ? 'a marker does not demand that no slot was added' : 'a new slot is not demanded absent')
      );
    return kind !== KIND_BATCH || this.flaw !== 'a batch does not demand that it is absent';
  }

  private addLog(before: HeadLog | undefined, commits: readonly Commit[]): HeadLog {
    return this.logs.of(commits.map(({ id }) => id).join(), (id) => {
      const prefixes: HeadLog[] = [...(before?.prefixes ?? [])];
      const entries = commits.map(({ entry }) => entry);
      const batches = commits.map(({ batch }) => batch);
      const read = readLog(entries, batches, this.batches, this.flaw);
      const log: HeadLog = { id, commits, prefixes, entries, read };
      prefixes.push(log);
      return log;
    });
  }
}

/** The kinds of once keys as `once-key.ts` persists them. */
const KIND_BATCH = 1;
const KIND_MARKER = 5;
const KIND_NEW_SLOT = 6;

function contradicts(taken: Commit, commit: Commit): boolean {
  return taken.packed === commit.packed || taken.leaves.some((key) => commit.demandsAbsent.includes(key));
}
