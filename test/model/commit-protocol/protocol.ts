import type { Model, Reach } from '../search/search.ts';
import type { Flaw } from './flaws.ts';
import { Invariants } from './invariants.ts';
import type { Occasion } from './occasions.ts';
import { ACKNOWLEDGED, goesOn, OUTCOME, outcomeOf } from './outcomes.ts';
import { type Answer, type Commit, type Job, type Log, Planner } from './planner.ts';
import {
  type Batch,
  type NumberedClient,
  numberClients,
  type Scenario,
  TAIL_ENTRIES_MAX,
  TAIL_NODE_ENTRIES,
} from './scenarios.ts';
import { MOVER, State, WRITER } from './state.ts';
import { ATTEMPTS_MAX, FRESH_ATTEMPTS, jobOf, Narrator, STEP, stepOf } from './steps.ts';
import { indexOfEntry, Storage } from './storage.ts';

/**
 * The commit protocol as `shared/broker/heads/commit/commit-group.ts` carries it out, over a network that delays, repeats and loses.
 * What a writer does between a reply and its next request is one step: a request may be applied at any time after it was
 * sent, so nothing is gained by sending it later. Nothing is presumed of what a writer remembers: it plans from any state
 * that the head ever had. Only a refusal needs the present one.
 */
export class CommitProtocol implements Model {
  readonly stateBytes: number;
  readonly initial: Uint8Array;
  /** How often each was met. */
  readonly occasions = new Map<Occasion, number>();
  private readonly scenario: Scenario;
  private readonly flaw: Flaw | undefined;
  private readonly clients: readonly NumberedClient[];
  private readonly batches: readonly Batch[];
  private readonly triesMax: readonly number[];
  /** By batch, those of the group in which its first try comes, itself first. */
  private readonly groups: readonly (readonly number[])[];
  private readonly planner: Planner;
  private readonly storage: Storage;
  private readonly invariants: Invariants;
  private readonly narrator: Narrator;
  private readonly now: State;
  private readonly next: State;
  /** For what is asked about a state in the middle of a step. */
  private readonly other: State;
  /** What the step tells clients, each of whom may hear it or not. */
  private answers: { readonly batch: number; readonly outcome: number }[] = [];
  private reach: Reach = () => {};

  constructor(scenario: Scenario, flaw?: Flaw) {
    this.scenario = scenario;
    this.flaw = flaw;
    this.clients = numberClients(scenario.clients);
    this.batches = this.clients.flatMap(({ batches }) => batches);
    this.triesMax = this.clients.flatMap(({ batches, tries }) => batches.map(() => tries));
    this.groups = this.batches.map(({ name }, batch) => {
      const rider = scenario.groups?.find(([leader]) => leader === name)?.[1];
      return rider === undefined ? [batch] : [batch, this.batches.findIndex((other) => other.name === rider)];
    });
    this.planner = new Planner(this.batches, scenario.young ?? false, flaw);
    this.storage = new Storage(this.planner, flaw);
    this.invariants = new Invariants(this.clients, this.planner, scenario);
    this.narrator = new Narrator(this.batches, this.planner);
    const { writers, movers } = scenario;
    // One entry more than there are batches, and than can be shut out, shows any that is appended twice.
    const shutOuts = this.batches.filter(({ keyed, expectedOffset }) => keyed && expectedOffset !== undefined).length;
    const entriesMax = this.batches.length + shutOuts + 1;
    const sizes = { batches: this.batches.length, entriesMax, writers, movers };
    this.now = new State(sizes);
    this.next = new State(sizes);
    this.other = new State(sizes);
    this.stateBytes = this.now.bytes.length;
    this.initial = new Uint8Array(this.stateBytes);
  }

  violation(state: Uint8Array): string | undefined {
    this.other.set(state);
    return this.invariants.violation(this.other);
  }

  unfinished(state: Uint8Array): string | undefined {
    this.other.set(state);
    return this.invariants.unfinished(this.other);
  }

  describe(before: Uint8Array, step: number, after: Uint8Array): string {
    this.now.set(before);
    this.other.set(after);
    return this.narrator.tell(this.now, step, this.other);
  }

  /** All that a client can come to know: the log, how much of it has been moved, and what was answered. */
  visible(state: Uint8Array): string {
    this.other.set(state);
    return this.narrator.visible(this.other);
  }

