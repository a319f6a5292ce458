import { EventLogError } from '../../../shared/log/errors.ts';
import { aroundStores, keyOf, type StoreRequest } from '../../../shared/storage/around-stores.ts';
import type { Clock, ItemStore, ObjectStore } from '../../../shared/storage/ports.ts';
import { Chance } from './chance.ts';
import type { EventLoop } from './event-loop.ts';
import type { Fates } from './faults.ts';
import type { SimulatedStorage } from './simulated-storage.ts';

/** How long requests take: most of them up to `usualMs`, a share of them up to `slowMs`. */
export interface Latency {
  readonly usualMs: number;
  readonly slowMs: number;
  readonly slowShare: number;
  /** For how long a sender waits for a reply that does not come. */
  readonly patienceMs: number;
}

/** Chance streams of a run, by what draws from them; those of requests are numbered on by their slot. */
export const STREAM = {
  process: 1,
  client: 2,
  settings: 3,
  faults: 4,
  plan: 5,
  heal: 6,
  jobs: 7,
  flips: 8,
  topics: 9,
  table: 10,
  transactionalIds: 11,
  request: 100,
} as const;

/** All clocks of a run begin about here. */
export const EPOCH_MS = 1_700_000_000_000;

/** A request that was late is applied at most so long after it was sent: AWS refuses signatures older than that. */
const LATE_MS_MAX = 9 * 60_000;
const CLOCK_JUMP_MS = 5_000;
const CLOCK_JUMP_MS_MAX = 5 * 60_000;

export interface ProcessParts {
  readonly id: number;
  readonly seed: number;
  readonly loop: EventLoop;
  readonly fates: Fates;
  readonly storage: SimulatedStorage;
  readonly latency: Latency;
  readonly skewMs: number;
  readonly freezeMsMax: number;
  /** A clock that jumps is never more wrong than this. */
  readonly skewMsMax: number;
}

/**
 * One process of the log, such as a function's environment or a server: its ports, and what may become of it. When it
 * dies nothing of it goes on, no handler and no clean-up; what it has sent may still arrive.
 */
export class SimulatedProcess {
  readonly id: number;
  readonly clock: Clock;
  readonly random: Chance;
  readonly items: ItemStore;
  readonly objects: ObjectStore;
  private readonly parts: ProcessParts;
  private readonly deathWatch = new Set<() => void>();
  private isDead = false;
  private requests = 0;
  private skewMs: number;
  private frozenUntilMs = 0;
  private readonly held: (() => void)[] = [];

  constructor(parts: ProcessParts) {
    this.parts = parts;
    this.id = parts.id;
    this.skewMs = parts.skewMs;
    this.random = new Chance(parts.seed, STREAM.process, parts.id);
    this.clock = {
      nowMs: () => EPOCH_MS + Math.floor(parts.loop.nowMs + this.skewMs),
      sleep: (ms, signal) => this.sleep(ms, signal),
    };
    const { objects, items } = aroundStores(parts.storage.storesOf(parts.id), (request, run) => {
      if (request === 'presign') return run;
      return (...args) => {
        const sent = copyOf(args);
        return this.send(request, keyOf(sent), () => run(...sent));
      };
    });
    this.objects = objects;
    this.items = {
      ...items,
      query: (range) => {
        const sent = copyOf(range);
        return this.send('query', sent.pk, (share) => parts.storage.query(sent, share));
      },
    };
  }

  get alive(): boolean {
    return !this.isDead;
  }

  die(): void {
    if (this.isDead) return;
    this.isDead = true;
    this.parts.loop.note('dies', this.id, '');
    for (const tell of this.deathWatch) tell();
  }

  /** Calls `tell` if the process dies before the function that is answered is called. */
  onDeath(tell: () => void): () => void {
    this.deathWatch.add(tell);
    return () => this.deathWatch.delete(tell);
  }

  /** Stands still for so long, or until it is thawed: what it should have done meanwhile it does then. */
  freeze(ms: number): void {
    const { loop } = this.parts;
    this.frozenUntilMs = Math.max(this.frozenUntilMs, loop.nowMs + ms);
    loop.at(ms, () => {
      if (loop.nowMs >= this.frozenUntilMs) this.thaw();
    });
  }

  thaw(): void {
    this.frozenUntilMs = 0;
    for (const run of this.held.splice(0)) this.later(0, run);
  }

  /** Does `run` in this process after a while, if it is alive then and as soon as it is not frozen. */
  later(afterMs: number, run: () => void): void {
    const { loop } = this.parts;
    loop.at(afterMs, () => {
      if (this.isDead) return;
      if (this.frozenUntilMs > loop.nowMs) this.held.push(run);
      else run();
    });
  }

  /** Its clock is right from now on. */
  correctClock(): void {
    this.skewMs = 0;
  }

