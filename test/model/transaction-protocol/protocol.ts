import { isCompleting } from '../../../shared/log/transaction/transitions.ts';
import type { Model, Reach } from '../search/search.ts';
import { type Answer, type ClientState, Clients } from './clients.ts';
import { Decisions } from './decisions.ts';
import type { Flaw } from './flaws.ts';
import { type HeadLog, Heads, type Job, type Plan } from './heads.ts';
import { Invariants } from './invariants.ts';
import { type Change, type History, type ItemState, TransactionItem } from './item.ts';
import { Narrator, STEP, stepOf } from './narrator.ts';
import { HEADS, type NumberedBatch, numberBatches, type Scenario } from './scenarios.ts';
import { State } from './state.ts';
import { type Draft, type Operation, type Request, type Worker, Workers } from './workers.ts';

/**
 * Transactions as `shared/broker/transactions` carries them out, over a network that delays, repeats and loses. What a process
 * does between a reply and its next request is one step: a request may be applied at any time after it was sent, so nothing is
 * gained by sending it later. What is decided, planned and demanded comes from the product; the table, the network, the loops
 * of `moveTransaction`, `completeTransaction` and `commitGroup`, and the clients are modelled.
 */
export class TransactionProtocol implements Model {
  readonly stateBytes: number;
  readonly initial: Uint8Array;
  private readonly scenario: Scenario;
  private readonly flaw: Flaw | undefined;
  private readonly batches: readonly NumberedBatch[];
  private readonly item: TransactionItem;
  private readonly heads: Heads;
  private readonly clients: Clients;
  private readonly workers = new Workers();
  private readonly decisions: Decisions;
  private readonly invariants: Invariants;
  private readonly narrator: Narrator;
  private readonly workersMax: number;
  private readonly now: State;
  private readonly next: State;
  private readonly other: State;
  /** How many entries are not in what is remembered of a head, in this step. */
  private age = 0;
  private reach: Reach = () => {};