  steps(state: Uint8Array, reach: Reach): void {
    this.now.set(state);
    this.reach = reach;
    for (const client of this.clients) this.clientSteps(client);
    for (let writer = 0; writer < this.scenario.writers; writer++) this.writerSteps(writer);
    for (let mover = 0; mover < this.scenario.movers; mover++) this.moverSteps(mover);
    this.networkSteps();
    if (this.scenario.closes && this.now.closed === 0) {
      this.begin().closed = this.log(this.now).commits.length + 1;
      this.end(STEP.close);
    }
  }

  // Clients.

  private clientSteps(client: NumberedClient): void {
    const { first, batches, inFlight, tries } = client;
    for (let batch = first; batch < first + batches.length; batch++) {
      if (batch - inFlight >= first && !goesOn(client, this.now.outcome(batch - inFlight))) return;
      if (this.now.outcome(batch) === OUTCOME.none && this.now.tries(batch) < tries) this.gather(batch);
      if (this.now.tries(batch) === 0) return;
    }
  }

  /** An idle writer takes up a batch, and writes its data. Another may still be at work on an earlier try. */
  private gather(batch: number): void {
    const writer = this.now.idleWriter();
    const isRider = this.groups.some(([leader, ...riders]) => leader !== batch && riders.includes(batch));
    if (writer === undefined || isRider) return;
    const next = this.begin();
    const attempt = next.tries(batch);
    const group = this.group(batch, attempt);
    for (const member of group) {
      next.setTries(member, next.tries(member) + 1);
      if (attempt === 0 && this.batches[member]?.keyed) next.setNoted(member, this.log(next).commits.length);
    }
    if (this.flaw !== 'a commit is sent before its data') next.writeData(batch, attempt);
    next.setGathered(writer, jobOf(batch, attempt), (1 << group.length) - 1);
    this.end(STEP.gather, jobOf(batch, attempt));
  }

  private group(batch: number, attempt: number): readonly number[] {
    return attempt % FRESH_ATTEMPTS === 0 ? (this.groups[batch] as readonly number[]) : [batch];
  }

  // Writers.

  private writerSteps(writer: number): void {
    const phase = this.now.writer(writer);
    if (phase === WRITER.idle) return;
    const job = this.now.job(writer);
    if (this.flaw === 'a commit is sent before its data') {
      this.begin().writeData(Math.floor(job / ATTEMPTS_MAX), job % ATTEMPTS_MAX);
      this.end(STEP.writeData, job);
    }
    if (phase === WRITER.gathered) {
      this.planSteps(writer, job);
    } else {
      this.begin();
      this.reply(writer);
      this.end(STEP.reply, job);
    }
    if (this.flaw === 'an unanswered commit is sent as a fresh entry' && phase === WRITER.committing) {
      this.begin();
      this.commitAfresh(writer);
      this.end(STEP.commitAfresh, job);
    }
    if (this.now.failures === this.scenario.failures) return;
    this.begin().failures++;
    this.settleAll(writer, OUTCOME.none);
    this.end(STEP.writerCrash, job);
    if (phase === WRITER.committing) this.giveUp(writer, job);
  }

  private planSteps(writer: number, job: number): void {
    const { length } = this.log(this.now).commits;
    for (let observedEntry = 0; observedEntry <= length; observedEntry++) {
      const oldest = this.flaw === 'a plan takes producers as of an older entry' ? 0 : observedEntry;
      for (let producersAsOf = oldest; producersAsOf <= observedEntry; producersAsOf++) {
        this.begin();
        this.decideFromMemory(writer, observedEntry, producersAsOf);
        this.end(STEP.plan, job, observedEntry);
      }
    }
    // While the head is open, a fresh look at it is like a memory that is up to date.
    if (this.now.closed === 0) return;
    this.begin();
    this.decide(writer);
    this.end(STEP.planAfresh, job);
  }

  /** As of a state of the head that may be past, so that nothing is refused by it. */
  private decideFromMemory(writer: number, observedEntry: number, producersEntry: number): void {
    const observed = this.log(this.next).prefixes[observedEntry] as Log;
    const producersAsOf = observed.prefixes[producersEntry] as Log;
    this.settleRepeats(writer, observed);
    if (this.next.writer(writer) === WRITER.idle) return;
    if (
      this.planner.plan(this.job(writer), observed, producersAsOf).refuses &&
      this.flaw !== 'a plan refuses from memory'
    ) {
      this.note('a refusal waits for a fresh look at the head');
      this.decide(writer);
    } else {
      this.carryOut(writer, observed, producersAsOf);
    }
  }