  private sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      signal?.addEventListener('abort', () => resolve(), { once: true });
      this.later(Math.max(0, ms), resolve);
    });
  }

  /** Sends a request whose effect is `apply`, which gets a number in [0, 1) to decide by. */
  private send<T>(request: SentRequest, about: string, apply: (share: number) => Promise<T>): Promise<T> {
    // What a dying process still begins happens no more, and nothing in it goes on.
    if (this.isDead) return new Promise(() => {});
    const { loop, fates, latency, storage } = this.parts;
    const index = this.requests++;
    const fault = fates.ofStoreRequest(this.id, index, about);
    const { note, changes } = SENDS[request];
    loop.note(note, this.id, about);
    if (fault !== undefined) loop.note(fault, this.id, about);
    storage.requests++;
    const takesMs = (aspect: number): number => {
      const share = fates.share(this.id, index, aspect);
      const slow = !fates.healed && fates.share(this.id, index, aspect + 100) < latency.slowShare;
      return Math.min(latency.patienceMs / 2, share * (slow ? latency.slowMs : latency.usualMs));
    };
    const lateMs = (aspect: number): number => {
      // Mostly about as long as the sender's next tries take, seldom minutes.
      const share = fates.share(this.id, index, aspect);
      return share ** 4 * (share < 0.9 ? 30_000 : LATE_MS_MAX - latency.patienceMs);
    };
    return new Promise<T>((resolve, reject) => {
      const reply = (afterMs: number, result: Promise<T>): void => {
        this.later(afterMs, () => {
          loop.note('hears', this.id, about);
          resolve(result);
        });
      };
      const fail = (afterMs: number, error: EventLogError): void => {
        this.later(afterMs, () => {
          loop.note(error.code, this.id, about);
          reject(error);
        });
      };
      /** What it comes to, if anyone will hear it. */
      const arrive = (afterMs: number, then: (result: Promise<T>) => void): void => {
        loop.at(afterMs, () => {
          loop.note('arrives', this.id, about);
          const result = apply(fates.share(this.id, index, 7));
          // Where nobody hears of it, an error of it is not unhandled.
          result.catch(() => {});
          then(result);
        });
      };
      switch (fault) {
        case 'throttled':
          fail(takesMs(1), new EventLogError('throttled', 'Simulated: throttled.'));
          break;
        case 'lost_request':
          fail(latency.patienceMs, noReply());
          break;
        case 'lost_reply':
          arrive(takesMs(1), () => {});
          fail(latency.patienceMs, noReply());
          break;
        case 'late':
          if (changes) arrive(latency.patienceMs + lateMs(3), () => {});
          fail(latency.patienceMs, noReply());
          break;
        case 'repeated': {
          const first = takesMs(1);
          // The first may arrive after the second.
          arrive(changes && fates.share(this.id, index, 5) < 0.5 ? first + lateMs(3) : first, () => {});
          arrive(takesMs(2), (result) => reply(takesMs(4), result));
          break;
        }
        case 'crash_before':
          this.die();
          break;
        case 'crash_after':
          arrive(fates.share(this.id, index, 5) < 0.5 ? takesMs(1) : takesMs(1) + lateMs(3), () => {});
          this.die();
          break;
        case 'freeze':
          arrive(takesMs(1), (result) => reply(takesMs(2), result));
          this.freeze(fates.share(this.id, index, 6) ** 3 * this.parts.freezeMsMax);
          break;
        case 'clock_jump': {
          const share = fates.share(this.id, index, 6) * 2 - 1;
          const skewMs = this.skewMs + share * (Math.abs(share) > 0.9 ? CLOCK_JUMP_MS_MAX : CLOCK_JUMP_MS);
          this.skewMs = Math.max(-this.parts.skewMsMax, Math.min(this.parts.skewMsMax, skewMs));
          arrive(takesMs(1), (result) => reply(takesMs(2), result));
          break;
        }
        default:
          arrive(takesMs(1), (result) => reply(takesMs(2), result));
      }
    });
  }
}

type SentRequest = Exclude<StoreRequest, 'presign'>;

/** What is noted with each request, and whether it does more than look. */
const SENDS: Readonly<Record<SentRequest, { readonly note: string; readonly changes: boolean }>> = {
  getItem: { note: 'sends get', changes: false },
  putItem: { note: 'sends put', changes: true },
  updateItem: { note: 'sends update', changes: true },
  deleteItem: { note: 'sends delete', changes: true },
  query: { note: 'sends query', changes: false },
  putObject: { note: 'sends put_object', changes: true },
  getObject: { note: 'sends get_object', changes: false },
  deleteObject: { note: 'sends delete_object', changes: true },
  listObjects: { note: 'sends list_objects', changes: false },
  // One step here, which keeps its promise: nothing of it is to be seen before it is whole.
  concatObjects: { note: 'sends concat_objects', changes: true },
};

function noReply(): EventLogError {
  return new EventLogError('storage_unavailable', 'Simulated: no reply.');
}

/** A copy down to the bytes: what arrives is what the arguments were when they were sent. */
function copyOf<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Uint8Array) return new Uint8Array(value) as Uint8Array & T;
  if (Array.isArray(value)) return value.map(copyOf) as T[] & T;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, copyOf(field)])) as T;
}
