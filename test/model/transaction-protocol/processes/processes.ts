import { isCompleting } from '../../../../shared/log/transaction/transitions.ts';
import type { Flaw } from '../flaws.ts';
import type { Occasion } from '../occasions.ts';
import type { Parts } from '../parts.ts';
import type { NumberedBatch } from '../scenarios.ts';
import type { State } from '../state.ts';
import type { HeadLog, Job, Plan } from '../stored/heads.ts';
import type { Change, History } from '../stored/item.ts';
import type { Answer, ClientState } from './clients.ts';
import type { Decisions } from './decisions.ts';
import type { Draft, Operation, Request, Worker, Workers } from './workers.ts';

/**
 * What a process does with the reply to a request, up to its next requests: the loops of `moveTransaction`,
 * `completeTransaction` and `commitGroup`. It changes the state that the step leads to.
 */
export class Processes {
  /** Which were met. */
  readonly occasions = new Set<Occasion>();
  /** How many entries are not in what is remembered of a head, in this step. */
  age = 0;
  private readonly parts: Parts;
  private readonly workers: Workers;
  private readonly decisions: Decisions;
  private readonly flaw: Flaw | undefined;
  private readonly next: State;

  constructor(parts: Parts, workers: Workers, decisions: Decisions, next: State, flaw: Flaw | undefined) {
    this.parts = parts;
    this.workers = workers;
    this.decisions = decisions;
    this.next = next;
    this.flaw = flaw;
  }

  // The item: `moveTransaction`.

  decide(worker: number, draft: Draft): void {
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
      this.mark(worker, { ...sent, seen: this.parts.item.after(at.seen, change), isDone: true });
    else this.keep(worker, sent);
  }

  /** `isUncertain`: if it is rejected, it may have been applied before. */
  private changed(worker: number, at: Worker, change: Change, isUncertain: boolean): void {
    const after = this.parts.item.apply(this.history(this.next), change);
    if (after !== undefined) {
      this.next.history = after.id;
      const isOld = this.flaw === 'an end marks the participants that it knew before' && at.operation.kind === 'end';
      if (after.current.transaction.participants.heads.length > change.next.participants.heads.length)
        this.occasions.add('an end keeps participants that it has not seen');
      const seen = isOld ? this.parts.item.after(at.seen, change) : after.current;
      if (at.isDone) this.carriedOut(worker, { ...at, seen, isCertain: true });
      else this.decide(worker, { ...at, seen, isCertain: true });
      return;
    }
    if (isUncertain && this.parts.item.wasApplied(this.history(this.next), change))
      this.occasions.add('an update is rejected after it was applied');
    const seen = this.history(this.next).current;
    const number = !at.isCertain && !isUncertain ? seen.transaction.number : at.number;
    const mayBeApplied = at.mayBeApplied || (isUncertain && this.mayHaveEnded(change));
    // One that begins from memory is sent only once.
    const rejections = at.rejections + (at.isCertain ? 1 : 0);
    const met: Draft = { ...at, seen, isCertain: true, number, mayBeApplied, rejections };
    if (met.rejections < this.parts.scenario.rejections) {
      this.decide(worker, met);
      return;
    }
    this.occasions.add('an operation gives up');
    this.refuse(worker, met, 'throttled');
  }

  private mayHaveEnded({ next }: Change): boolean {
    return next.phase !== 'open' && this.flaw !== 'an end that met another state says that nothing happened';
  }

  private refuse(worker: number, { operation, mayBeApplied }: Draft, code: string): void {
    if (code === 'producer_fenced') this.occasions.add('a producer is fenced');
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
    if (plan.type === 'commit') return this.sendCommit(head, plan);
    this.occasions.add('a head has been marked by another');
    return undefined;
  }

  private marked(worker: number, at: Draft): void {
    const left = at.requests.filter((request) => request !== undefined).length;
    if (left > (this.flaw === 'a transaction is finished before its last mark' ? 1 : 0)) {
      this.keep(worker, at);
      return;
    }
    const request = this.send(this.workers.change(this.parts.item.finish(at.seen)));
    this.keep(worker, { ...at, stage: 'finishing', requests: [request] });
  }

  private finished(worker: number, at: Worker, change: Change): void {
    const after = this.parts.item.apply(this.history(this.next), change);
    if (after !== undefined) this.next.history = after.id;
    else this.occasions.add('a transaction has been finished by another');
    const seen = this.history(this.next).current;
    if (at.isDone) this.carriedOut(worker, { ...at, seen });
    else this.decide(worker, { ...at, seen });
  }