  /** As of the present state of the head. */
  private decide(writer: number): void {
    const observed = this.log(this.next);
    if (this.next.closed > 0) this.settleAll(writer, OUTCOME.closed);
    else this.settleRepeats(writer, observed);
    if (this.next.writer(writer) !== WRITER.idle) this.carryOut(writer, observed, observed);
  }

  /** Settles what needs no commit, and sends the commit for the rest. */
  private carryOut(writer: number, observed: Log, producersAsOf: Log): void {
    const { next } = this;
    const plan = this.planner.plan(this.job(writer), observed, producersAsOf);
    for (const { member, answer } of plan.settles) {
      if (this.isToBeShutOut(writer, member, answer)) {
        // The batch is the only one of its job.
        this.send(writer, this.planner.shutOut(this.job(writer), observed), observed.commits.length);
        return;
      }
      this.settle(writer, member, outcomeOf(answer));
    }
    if (plan.commit !== undefined) {
      const observedEntry = observed.commits.length;
      this.send(writer, plan.commit, observedEntry);
      if (this.flaw === 'an append is acknowledged before its commit') {
        this.acknowledge(writer, plan.commit, observedEntry);
      }
    } else if (next.writer(writer) !== WRITER.idle) {
      throw new Error('No batches of a group of the model wait for each other.');
    }
  }

  /** Before a request under a key is rejected, none of its attempts may still be applied later. */
  private isToBeShutOut(writer: number, member: number, answer: Answer): boolean {
    const batch = this.job(writer).group[member] as number;
    if (answer.type !== 'offset_not_reached' || !this.batches[batch]?.keyed) return false;
    return this.flaw !== 'a rejected use is not shut out';
  }

  private send(writer: number, commit: Commit, observedEntry: number): void {
    this.storage.sendCommit(this.next, commit, observedEntry);
    this.next.setCommitting(writer, commit.id, observedEntry);
  }

  /** Settles those whose use of an idempotency key was left by an entry since it was noted, or by one in the tail. */
  private settleRepeats(writer: number, observed: Log): void {
    const { group, unsettled } = this.job(writer);
    for (const [member, batch] of group.entries()) {
      const useKey = this.planner.useKey(batch);
      if (useKey === undefined || (unsettled & (1 << member)) === 0) continue;
      const isTailOnly = this.flaw === 'an attempt looks for its use in the tail only';
      const from = isTailOnly ? this.next.firstEntry : Math.min(this.next.noted(batch), this.next.firstEntry);
      for (let sequence = from; sequence < observed.commits.length; sequence++) {
        const commit = observed.commits[sequence] as Commit;
        if (!commit.leaves.includes(useKey)) continue;
        const offset = this.offsetOf(observed, commit, sequence, batch);
        const isShutOut = offset === undefined;
        this.note(isShutOut ? 'an attempt finds that it was shut out' : 'a repeat is found by its idempotency key');
        this.settle(writer, member, isShutOut ? OUTCOME.shutOut : ACKNOWLEDGED + offset);
        break;
      }
    }
  }

  /** The reply to the writer's commit, as of one time that it is applied, and what the writer does upon it. */
  private reply(writer: number): void {
    const { next } = this;
    const commit = this.commit(next.sentCommit(writer));
    const fate = this.fate(commit, next.sentObservedSeq(writer));
    if (commit.shutsOut !== undefined) {
      if (fate !== 'unknown') this.lookAgain(writer, fate);
    } else if (typeof fate === 'number') {
      this.acknowledge(writer, commit, fate);
    } else if (fate === 'not applied') {
      if (this.flaw !== 'a refused commit is not planned anew') this.decide(writer);
    } else if (this.flaw === 'a commit that met a full tail is sent as a fresh entry') {
      this.commitAfresh(writer);
    }
    // Else movers make room, of which the writer itself is one; then the same request gets another reply.
  }

  /** Whether the attempts were shut out, or one was applied before: the log tells. */
  private lookAgain(writer: number, fate: number | 'not applied'): void {
    if (this.flaw === 'what was shut out is not looked for again') this.settleAll(writer, OUTCOME.offsetMismatch);
    else this.decide(writer);
    if (fate === 'not applied' && this.answers.some(({ outcome }) => outcome >= ACKNOWLEDGED))
      this.note('what was to be shut out has been applied');
  }

