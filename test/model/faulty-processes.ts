import { Broker } from '../../shared/broker/broker.ts';
import type { BrokerSettings } from '../../shared/broker/settings.ts';
import { MemoryItemStore } from '../../shared/storage/memory/item-store.ts';
import { MemoryObjectStore } from '../../shared/storage/memory/object-store.ts';
import type { Clock } from '../../shared/storage/ports.ts';
import { type Fault, faultyStores } from '../support/faulty-stores.ts';
import { SeededRandom } from '../support/memory-broker.ts';
import { SimulatedClock } from '../support/simulated-clock.ts';

const PROCESSES = 3;
export const LATE_MS_MAX = 8_000;
const SKEW_MS_MAX = 3_000;
const FAULTS: readonly Fault[] = ['throttled', 'lost_request', 'lost_reply', 'late', 'repeated'];

export interface RunOutcome {
  readonly problems: readonly string[];
  readonly marks: ReadonlySet<string>;
}

/** Who sent a request has given it up; it may still arrive. */
export class GivenUp extends Error {}

/**
 * Several processes over one log in memory. Their requests are lost, late and repeated, they die and are replaced, and their
 * clocks differ, until they are healed. Everything follows from the seed.
 */
export class FaultyProcesses {
  readonly random: SeededRandom;
  readonly clock = new SimulatedClock();
  /** Without faults. */
  readonly bare = { objects: new MemoryObjectStore(), items: new MemoryItemStore(), clock: this.clock };
  /** What came about. */
  readonly marks = new Set<string>();
  readonly #runMs: number;
  readonly #faultRate: number;
  readonly #pauseRate: number;
  readonly #settings: (random: SeededRandom) => Partial<BrokerSettings>;
  readonly #processes: { readonly broker: Broker; kill(): void }[] = [];
  #isHealed = false;

  /** `runMs`: for all of the run. `settings` are drawn for each process. */
  constructor(seed: number, runMs: number, settings: (random: SeededRandom) => Partial<BrokerSettings> = () => ({})) {
    this.random = new SeededRandom(seed);
    this.#runMs = runMs;
    this.#settings = settings;
    this.#faultRate = [0, 0.03, 0.1, 0.25][this.random.below(4)] as number;
    this.#pauseRate = ([0, 0.05, 0.2][this.random.below(3)] as number) * 0.1;
  }

  get isHealed(): boolean {
    return this.#isHealed;
  }

  start(): void {
    for (let i = 0; i < PROCESSES; i++) this.#processes[i] = this.#make();
  }

  /** Ends the faults; what was sent before may still arrive. */
  heal(): void {
    this.#isHealed = true;
    this.start();
  }

  /** Of a process that may have been replaced just now. */
  anyBroker(): Broker {
    const i = this.random.below(PROCESSES);
    if (!this.#isHealed && this.random.next() < 0.005) {
      this.#processes[i]?.kill();
      this.#processes[i] = this.#make();
      this.marks.add('process died');
    }
    return (this.#processes[i] as { broker: Broker }).broker;
  }

  /** A request that may not be answered in time, that its client sends twice, or that arrives late. @throws GivenUp */
  async once<T>(send: () => Promise<T>, timeoutMs: number): Promise<T> {
    if (!this.#isHealed && this.random.below(15) === 0) {
      this.marks.add('given up');
      this.sendLate(send);
      throw new GivenUp();
    }
    if (!this.#isHealed && this.random.below(15) === 0) {
      this.marks.add('sent twice');
      void send().catch(() => {});
    }
    const result = await this.within(send(), this.#isHealed ? 60_000 : timeoutMs);
    if (result !== undefined) return result.answer;
    this.marks.add('given up');
    throw new GivenUp();
  }

  /** The request arrives when it does, and nobody hears of it. */
  sendLate(send: () => Promise<unknown>): void {
    void this.clock
      .sleep(this.random.below(LATE_MS_MAX))
      .then(send)
      .catch(() => {});
  }

  /** `undefined` if there is no answer in time. */
  async within<T>(answering: Promise<T>, ms: number): Promise<{ readonly answer: T } | undefined> {
    answering.catch(() => {});
    return Promise.race([answering.then((answer) => ({ answer })), this.clock.sleep(ms).then(() => undefined)]);
  }

  /** Whether a client is to stand still now. */
  drawPause(): boolean {
    return !this.#isHealed && this.random.next() < this.#pauseRate;
  }

  #make(): { readonly broker: Broker; kill(): void } {
    const { random, clock } = this;
    let isDead = false;
    const skewMs = random.below(2) === 0 ? 0 : random.below(2 * SKEW_MS_MAX) - SKEW_MS_MAX;
    const stores = faultyStores(this.bare, () => {
      if (isDead) return { delayMs: 10 * this.#runMs };
      const delayMs = 1 + random.below(random.below(20) === 0 ? 3_000 : 30);
      if (this.#isHealed || random.next() >= this.#faultRate) return { delayMs: this.#isHealed ? 5 : delayMs };
      return { delayMs, fault: FAULTS[random.below(FAULTS.length)], lateMs: random.below(LATE_MS_MAX) };
    });
    const skewed: Clock = {
      nowMs: () => clock.nowMs() + (this.#isHealed ? 0 : skewMs),
      sleep: (ms, signal) => clock.sleep(ms, signal),
    };
    const broker = new Broker({ ...stores, clock: skewed, random, settings: this.#settings(random) });
    return {
      broker,
      kill: () => {
        isDead = true;
      },
    };
  }
}