  // Batches: `appendInTransaction`.

  append(worker: number, at: Draft): void {
    const { operation, seen } = at;
    const { batch, epoch, attempt } = operation;
    const { head } = this.parts.batches[batch] as NumberedBatch;
    const { number } = seen.transaction;
    const plan = this.plan(head, { type: 'batch', batch, epoch, number, attempt });
    if (plan.type === 'commit') {
      this.keep(worker, { ...at, stage: 'appending', requests: [this.sendCommit(head, plan)] });
    } else if (plan.type === 'done') {
      this.next.setWorker(worker, 0);
      this.answer(operation, { type: 'ok', epoch });
    } else if (at.isRemembered && plan.code === 'invalid_transaction_state') {
      this.occasions.add('a batch is bound again, since what was remembered has ended');
      this.decide(worker, this.looked({ ...at, isRemembered: false }));
    } else {
      if (plan.code === 'invalid_transaction_state')
        this.occasions.add('a batch is rejected because its transaction has ended');
      this.refuse(worker, at, plan.code);
    }
  }

  /** From a state of the head that may be past, so that nothing is refused by it. */
  private plan(head: number, job: Job): Plan {
    const log = this.log(this.next, head);
    if (this.age === 0) return this.parts.heads.plan(job, log);
    const old = log.prefixes[Math.max(0, log.commits.length - this.age)] as HeadLog;
    const isAhead = this.flaw === 'a plan takes producers as of an older entry than it says';
    const plan = isAhead ? this.parts.heads.plan(job, log, old) : this.parts.heads.plan(job, old);
    return plan.type === 'refused' ? this.parts.heads.plan(job, log) : plan;
  }

  private sendCommit(head: number, { commit }: Plan & { readonly type: 'commit' }): Request {
    const isAhead = this.flaw === 'a plan takes producers as of an older entry than it says';
    const length = this.log(this.next, head).commits.length;
    // Without moves of the tail every entry is met there, whatever was observed.
    const observedEntry = this.parts.scenario.moves ? Math.max(0, length - (isAhead ? 0 : this.age)) : 0;
    return this.send(this.workers.commit(commit, observedEntry));
  }

  /** Applies the commit if that can be. Answers whether it is in the log. */
  isApplied({ commit, observedEntry }: Request & { readonly type: 'commit' }): boolean {
    const { next } = this;
    const { heads } = this.parts;
    const log = this.log(next, commit.head);
    if (heads.takes(log, next.firstEntry(commit.head), commit, observedEntry)) {
      next.setLog(commit.head, heads.append(log, commit).id);
      return true;
    }
    return log.commits.some(({ packed }) => packed === commit.packed);
  }

  // Replies.

  reply(worker: number, at: Worker, index: number, isUncertain: boolean): void {
    const request = at.requests[index] as Request;
    if (request.type === 'change') {
      if (at.stage === 'changing') this.changed(worker, at, request.change, isUncertain);
      else this.finished(worker, at, request.change);
      return;
    }
    const isApplied = this.isApplied(request);
    // What is rejected is planned again from the head that it met.
    this.age = 0;
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
    if (now !== undefined) this.occasions.add('a marker meets a slot that was added');
    this.marked(worker, { ...at, requests: at.requests.map((each, i) => (i === index ? now : each)) });
  }

  answer(operation: Operation, answer: Answer): void {
    const { client } = operation;
    if (client < 0) return;
    const state = this.parts.clients.states.at(this.next.client(client));
    if (this.isWaiting(state, operation))
      this.next.setClient(client, this.parts.clients.answered(client, state, answer).id);
  }

  isWaiting(state: ClientState, { kind, client, transaction, batch }: Operation): boolean {
    if (state.stage !== kind || state.transaction !== transaction) return false;
    return kind !== 'write' || this.batchOf(client, state) === batch;
  }
  batchOf(client: number, state: ClientState): number {
    const first = this.parts.batches.findIndex((batch) => batch.client === client);
    return first + this.parts.clients.batchOf(client, state);
  }

  private keep(worker: number, draft: Draft): void {
    this.next.setWorker(worker, this.workers.of(draft).id + 1);
  }

  private send(request: Request): Request {
    this.next.send(request.id);
    return request;
  }
  history(state: State): History {
    return this.parts.item.histories.at(state.history);
  }

  log(state: State, head: number): HeadLog {
    return this.parts.heads.logs.at(state.log(head));
  }
}