  /** Out of time when its commit was refused, the writer says that nothing was applied, which must then stay so. */
  private giveUp(writer: number, job: number): void {
    const next = this.begin();
    const commit = this.commit(next.sentCommit(writer));
    // Who can't shut out an attempt in time says nothing of it.
    if (commit.shutsOut !== undefined) return;
    const fate = this.fate(commit, next.sentObservedSeq(writer));
    const isCertain = fate === 'not applied';
    if (!isCertain && (fate !== 'unknown' || this.flaw !== 'a commit that met a full tail is given up')) return;
    next.failures++;
    this.settleAll(writer, OUTCOME.notApplied);
    this.end(STEP.giveUp, job);
  }

  /** The sequence of the entry, if it is in the log by now; `unknown` if it may yet be. */
  private fate(commit: Commit, observedEntry: number): number | 'not applied' | 'unknown' {
    const { next, storage } = this;
    const { commits } = this.log(next);
    if (storage.takes(next, commit, observedEntry)) {
      storage.append(next, commit);
      return commits.length;
    }
    const inTail = indexOfEntry(commits, commit.entryId, next.firstEntry, commits.length);
    if (inTail !== undefined) {
      this.note('a commit is refused, and its entry in the tail');
      return inTail;
    }
    if (next.firstEntry > observedEntry) {
      const inNode = storage.findInNodes(next, commit, observedEntry);
      this.note(`a commit is refused, and its entry ${inNode === undefined ? 'nowhere' : 'in a tail node'}`);
      return inNode ?? 'not applied';
    }
    if (next.closed > 0 || storage.contradicts(next, commit)) {
      this.note('a commit is refused for what came before it');
      return 'not applied';
    }
    this.note('a commit is refused for a full tail');
    return 'unknown';
  }

  /** The same data under a new batch id. Once a job, so that states are bounded. */
  private commitAfresh(writer: number): void {
    const { next } = this;
    const { data } = this.job(writer);
    if (data.attempt >= FRESH_ATTEMPTS) return;
    next.writeData(data.batch, data.attempt + FRESH_ATTEMPTS);
    next.setGathered(writer, jobOf(data.batch, data.attempt + FRESH_ATTEMPTS), next.unsettled(writer));
    this.decide(writer);
  }

  private acknowledge(writer: number, commit: Commit, sequence: number): void {
    const { group } = this.job(writer);
    for (const { batch } of commit.appends) {
      const offset = this.offsetOf(this.log(this.next), commit, sequence, batch) as number;
      this.settle(writer, group.indexOf(batch), ACKNOWLEDGED + offset);
    }
  }

  private offsetOf(log: Log, commit: Commit, sequence: number, batch: number): number | undefined {
    const append = commit.appends.find((candidate) => candidate.batch === batch);
    if (append === undefined) return undefined;
    return ((log.prefixes[sequence] as Log).nextOffsets[append.slot] as number) + append.offsetInEntry;
  }

  private settle(writer: number, member: number, outcome: number): void {
    this.answers.push({ batch: this.job(writer).group[member] as number, outcome });
    this.next.setSettled(writer, member);
  }

  private settleAll(writer: number, outcome: number): void {
    const { group, unsettled } = this.job(writer);
    for (const member of group.keys()) if ((unsettled & (1 << member)) !== 0) this.settle(writer, member, outcome);
  }

  private job(writer: number): Job {
    const job = this.next.job(writer);
    const data = { batch: Math.floor(job / ATTEMPTS_MAX), attempt: job % ATTEMPTS_MAX };
    return { data, group: this.group(data.batch, data.attempt), unsettled: this.next.unsettled(writer) };
  }

  // Movers: first the node, then the head.

