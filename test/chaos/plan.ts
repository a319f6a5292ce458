import { PARTITIONS_PER_HEAD_DEFAULT } from '../../shared/log/limits.ts';
import { Chance } from '../simulation/world/chance.ts';
import { PROXY_FAULTS, type ProxiedRequest, type ProxyFault, type ProxyFaultKind } from './fault-proxy.ts';

/**
 * What a run does, drawn from its seed and from nothing else: how many clients of which sort, and which faults when. Real
 * processes and real time do the rest, so the same seed gives the same plan, not the same history.
 */

export const KINDS = ['kill', 'pause', 'full-disk', 'aws-faults'] as const;
export type Kind = (typeof KINDS)[number];

export interface ChaosPlan {
  readonly kind: Kind;
  readonly seed: number;
  /** How long there are faults; healing, reading out and judging come after. */
  readonly seconds: number;
  readonly load: LoadPlan;
  /** What happens to the server, one after the other. */
  readonly steps: readonly Step[];
  /** What happens meanwhile to the requests to the emulator, where there is one. */
  readonly phases: readonly Phase[];
}

export type Sort = 'plain' | 'producer' | 'keyed' | 'conditional' | 'atomic' | 'follower' | 'poller' | 'ender';

export interface LoadPlan {
  /** At least one of each, so that every kind of operation has to get going again. */
  readonly clients: Readonly<Record<Sort, number>>;
  readonly recordsMax: number;
  /** Of a large value: past what is kept inline. */
  readonly largeBytes: number;
  readonly largeShare: number;
  /** How long a client waits between two operations at most. */
  readonly thinkMs: number;
}

export type ProcessStep =
  /** SIGKILL, and a new one. */
  | { readonly do: 'kill'; readonly waitMs: number }
  /** SIGTERM, and a new one. */
  | { readonly do: 'restart'; readonly waitMs: number }
  /** SIGSTOP, and SIGCONT after so long. */
  | { readonly do: 'pause'; readonly waitMs: number; readonly forMs: number }
  /** SIGSTOP, then SIGKILL, and a new one. */
  | { readonly do: 'pause_and_kill'; readonly waitMs: number; readonly forMs: number };

export type Step =
  | ProcessStep
  /** No room on the disk for so long. */
  | { readonly do: 'fill'; readonly waitMs: number; readonly forMs: number }
  /** The same, and half-way SIGKILL and a new server. */
  | { readonly do: 'fill_and_kill'; readonly waitMs: number; readonly forMs: number };

export interface Phase {
  readonly waitMs: number;
  readonly forMs: number;
  readonly rates: FaultRates;
}

/** How likely a request meets which fault. */
export type FaultRates = Readonly<Partial<Record<ProxyFaultKind, number>>>;

/** Of three heads, the last of which has but half as many. */
export const PARTITIONS = 2.5 * PARTITIONS_PER_HEAD_DEFAULT;

const STREAM = { load: 1, steps: 2, phases: 6 } as const;
const PAUSE_MS = { min: 100, max: 8_000 } as const;

export function makePlan(kind: Kind, seed: number, seconds: number): ChaosPlan {
  const [steps, phases] = [new Chance(seed, STREAM.steps), new Chance(seed, STREAM.phases)];
  return {
    kind,
    seed,
    seconds,
    load: makeLoad(kind, new Chance(seed, STREAM.load)),
    steps: drawUntil(seconds, (leftMs) => STEP_OF[kind](steps, leftMs)),
    phases: kind === 'aws-faults' ? drawUntil(seconds, () => drawPhase(phases)) : [],
  };
}

function makeLoad(kind: Kind, chance: Chance): LoadPlan {
  const between = (min: number, max: number): number => min + chance.below(max - min + 1);
  // An emulator answers a few hundred requests a second, so fewer and larger appends go to it, and fewer reads.
  const isSlow = kind === 'aws-faults';
  return {
    clients: {
      plain: between(4, 12),
      producer: between(2, 8),
      keyed: between(2, 6),
      conditional: between(2, 4),
      atomic: between(1, 6),
      follower: isSlow ? between(1, 2) : between(2, 5),
      poller: between(1, 3),
      ender: between(1, 2),
    },
    recordsMax: isSlow ? between(30, 60) : between(10, 20),
    // A function keeps up to 8 KiB inline, an embedded server 64 KiB.
    largeBytes: isSlow ? 9_000 : 70_000,
    largeShare: chance.next() * 0.01,
    thinkMs: between(5, 30),
  };
}

