import { type Chance, hashOf } from './chance.ts';

/**
 * What may become of a request to a store, beside being answered:
 *
 * - `throttled`: refused for certain, as by ProvisionedThroughputExceeded, SlowDown, or a conflict of two writers.
 * - `lost_request`: never arrives; the sender learns nothing until its patience is over.
 * - `lost_reply`: takes effect, and the sender learns nothing.
 * - `late`: the sender learns nothing, and it takes effect after the sender has given up, up to minutes later.
 * - `repeated`: takes effect twice, as where an SDK sends it again; the sender gets the answer of either.
 * - `crash_before`, `crash_after`: the sender's process dies; the request is not sent, or takes effect all the same.
 * - `freeze`: the process stands still for a while, as a function between two invocations or a process that is stopped.
 * - `clock_jump`: the process's clock steps forth or back.
 */
export const STORE_FAULTS = [
  'throttled',
  'lost_request',
  'lost_reply',
  'late',
  'repeated',
  'crash_before',
  'crash_after',
  'freeze',
  'clock_jump',
] as const;

export type StoreFault = (typeof STORE_FAULTS)[number];

/**
 * What may become of a client's request to a process: the answer does not come back; the same request is delivered twice,
 * to two processes, at once or up to minutes apart; a deadline kills the process in the middle of it.
 */
export const REQUEST_FAULTS = ['lost_answer', 'delivered_twice', 'deadline'] as const;

export type RequestFault = (typeof REQUEST_FAULTS)[number];

export type FaultKind = StoreFault | RequestFault;

const ALL_FAULTS: readonly FaultKind[] = [...STORE_FAULTS, ...REQUEST_FAULTS];

/** Which faults are on, and how often: a run with everything on at one rate finds less than many runs that differ. */
export interface FaultMix {
  readonly rates: Readonly<Partial<Record<FaultKind, number>>>;
  /** Requests to the stores fail only where the key begins with this: tail nodes alone, for example. */
  readonly keysFrom: string;
}

const RATES = [0.01, 0.05, 0.2];

/** `keys` are the beginnings of those that matter most to what the run does. */
export function drawFaultMix(chance: Chance, keys: readonly string[]): FaultMix {
  const keysFrom = chance.chance(0.4) ? chance.pick(keys) : '';
  // Some runs have one fault alone, so that each is seen at work by itself.
  if (chance.chance(0.15)) return { rates: { [chance.pick<FaultKind>(ALL_FAULTS)]: chance.pick(RATES) }, keysFrom };
  const rates: Partial<Record<FaultKind, number>> = {};
  for (const kind of ALL_FAULTS) if (chance.chance(0.3)) rates[kind] = chance.pick(RATES);
  // Where nearly every request fails nothing much comes about; what is left of the rates keeps their proportions.
  const total = STORE_FAULTS.reduce((sum, kind) => sum + (rates[kind] ?? 0), 0);
  const scale = Math.min(1, (keysFrom === '' ? 0.3 : 0.8) / total);
  for (const kind of STORE_FAULTS) if (rates[kind] !== undefined) rates[kind] *= scale;
  return { rates, keysFrom };
}

/** Names one fault of a run: the process or client that it struck, and the number of the request. */
export type FaultPlace = `${number}:${number}`;

/**
 * Decides the fate of every request by its sender and its number there, not by position in one stream of chance:
 * so a run can be repeated with some of its faults left out, while the others strike where they did.
 */
export class Fates {
  /** Those that struck, in their order. */
  readonly struck: { readonly place: FaultPlace; readonly kind: FaultKind }[] = [];
  /** Faults are over: from now on every request is answered. */
  healed = false;
  private readonly seed: number;
  private readonly mix: FaultMix;
  private readonly only: ReadonlySet<FaultPlace> | undefined;

  /** With `only`, faults strike at these places alone. */
  constructor(seed: number, mix: FaultMix, only?: ReadonlySet<FaultPlace>) {
    this.seed = seed;
    this.mix = mix;
    this.only = only;
  }

  ofStoreRequest(sender: number, index: number, key: string): StoreFault | undefined {
    return key.startsWith(this.mix.keysFrom) ? this.draw(STORE_FAULTS, sender, index) : undefined;
  }

  ofClientRequest(client: number, index: number): RequestFault | undefined {
    return this.draw(REQUEST_FAULTS, client + CLIENTS, index);
  }

  /** In [0, 1), for how long something takes, say; `aspect` tells several of one request from each other. */
  share(sender: number, index: number, aspect: number): number {
    return hashOf(this.seed, sender, index, aspect) / 0x1_0000_0000;
  }

  private draw<Kind extends FaultKind>(kinds: readonly Kind[], sender: number, index: number): Kind | undefined {
    if (this.healed) return undefined;
    let left = hashOf(this.seed, sender, index, FATE) / 0x1_0000_0000;
    for (const kind of kinds) {
      left -= this.mix.rates[kind] ?? 0;
      if (left >= 0) continue;
      const place: FaultPlace = `${sender}:${index}`;
      if (this.only !== undefined && !this.only.has(place)) return undefined;
      this.struck.push({ place, kind });
      return kind;
    }
    return undefined;
  }
}

/** Keeps the places of clients apart from those of processes. */
const CLIENTS = 1_000_000;
const FATE = 0xfa7e;
