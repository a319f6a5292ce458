import { HEADS } from './scenarios.ts';

/** Requests under way at once. */
const REQUESTS_MAX = 24;

/** Where what stands among the words: the item's history comes first. */
const LOGS_AT = 1;
const FIRST_ENTRIES_AT = LOGS_AT + HEADS;
const FAILURES_AT = FIRST_ENTRIES_AT + HEADS;
const CLIENTS_AT = FAILURES_AT + 1;

export interface Sizes {
  readonly clients: number;
  readonly workers: number;
}

/**
 * One state of the model, as numbers of two bytes: each names what `Interned` keeps. What is under way is a set that only
 * grows, until a request can have no effect any more: it may be applied at any time after it was sent, once, many times or
 * never, which covers delay, repetition and loss. Workers are alike, so they stand in the order of their numbers.
 */
export class State {
  readonly bytes: Uint8Array;
  private readonly words: Uint16Array;
  private readonly sizes: Sizes;
  private readonly workersAt: number;
  private readonly requestsAt: number;

  constructor(sizes: Sizes) {
    this.sizes = sizes;
    this.workersAt = CLIENTS_AT + sizes.clients;
    this.requestsAt = this.workersAt + sizes.workers;
    const words = this.requestsAt + REQUESTS_MAX;
    this.bytes = new Uint8Array(Math.ceil(words / 2) * 4);
    this.words = new Uint16Array(this.bytes.buffer);
  }

  set(bytes: Uint8Array): void {
    this.bytes.set(bytes);
  }

  private at(index: number): number {
    return this.words[index] as number;
  }

  /** The number of the item's history. */
  get history(): number {
    return this.at(0);
  }

  set history(id: number) {
    this.words[0] = id;
  }

  /** The number of a head's log. */
  log(head: number): number {
    return this.at(LOGS_AT + head);
  }

  setLog(head: number, id: number): void {
    this.words[LOGS_AT + head] = id;
  }

  firstEntry(head: number): number {
    return this.at(FIRST_ENTRIES_AT + head);
  }

  setFirstEntry(head: number, entry: number): void {
    this.words[FIRST_ENTRIES_AT + head] = entry;
  }

  /** How many processes have died. */
  get failures(): number {
    return this.at(FAILURES_AT);
  }

  set failures(count: number) {
    this.words[FAILURES_AT] = count;
  }

  client(client: number): number {
    return this.at(CLIENTS_AT + client);
  }

  setClient(client: number, id: number): void {
    this.words[CLIENTS_AT + client] = id;
  }

  /** The number of what a worker is at, plus one; 0: it is idle. */
  worker(worker: number): number {
    return this.at(this.workersAt + worker);
  }

  setWorker(worker: number, idPlusOne: number): void {
    this.words[this.workersAt + worker] = idPlusOne;
  }

  sortWorkers(): void {
    this.words.subarray(this.workersAt, this.requestsAt).sort();
  }

  get idleWorker(): number | undefined {
    for (let i = 0; i < this.sizes.workers; i++) if (this.worker(i) === 0) return i;
    return undefined;
  }

  /** The number of a request under way, plus one; 0 from the first place that is free. */
  request(index: number): number {
    return this.at(this.requestsAt + index);
  }

  get requests(): number {
    let count = 0;
    while (count < REQUESTS_MAX && this.request(count) !== 0) count++;
    return count;
  }

  send(request: number): void {
    const count = this.requests;
    let index = 0;
    while (index < count && this.request(index) < request + 1) index++;
    if (index < count && this.request(index) === request + 1) return;
    if (count === REQUESTS_MAX) throw new Error('The scenario sends too many requests.');
    this.words.copyWithin(this.requestsAt + index + 1, this.requestsAt + index, this.requestsAt + count);
    this.words[this.requestsAt + index] = request + 1;
  }

  forgetRequests(hasNoEffect: (request: number) => boolean): void {
    const count = this.requests;
    let kept = 0;
    for (let i = 0; i < count; i++) {
      const request = this.request(i);
      if (!hasNoEffect(request - 1)) this.words[this.requestsAt + kept++] = request;
    }
    this.words.fill(0, this.requestsAt + kept, this.requestsAt + count);
  }
}
