import { COUNTER, PRODUCER_ID_COUNTER } from '../../storage/keys.ts';
import type { Clock } from '../../storage/ports.ts';
import { NO_TOPIC, type Purpose, type UsageMeter } from '../usage/usage-meter.ts';

const DAY_MS = 86_400_000;
const KEPT_MS = 3_600_000;

/** The day of a time, as the number of days since 1970-01-01 (UTC). */
export function dayOf(timeMs: number): number {
  return Math.floor(timeMs / DAY_MS);
}

/**
 * Knows the young producer ids. Heads keep the state of a producer for 72 hours, so no head can have forgotten a young id:
 * an id that was allocated today or yesterday. The counter stores the first id of each day. The counter's state is cached
 * for an hour, so an id can count as young for an hour longer. If clocks differ by more than a day, ids count as old: then
 * a slot accepts any first sequence of these ids, as Kafka does.
 */
export class YoungProducers {
  readonly #usage: UsageMeter;
  readonly #clock: Clock;
  #firstYoungId = Number.POSITIVE_INFINITY;
  #readAtMs = Number.NEGATIVE_INFINITY;

  constructor(usage: UsageMeter, clock: Clock) {
    this.#usage = usage;
    this.#clock = clock;
  }

  /** Whether the id is young, as of the last `load`. */
  isYoung(producerId: number): boolean {
    return producerId >= this.#firstYoungId;
  }

  /** Loads the counter's state: 1 GetItem an hour. */
  async load(): Promise<void> {
    const nowMs = this.#clock.nowMs();
    const ageMs = nowMs - this.#readAtMs;
    if (ageMs >= 0 && ageMs < KEPT_MS) return;
    const count = await this.#read('append');
    const day = count(COUNTER.day);
    const today = dayOf(nowMs);
    // Ids that were never allocated count as young: their first batch must have sequence 0 like every other.
    if (day === today || day === today + 1) this.#firstYoungId = count(COUNTER.firstOfDayBefore);
    else if (day === today - 1) this.#firstYoungId = count(COUNTER.firstOfDay);
    else this.#firstYoungId = count(COUNTER.next);
    this.#readAtMs = nowMs;
  }

  /** The id that is allocated next, young or not: all that were allocated so far are lower. 1 GetItem. */
  async next(): Promise<number> {
    return (await this.#read('admin'))(COUNTER.next);
  }

  async #read(purpose: Purpose): Promise<(name: string) => number> {
    const { attributes } = await this.#usage.of(NO_TOPIC, purpose).items.get(PRODUCER_ID_COUNTER);
    return (name) => Number(attributes?.[name] ?? 0);
  }
}