/** As many as fill the time, but for what starting a server takes. */
function drawUntil<T extends { readonly waitMs: number; readonly forMs?: number }>(
  seconds: number,
  drawOne: (leftMs: number) => T,
): T[] {
  const drawn: T[] = [];
  for (let leftMs = seconds * 1_000; leftMs > 0; ) {
    const one = drawOne(leftMs);
    drawn.push(one);
    leftMs -= one.waitMs + (one.forMs ?? 0);
  }
  return drawn;
}

const STEP_OF: Readonly<Record<Kind, (chance: Chance, leftMs: number) => Step>> = {
  kill: (chance) => {
    // Now and then the next one comes before the server has caught its breath.
    const waitMs = chance.chance(0.3) ? chance.below(100) : 100 + chance.below(1_400);
    return { do: chance.chance(0.85) ? 'kill' : 'restart', waitMs };
  },
  pause: drawPauseOrKill,
  'full-disk': (chance) => {
    const waitMs = 500 + chance.below(1_000);
    return { do: chance.chance(0.6) ? 'fill' : 'fill_and_kill', waitMs, forMs: 1_000 + chance.below(2_000) };
  },
  'aws-faults': drawPauseOrKill,
};

function drawPauseOrKill(chance: Chance, leftMs: number): ProcessStep {
  const waitMs = 100 + chance.below(900);
  const lot = chance.next();
  if (lot < 0.3) return { do: 'kill', waitMs };
  // As many pauses of tenths of a second as of seconds.
  const forMs = Math.round(PAUSE_MS.min * (PAUSE_MS.max / PAUSE_MS.min) ** chance.next());
  return {
    do: lot < 0.45 ? 'pause_and_kill' : 'pause',
    waitMs,
    forMs: Math.max(PAUSE_MS.min, Math.min(forMs, leftMs)),
  };
}

function drawPhase(chance: Chance): Phase {
  return { waitMs: chance.below(300), forMs: 500 + chance.below(1_500), rates: drawRates(chance) };
}

const RATES = [0.01, 0.05, 0.3] as const;

/** So much of one fault that retries do not help, and appends end without anyone knowing whether they were made. */
const STORMS: readonly FaultRates[] = [
  { reset: 1 },
  { throttled: 0.9 },
  { unanswered: 0.9 },
  { silent: 0.9 },
  { late: 0.9 },
  { failed_applied: 0.9 },
];

/** Swarm testing: few faults at a time, each seldom or often; a mix of all at one rate finds less. */
function drawRates(chance: Chance): FaultRates {
  if (chance.chance(0.3)) return chance.pick(STORMS);
  const rates: Partial<Record<ProxyFaultKind, number>> = {};
  const kinds = Object.keys(PROXY_FAULTS) as ProxyFaultKind[];
  for (let drawn = 1 + chance.below(4); drawn > 0; drawn--) rates[chance.pick(kinds)] = chance.pick(RATES);
  return rates;
}

const READS = new Set(['GetItem', 'Query', 'GET']);
/** Past the time-outs under which the brokers of a run send their requests. */
const DELAY_MS = { min: 500, max: 3_000 } as const;

/** The fault that this request meets, if any. */
export function drawFault(rates: FaultRates, request: ProxiedRequest, chance: Chance): ProxyFault | undefined {
  for (const [kind, rate] of Object.entries(rates) as [ProxyFaultKind, number][]) {
    if (!chance.chance(rate)) continue;
    if (kind === 'conflict' && READS.has(request.operation)) continue;
    return { kind, delayMs: DELAY_MS.min + chance.below(DELAY_MS.max - DELAY_MS.min) };
  }
  return undefined;
}
