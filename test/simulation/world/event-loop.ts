/**
 * Simulated time and everything that is yet to happen in it, on one thread. One event happens at a time; then all code
 * that it lets go on runs until it waits for another event; then comes the next one. So a run depends on nothing but what
 * was scheduled.
 */
export class EventLoop {
  private readonly heap: Event[] = [];
  private scheduled = 0;
  private timeMs = 0;
  private trace = 0x811c9dc5;
  /** Whoever wants to read along; costs time. */
  log: ((line: string) => void) | undefined;

  /** Milliseconds since the run began; not always whole. */
  get nowMs(): number {
    return this.timeMs;
  }

  /** Two runs of one seed end with the same. */
  get traceHash(): number {
    return this.trace >>> 0;
  }

  /** Events of the same time happen in the order in which they were scheduled. */
  at(afterMs: number, run: () => void): void {
    const event = { dueMs: this.timeMs + afterMs, order: this.scheduled++, run };
    const { heap } = this;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(event, heap[parent] as Event)) break;
      heap[at] = heap[parent] as Event;
      at = parent;
    }
    heap[at] = event;
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.at(ms, resolve));
  }

  /** Adds to the trace: what happened, to whom, and what about. */
  note(what: string, who: number, about: string): void {
    let hash = Math.imul(this.trace ^ who, 0x01000193) ^ Math.floor(this.timeMs * 1_000);
    hash = Math.imul(hash ^ what.length, 0x01000193) ^ what.charCodeAt(0);
    // Of a key its end: what is drawn by chance differs in every part of it.
    for (let i = Math.max(0, about.length - 8); i < about.length; i++)
      hash = Math.imul(hash ^ about.charCodeAt(i), 0x01000193);
    this.trace = hash;
    this.log?.(`${this.timeMs.toFixed(3)} ms  process ${who}  ${what}  ${about}`);
  }

  /**
   * Lets things happen until `isOver`, which is asked between events, or until nothing is left to happen.
   * Answers whether it was over.
   */
  run(isOver: () => boolean): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const step = (): void => {
        try {
          const event = isOver() ? 'over' : this.pop();
          if (event === 'over' || event === undefined) {
            resolve(event === 'over');
            return;
          }
          this.timeMs = Math.max(this.timeMs, event.dueMs);
          event.run();
          afterMicrotasks(step);
        } catch (error) {
          reject(error);
        }
      };
      afterMicrotasks(step);
    });
  }

  private pop(): Event | undefined {
    const { heap } = this;
    const first = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Event, heap[child] as Event)) child++;
      if (!isBefore(heap[child] as Event, last)) break;
      heap[at] = heap[child] as Event;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

interface Event {
  readonly dueMs: number;
  readonly order: number;
  readonly run: () => void;
}

function isBefore(a: Event, b: Event): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order);
}

const { nextTick } = process;
const NOTHING_LEFT = Promise.resolve();

/**
 * Calls back when no promise has anything left to run. Node runs a tick that was asked for in a microtask once all
 * microtasks are done, which is a hundred times quicker than a turn of its loop of timers and I/O.
 */
function afterMicrotasks(then: () => void): void {
  void NOTHING_LEFT.then(() => nextTick(then));
}
