import type { Model, Reach } from '../search/search.ts';
import type { Flaw } from './flaws.ts';
import { Invariants } from './invariants.ts';
import { Narrator, STEP, stepOf } from './narrator.ts';
import type { Occasion } from './occasions.ts';
import { Clients } from './processes/clients.ts';
import { Decisions } from './processes/decisions.ts';
import { Processes } from './processes/processes.ts';
import { type Draft, type Operation, type Request, type Worker, Workers } from './processes/workers.ts';
import { HEADS, type NumberedBatch, numberBatches, type Scenario } from './scenarios.ts';
import { State } from './state.ts';
import { Heads } from './stored/heads.ts';
import { type ItemState, TransactionItem } from './stored/item.ts';

/**
 * Transactions as `shared/broker/transactions` carries them out, over a network that delays, repeats and loses. What a process
 * does between a reply and its next request is one step: a request may be applied at any time after it was sent, so nothing is
 * gained by sending it later. What is decided, planned and demanded comes from the product; the table, the network, the loops
 * in the processes, and the clients are modelled.
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
  private readonly processes: Processes;
  private readonly invariants: Invariants;
  private readonly narrator: Narrator;
  private readonly workersMax: number;
  private readonly now: State;
  private readonly next: State;
  private readonly other: State;
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
    this.processes = new Processes(parts, this.workers, this.decisions, this.next, flaw);
    this.stateBytes = this.now.bytes.length;
    const initial = new State(sizes);
    for (const client of scenario.clients.keys()) initial.setClient(client, this.clients.initial(client).id);
    this.initial = initial.bytes;
  }

  /** Which were met. */
  get occasions(): ReadonlySet<Occasion> {
    return this.processes.occasions;
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
    if (stage === 'over') return;
    if (this.now.failures < this.scenario.failures) {
      this.begin().failures++;
      this.next.setClient(client, this.clients.died(state).id);
      this.end(STEP.death, client);
    }
    if (tries === this.scenario.tries || this.atWork(false) === this.scenario.workers) return;
    const isEnd = stage === 'end';
    for (const outcome of isEnd ? this.clients.ends(client, state) : (['aborted'] as const)) {
      const batch = stage === 'write' ? this.processes.batchOf(client, state) : -1;
      const asked = { kind: stage, client, transaction, batch, attempt: tries, epoch, outcome };
      const operation = this.workers.operation(asked);
      this.startSteps(operation, () =>
        this.next.setClient(client, this.clients.sent(state, isEnd ? outcome : undefined).id),
      );
    }
  }

  /** A process begins with a look at the item, or with what it remembers of it. */
  private startSteps(operation: Operation, send: () => void): void {
    const { states, current } = this.processes.history(this.now);
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
      this.processes.decide(this.idleWorker(), fresh);
    });
    if (operation.kind !== 'write' && operation.kind !== 'end') return;
    const bound = operation.kind === 'write' ? states.find((state) => this.isBound(state, operation)) : undefined;
    if (bound !== undefined)
      this.eachAge(STEP.startBound, operation.client, () => {
        send();
        this.processes.append(this.idleWorker(), { ...fresh, seen: bound, isCertain: false, isRemembered: true });
      });
    for (const seen of states) {
      if (seen === current) continue;
      const remembered: Draft = { ...fresh, seen, isCertain: false, number: undefined };
      if (!this.isWorthTrying(remembered)) continue;
      this.begin();
      send();
      this.processes.decide(this.idleWorker(), remembered);
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
    return !this.scenario.reduced || this.item.apply(this.processes.history(this.now), decided.change) !== undefined;
  }

  private helperSteps(): void {
    if (this.atWork(true) === this.scenario.helpers || this.flaw === 'nobody ends what is overdue') return;
    if (this.processes.history(this.now).current.transaction.phase === 'empty') return;
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

  // Replies.

  private workerSteps(worker: number): void {
    const id = this.now.worker(worker);
    if (id === 0) return;
    const at = this.workers.all.at(id - 1);
    for (const [i, request] of at.requests.entries()) {
      if (request === undefined) continue;
      for (const isUncertain of this.certainties(at, request))
        this.eachAge(STEP.reply, worker, () => this.processes.reply(worker, at, i, isUncertain), request.id);
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
    const history = this.processes.history(this.now);
    if (this.item.apply(history, request.change) !== undefined) return [false];
    const { client } = operation;
    const isAlone = client >= 0 && this.clients.states.at(this.now.client(client)).tries === 1;
    return isAlone && this.item.wasApplied(history, request.change) ? [true] : [false, true];
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
    if (tries === this.scenario.tries) this.processes.answer(operation, { type: 'none' });
  }

  // The network: what is under way is applied, late or once more, and nobody hears of it.

  private networkSteps(): void {
    const { now } = this;
    for (let i = 0; i < now.requests; i++) {
      const request = this.workers.requests.at(now.request(i) - 1);
      this.begin();
      if (request.type === 'change') {
        const after = this.item.apply(this.processes.history(now), request.change);
        if (after === undefined) continue;
        this.next.history = after.id;
      } else if (!this.processes.isApplied(request)) {
        continue;
      }
      this.end(STEP.unheard, 0, request.id);
    }
  }

  private moveSteps(): void {
    for (let head = 0; head < HEADS; head++) {
      const { length } = this.processes.log(this.now, head).commits;
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
      for (let head = 0; head < HEADS; head++)
        oldest = Math.max(oldest, this.processes.log(this.now, head).commits.length);
    for (let age = 0; age <= oldest; age++) {
      this.processes.age = age;
      this.begin();
      step();
      this.end(kind, a, b);
    }
    this.processes.age = 0;
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
    if (request.type === 'change') return this.item.isOutdated(this.processes.history(this.next), request.change);
    const { commit, observedEntry } = request;
    const log = this.processes.log(this.next, commit.head);
    return this.heads.isOutdated(log, this.next.firstEntry(commit.head), commit, observedEntry);
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
