import type { Broker } from '../../../shared/broker/broker.ts';
import type { World } from '../world/world.ts';
import type { Appended, Client, ClientAppend } from './client.ts';

/**
 * What one client does, in its own time, among others; it ends by itself once all requests are answered. It checks nothing
 * but what only it can know: the history is judged by `check-history.ts`.
 */
export interface Workload {
  readonly name: string;
  /** How often it is chosen, against the others. */
  readonly weight: number;
  /** Beginnings of the keys whose requests matter most to it. */
  readonly keys: readonly string[];
  /** `operations` is how much it is to do, about. */
  run(client: Client, operations: number): Promise<void>;
  /** What others of the same run do if this one is chosen. */
  readonly company?: Workload;
  /** What was done more than a day before the run, by a broker over stores that never fail, for a client of this name. */
  prepare?(world: World, broker: Broker, client: string): Promise<void>;
}

export const DATA_KEYS = ['batch#', 'hot/'];

export function values(client: Client, max: number): string[] {
  return Array.from({ length: 1 + client.chance.below(max) }, () => client.value());
}

const RETRIES_MS_MAX = 12 * 3_600_000;

/** In runs with jobs: so late that the nodes of the first try are gone. */
const LATE_RETRY_RATE = 0.2;

/** Sends again, also where the answer was a refusal for now, until it is settled for good. */
export async function insist(client: Client, append: ClientAppend, slot?: number): Promise<Appended> {
  const beganMs = client.nowMs;
  for (let tries = 0; ; tries++) {
    // Nobody may count on an idempotency key for more than a day.
    if (client.nowMs - beganMs > RETRIES_MS_MAX) client.healAll();
    const appended = await client.append(append, slot);
    const forNow = appended.codes.every((code) => code === 'throttled' || code === 'storage_unavailable');
    if (appended.type === 'ok' || (appended.codes.length > 0 && !forNow)) return appended;
    if (tries > 0) client.mark('appended by a third try or later');
    if (client.chance.chance(LATE_RETRY_RATE)) await client.pause();
    // Now and then so late that the head has gone far since.
    for (let rests = client.chance.chance(0.1) ? 20 : 1; rests > 0; rests--) await client.rest();
  }
}