  constructor(scenario: Scenario, flaw?: Flaw) {
    this.scenario = scenario;
    this.flaw = flaw;
    this.batches = numberBatches(scenario.clients);
    this.item = new TransactionItem(flaw);
    this.heads = new Heads(this.batches, flaw);
    this.clients = new Clients(scenario.clients);
    this.decisions = new Decisions(this.batches, this.item, flaw);
    this.workersMax = scenario.workers + scenario.helpers;
    const sizes = { clients: scenario.clients.length, workers: this.workersMax };
    this.now = new State(sizes);
    this.next = new State(sizes);
    this.other = new State(sizes);
    const parts = { scenario, batches: this.batches, item: this.item, heads: this.heads, clients: this.clients };
    this.invariants = new Invariants(parts);
    this.narrator = new Narrator(parts, this.workers);
    this.stateBytes = this.now.bytes.length;
    const initial = new State(sizes);
    for (const client of scenario.clients.keys()) initial.setClient(client, this.clients.initial(client).id);
    this.initial = initial.bytes;
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

  /** All that a client can come to know: the item, the heads, and what was answered. */
  visible(state: Uint8Array): string {
    this.other.set(state);
    return this.narrator.visible(this.other);
  }

  steps(state: Uint8Array, reach: Reach): void {
    this.now.set(state);
    this.reach = reach;
    for (const client of this.scenario.clients.keys()) this.clientSteps(client);
    this.helperSteps();
    for (let worker = 0; worker < this.workersMax; worker++) this.workerSteps(worker);
    this.networkSteps();
    if (this.scenario.moves) this.moveSteps();
  }

  // Clients, and whoever is held up.

  private clientSteps(client: number): void {
    const state = this.clients.states.at(this.now.client(client));
    const { stage, transaction, tries, epoch } = state;
    if (stage === 'over' || tries === this.scenario.tries || this.atWork(false) === this.scenario.workers) return;
    const isEnd = stage === 'end';
    for (const outcome of isEnd ? this.clients.ends(client, state) : (['aborted'] as const)) {
      const batch = stage === 'write' ? this.batchOf(client, state) : -1;
      const asked = { kind: stage, client, transaction, batch, attempt: tries, epoch, outcome };
      const operation = this.workers.operation(asked);
      this.startSteps(operation, () =>
        this.next.setClient(client, this.clients.sent(state, isEnd ? outcome : undefined).id),
      );
    }
  }

  private batchOf(client: number, state: ClientState): number {
    const first = this.batches.findIndex((batch) => batch.client === client);
    return first + this.clients.batchOf(client, state);
  }

  /** A process begins with a look at the item, or with what it remembers of it. */
  private startSteps(operation: Operation, send: () => void): void {
    const { states, current } = this.history(this.now);
    const begin = {
      operation,
      stage: 'changing',
      mayBeApplied: false,
      rejections: 0,
      isDone: false,
      requests: [],
    } as const;
    const fresh: Draft = {
      ...begin,
      seen: current,
      isCertain: true,
      number: current.transaction.number,
      isRemembered: false,
    };
    this.eachAge(STEP.start, operation.client, () => {
      send();
      this.decide(this.idleWorker(), fresh);
    });
    if (operation.kind !== 'write' && operation.kind !== 'end') return;
    const bound = operation.kind === 'write' ? states.find((state) => this.isBound(state, operation)) : undefined;
    if (bound !== undefined)
      this.eachAge(STEP.startBound, operation.client, () => {
        send();
        this.append(this.idleWorker(), { ...fresh, seen: bound, isCertain: false, isRemembered: true });
      });
    for (const seen of states) {
      if (seen === current) continue;
      const remembered: Draft = { ...fresh, seen, isCertain: false, number: undefined };
      if (!this.isWorthTrying(remembered)) continue;
      this.begin();
      send();
      this.decide(this.idleWorker(), remembered);
      this.end(STEP.startRemembering, operation.client, seen.id);
    }
  }

  /** Whether the batch needs no update of the item. */
  private isBound({ transaction }: ItemState, { batch, epoch }: Operation): boolean {
    const { phase, producer, participants: known } = transaction;
    const { head } = this.batches[batch] as NumberedBatch;
    return (
      phase === 'open' && producer.producerEpoch === epoch && known.heads.some(({ headNumber }) => headNumber === head)
    );
  }

  /** An update that is certain to be rejected ends in a look at the item, with which others begin. */
  private isWorthTrying(remembered: Draft): boolean {
    const decided = this.decisions.of(remembered);
    if (decided.do !== 'write') return false;
    return !this.scenario.reduced || this.item.apply(this.history(this.now), decided.change) !== undefined;
  }

  private helperSteps(): void {
    if (this.atWork(true) === this.scenario.helpers || this.flaw === 'nobody ends what is overdue') return;
    if (this.history(this.now).current.transaction.phase === 'empty') return;
    this.startSteps(this.workers.operation(HELPER), () => {});
  }

  private atWork(isHelper: boolean): number {
    let count = 0;
    for (let i = 0; i < this.workersMax; i++) {
      const id = this.now.worker(i);
      if (id > 0 && this.workers.all.at(id - 1).operation.client < 0 === isHelper) count++;
    }
    return count;
  }

  private idleWorker(): number {
    const worker = this.next.idleWorker;
    if (worker === undefined) throw new Error('There is a worker for everybody.');
    return worker;
  }

  // The item: `moveTransaction`.

  private decide(worker: number, draft: Draft): void {
    for (let at = draft; ; ) {
      const decided = this.decisions.of(at);
      if (decided.do !== 'write' && !at.isCertain) {
        at = this.looked(at);
        continue;
      }
      switch (decided.do) {
        case 'refuse':
          this.refuse(worker, at, decided.code);
          return;
        case 'answer':
          this.carriedOut(worker, at);
          return;
        case 'complete':
          this.mark(worker, { ...at, isDone: decided.isDone });
          return;
        case 'write':
          this.change(worker, at, decided.change, decided.isDone);
          return;
      }
    }
  }

  private looked(draft: Draft): Draft {
    const seen = this.history(this.next).current;
    return { ...draft, seen, isCertain: true, number: seen.transaction.number };
  }

  private change(worker: number, at: Draft, change: Change, isDone: boolean): void {
    const request = this.send(this.workers.change(change));
    const number = at.number ?? at.seen.transaction.number;
    const sent: Draft = { ...at, stage: 'changing', number, isDone, requests: [request] };
    const isEarly = this.flaw === 'an end marks before it is applied' && at.operation.kind === 'end';
    if (isEarly && isCompleting(change.next))
      this.mark(worker, { ...sent, seen: this.item.after(at.seen, change), isDone: true });
    else this.keep(worker, sent);
  }

  /** `isUncertain`: if it is rejected, it may have been applied before. */
  private changed(worker: number, at: Worker, change: Change, isUncertain: boolean): void {
    const after = this.item.apply(this.history(this.next), change);
    if (after !== undefined) {
      this.next.history = after.id;
      const isOld = this.flaw === 'an end marks the participants that it knew before' && at.operation.kind === 'end';
      const seen = isOld ? this.item.after(at.seen, change) : after.current;
      if (at.isDone) this.carriedOut(worker, { ...at, seen, isCertain: true });
      else this.decide(worker, { ...at, seen, isCertain: true });
      return;
    }
    const seen = this.history(this.next).current;
    const number = !at.isCertain && !isUncertain ? seen.transaction.number : at.number;
    const mayBeApplied = at.mayBeApplied || (isUncertain && this.mayHaveEnded(change));
    const met: Draft = { ...at, seen, isCertain: true, number, mayBeApplied, rejections: at.rejections + 1 };
    if (met.rejections === this.scenario.rejections) this.refuse(worker, met, 'throttled');
    else this.decide(worker, met);
  }

  private mayHaveEnded({ next }: Change): boolean {
    return next.phase !== 'open' && this.flaw !== 'an end that met another state says that nothing happened';
  }

  private refuse(worker: number, { operation, mayBeApplied }: Draft, code: string): void {
    this.next.setWorker(worker, 0);
    this.answer(operation, { type: 'refused', code, isCertain: !mayBeApplied });
  }

  /** The item is as the operation wants it. */
  private carriedOut(worker: number, at: Draft): void {
    const { operation, seen } = at;
    const { producer, previous } = seen.transaction;
    if (operation.kind === 'write') {
      this.append(worker, at);
      return;
    }
    this.next.setWorker(worker, 0);
    const isStillIts = operation.kind === 'initialise' || previous?.producerEpoch === operation.epoch;
    this.answer(operation, { type: 'ok', epoch: isStillIts ? producer.producerEpoch : operation.epoch + 1 });
  }

  // Completing: `completeTransaction`.

  private mark(worker: number, at: Draft): void {
    const { operation, seen } = at;
    if (operation.kind === 'end' && this.flaw === 'an end is acknowledged before the marks')
      this.answer(operation, { type: 'ok', epoch: seen.transaction.producer.producerEpoch });
    const requests = seen.transaction.participants.heads.map(({ headNumber }) => this.markHead(at, headNumber));
    this.marked(worker, { ...at, stage: 'marking', requests });
  }

  /** The commit that is sent; `undefined` if the head is marked. */
  private markHead({ operation, seen }: Draft, head: number): Request | undefined {
    const { number, producer, phase } = seen.transaction;
    const plan = this.plan(head, {
      type: 'marker',
      head,
      number,
      epoch: producer.producerEpoch,
      outcome: phase === 'committing' ? 'committed' : 'aborted',
      by: operation.client + 1,
    });
    return plan.type === 'commit' ? this.sendCommit(head, plan) : undefined;
  }

  private marked(worker: number, at: Draft): void {
    const left = at.requests.filter((request) => request !== undefined).length;
    if (left > (this.flaw === 'a transaction is finished before its last mark' ? 1 : 0)) {
      this.keep(worker, at);
      return;
    }
    const request = this.send(this.workers.change(this.item.finish(at.seen)));
    this.keep(worker, { ...at, stage: 'finishing', requests: [request] });
  }

  private finished(worker: number, at: Worker, change: Change): void {
    const after = this.item.apply(this.history(this.next), change);
    if (after !== undefined) this.next.history = after.id;
    const seen = this.history(this.next).current;
    if (at.isDone) this.carriedOut(worker, { ...at, seen });
    else this.decide(worker, { ...at, seen });
  }

  // Batches: `appendInTransaction`.

  private append(worker: number, at: Draft): void {
    const { operation, seen } = at;
    const { batch, epoch, attempt } = operation;
    const { head } = this.batches[batch] as NumberedBatch;
    const { number } = seen.transaction;
    const plan = this.plan(head, { type: 'batch', batch, epoch, number, attempt });
    if (plan.type === 'commit') {
      this.keep(worker, { ...at, stage: 'appending', requests: [this.sendCommit(head, plan)] });
    } else if (plan.type === 'done') {
      this.next.setWorker(worker, 0);
      this.answer(operation, { type: 'ok', epoch });
    } else if (at.isRemembered && plan.code === 'invalid_transaction_state') {
      // The transaction that the process remembered has ended.
      this.decide(worker, this.looked({ ...at, isRemembered: false }));
    } else {
      this.refuse(worker, at, plan.code);
    }
  }

  /** From a state of the head that may be past, so that nothing is refused by it. */
  private plan(head: number, job: Job): Plan {
    const log = this.log(this.next, head);
    if (this.age === 0) return this.heads.plan(job, log);
    const old = log.prefixes[Math.max(0, log.commits.length - this.age)] as HeadLog;
    const isAhead = this.flaw === 'a plan takes producers as of an older entry than it says';
    const plan = isAhead ? this.heads.plan(job, log, old) : this.heads.plan(job, old);
    return plan.type === 'refused' ? this.heads.plan(job, log) : plan;
  }

  private sendCommit(head: number, { commit }: Plan & { readonly type: 'commit' }): Request {
    const isAhead = this.flaw === 'a plan takes producers as of an older entry than it says';
    const length = this.log(this.next, head).commits.length;
    // Without moves of the tail every entry is met there, whatever was observed.
    const observedEntry = this.scenario.moves ? Math.max(0, length - (isAhead ? 0 : this.age)) : 0;
    return this.send(this.workers.commit(commit, observedEntry));
  }

  /** Applies the commit if that can be. Answers whether it is in the log. */
  private isApplied({ commit, observedEntry }: Request & { readonly type: 'commit' }): boolean {
    const { next, heads } = this;
    const log = this.log(next, commit.head);
    if (heads.takes(log, next.firstEntry(commit.head), commit, observedEntry)) {
      next.setLog(commit.head, heads.append(log, commit).id);
      return true;
    }
    return log.commits.some(({ packed }) => packed === commit.packed);
  }

  // Replies.

  private workerSteps(worker: number): void {
    const id = this.now.worker(worker);
    if (id === 0) return;
    const at = this.workers.all.at(id - 1);
    for (const [i, request] of at.requests.entries()) {
      if (request === undefined) continue;
      for (const isUncertain of this.certainties(at, request))
        this.eachAge(STEP.reply, worker, () => this.reply(worker, at, i, isUncertain), request.id);
    }
    if (this.now.failures === this.scenario.failures) return;
    this.begin().failures++;
    this.next.setWorker(worker, 0);
    this.giveUpIfNoneIsLeft(at.operation);
    this.end(STEP.crash, worker);
  }

  /**
   * Whether an attempt of an update that is rejected may have been applied before, as far as its process knows: it was sent once,
   * or several times. If it was applied, it was sent several times; unless another process has sent the same.
   */
  private certainties({ stage, operation }: Worker, request: Request): readonly boolean[] {
    if (stage !== 'changing' || request.type !== 'change') return [false];
    const history = this.history(this.now);
    if (this.item.apply(history, request.change) !== undefined) return [false];
    const { client } = operation;
    const isAlone = client >= 0 && this.clients.states.at(this.now.client(client)).tries === 1;
    return isAlone && this.item.wasApplied(history, request.change) ? [true] : [false, true];
  }

  private reply(worker: number, at: Worker, index: number, isUncertain: boolean): void {
    const request = at.requests[index] as Request;
    if (request.type === 'change') {
      if (at.stage === 'changing') this.changed(worker, at, request.change, isUncertain);
      else this.finished(worker, at, request.change);
      return;
    }
    const isApplied = this.isApplied(request);
    if (at.stage === 'appending') {
      if (!isApplied) {
        this.append(worker, at);
        return;
      }
      this.next.setWorker(worker, 0);
      this.answer(at.operation, { type: 'ok', epoch: at.operation.epoch });
      return;
    }
    const now = isApplied ? undefined : this.markHead(at, request.commit.head);
    this.marked(worker, { ...at, requests: at.requests.map((each, i) => (i === index ? now : each)) });
  }

  private answer(operation: Operation, answer: Answer): void {
    const { client } = operation;
    if (client < 0) return;
    const state = this.clients.states.at(this.next.client(client));
    if (this.isWaiting(state, operation)) this.next.setClient(client, this.clients.answered(client, state, answer).id);
  }

  private isWaiting(state: ClientState, { kind, client, transaction, batch }: Operation): boolean {
    if (state.stage !== kind || state.transaction !== transaction) return false;
    return kind !== 'write' || this.batchOf(client, state) === batch;
  }

  private giveUpIfNoneIsLeft(operation: Operation): void {
    const { client } = operation;
    if (client < 0) return;
    const { tries } = this.clients.states.at(this.next.client(client));
    for (let i = 0; i < this.workersMax; i++) {
      const id = this.next.worker(i);
      if (id === 0) continue;
      const other = this.workers.all.at(id - 1).operation;
      if (
        other.client === client &&
        other.kind === operation.kind &&
        other.batch === operation.batch &&
        other.transaction === operation.transaction
      )
        return;
    }
    if (tries === this.scenario.tries) this.answer(operation, { type: 'none' });
  }

  // The network: what is under way is applied, late or once more, and nobody hears of it.

  private networkSteps(): void {
    const { now } = this;
    for (let i = 0; i < now.requests; i++) {
      const request = this.workers.requests.at(now.request(i) - 1);
      this.begin();
      if (request.type === 'change') {
        const after = this.item.apply(this.history(now), request.change);
        if (after === undefined) continue;
        this.next.history = after.id;
      } else if (!this.isApplied(request)) {
        continue;
      }
      this.end(STEP.unheard, 0, request.id);
    }
  }

  private moveSteps(): void {
    for (let head = 0; head < HEADS; head++) {
      const { length } = this.log(this.now, head).commits;
      if (this.now.firstEntry(head) === length) continue;
      this.begin().setFirstEntry(head, length);
      this.end(STEP.move, head);
    }
  }

  // Parts of a step.

  /** The step, with each state of the heads that a process may remember. */
  private eachAge(kind: number, a: number, step: () => void, b = 0): void {
    const isAhead = this.flaw === 'a plan takes producers as of an older entry than it says';
    let oldest = 0;
    if (this.scenario.remembers || isAhead)
      for (let head = 0; head < HEADS; head++) oldest = Math.max(oldest, this.log(this.now, head).commits.length);
    for (this.age = 0; this.age <= oldest; this.age++) {
      this.begin();
      step();
      this.end(kind, a, b);
    }
    this.age = 0;
  }

  private begin(): State {
    this.next.set(this.now.bytes);
    return this.next;
  }

  private end(kind: number, a = 0, b = 0): void {
    const { next } = this;
    // Why they have no effect holds for the protocol as it is, not for what a flaw makes of it.
    if (this.scenario.reduced && this.flaw === undefined)
      next.forgetRequests((id) => this.hasNoEffect(this.workers.requests.at(id)));
    next.sortWorkers();
    this.reach(next.bytes, stepOf(kind, a, b));
  }

  private hasNoEffect(request: Request): boolean {
    if (request.type === 'change') return this.item.isOutdated(this.history(this.next), request.change);
    const { commit, observedEntry } = request;
    const log = this.log(this.next, commit.head);
    return this.heads.isOutdated(log, this.next.firstEntry(commit.head), commit, observedEntry);
  }

  private keep(worker: number, draft: Draft): void {
    this.next.setWorker(worker, this.workers.of(draft).id + 1);
  }

  private send(request: Request): Request {
    this.next.send(request.id);
    return request;
  }

  private history(state: State): History {
    return this.item.histories.at(state.history);
  }

  private log(state: State, head: number): HeadLog {
    return this.heads.logs.at(state.log(head));
  }
}

const HELPER: Omit<Operation, 'id'> = {
  kind: 'end_overdue',
  client: -1,
  transaction: -1,
  batch: -1,
  attempt: 0,
  epoch: -1,
  outcome: 'aborted',
};