  private moverSteps(mover: number): void {
    const phase = this.now.mover(mover);
    const putsFirst = this.flaw !== 'a tail is moved before its node is put';
    const next = this.begin();
    if (phase === MOVER.idle) {
      const length = this.log(next).commits.length - next.firstEntry;
      if (length < TAIL_NODE_ENTRIES || this.flaw === 'a tail is never moved') return;
      const entries = this.flaw === 'a node has any length' ? length : TAIL_NODE_ENTRIES;
      if (putsFirst) this.sendPut(mover, next.firstEntry, entries);
      else this.sendMove(mover, next.firstEntry, entries);
      this.end(STEP.moverStart, this.now.firstEntry, entries);
      return;
    }
    const sequence = next.moverSequence(mover);
    const entries = next.moverEntries(mover);
    if (phase === MOVER.putting) {
      next.putNode(sequence, entries);
      if (putsFirst && this.flaw !== 'a node is put again and again') this.sendMove(mover, sequence, entries);
      else next.setMover(mover, MOVER.idle, 0, 0);
      this.end(STEP.putReply, sequence, entries);
    } else {
      if (putsFirst) next.setMover(mover, MOVER.idle, 0, 0);
      else this.sendPut(mover, sequence, entries);
      this.storage.move(this.next, sequence, entries);
      this.end(STEP.moveReply, sequence, entries);
    }
    if (this.now.failures === this.scenario.failures) return;
    this.begin().failures++;
    this.next.setMover(mover, MOVER.idle, 0, 0);
    this.end(STEP.moverCrash, sequence, entries);
  }

  private sendPut(mover: number, sequence: number, entries: number): void {
    this.next.sendPut(sequence, entries);
    this.next.setMover(mover, MOVER.putting, sequence, entries);
  }

  private sendMove(mover: number, sequence: number, entries: number): void {
    this.storage.sendMove(this.next, sequence, entries);
    this.next.setMover(mover, MOVER.moving, sequence, entries);
  }

  // The network: what is under way is applied, late or once more, and no one hears of it.

  private networkSteps(): void {
    const { now } = this;
    for (let i = 0; i < now.commits; i++) {
      const commit = this.commit(now.commitUnderWay(i));
      const observedEntry = now.observedEntryUnderWay(i);
      if (!this.storage.takes(now, commit, observedEntry)) continue;
      this.note('a commit is applied unheard');
      this.begin();
      this.storage.append(this.next, commit);
      this.end(STEP.commitUnheard, commit.id, observedEntry);
    }
    const { length } = this.log(now).commits;
    for (let sequence = 0; sequence < length; sequence++) {
      for (let entries = TAIL_NODE_ENTRIES; entries <= TAIL_ENTRIES_MAX; entries++) {
        if (now.isPutUnderWay(sequence, entries) && now.node(sequence) !== entries) {
          this.begin().putNode(sequence, entries);
          this.end(STEP.putUnheard, sequence, entries);
        }
        if (!now.isMoveUnderWay(sequence, entries)) continue;
        this.begin();
        if (this.storage.move(this.next, sequence, entries)) this.end(STEP.moveUnheard, sequence, entries);
      }
    }
  }

  private begin(): State {
    this.next.set(this.now.bytes);
    this.answers = [];
    return this.next;
  }

  private end(kind: number, a = 0, b = 0): void {
    const { next } = this;
    // Why they have no effect holds for the protocol as it is, not for what a flaw makes of it.
    if (this.scenario.reduced && this.flaw === undefined) this.storage.forgetRefusedForGood(next);
    next.sortProcesses();
    this.tell(0, stepOf(kind, a, b));
  }

  /** Each client hears its answer, or does not. */
  private tell(first: number, step: number): void {
    const { next } = this;
    const answer = this.answers[first];
    if (answer === undefined) {
      this.reach(next.bytes, step);
      return;
    }
    const { batch, outcome } = answer;
    const was = next.outcome(batch);
    if (was === OUTCOME.none && outcome !== OUTCOME.none) {
      next.setOutcome(batch, outcome);
      this.tell(first + 1, step);
    }
    const givesUp = next.tries(batch) === this.triesMax[batch] && !this.isAtWork(batch);
    next.setOutcome(batch, was === OUTCOME.none && givesUp ? OUTCOME.unknown : was);
    this.tell(first + 1, step);
    next.setOutcome(batch, was);
  }

  private isAtWork(batch: number): boolean {
    for (let writer = 0; writer < this.scenario.writers; writer++) {
      if (this.next.writer(writer) === WRITER.idle) continue;
      const { group, unsettled } = this.job(writer);
      const member = group.indexOf(batch);
      if (member >= 0 && (unsettled & (1 << member)) !== 0) return true;
    }
    return false;
  }

  private log(state: State): Log {
    return this.storage.log(state);
  }

  private commit(id: number): Commit {
    return this.planner.commits[id] as Commit;
  }

  private note(occasion: Occasion): void {
    this.occasions.set(occasion, (this.occasions.get(occasion) ?? 0) + 1);
  }
}
