import type { HistoryEvent, Violation } from '../../history/history.ts';
import { Client } from '../clients/client.ts';
import type { Workload } from '../clients/workload.ts';
import type { FaultKind, FaultPlace } from '../world/faults.ts';
import { forbidChance } from '../world/forbid-chance.ts';
import { type Conditions, World } from '../world/world.ts';

/** What of a run is left out, to make a failing one smaller; everything else happens as it did. */
export interface Selection {
  /** Faults strike at these places alone. */
  readonly faults?: ReadonlySet<FaultPlace> | undefined;
  /** Client -> how many operations it does at most; 0 leaves it out. */
  readonly operations?: ReadonlyMap<number, number> | undefined;
}

export interface PlannedClient {
  readonly workload: Workload;
  readonly operations: number;
}

export interface RunResult {
  readonly seed: number;
  readonly conditions: Conditions;
  readonly clients: readonly PlannedClient[];
  readonly violations: readonly Violation[];
  readonly traceHash: number;
  /** Requests to the stores, those of the final reading included, and entries that heads have taken. */
  readonly requests: number;
  readonly commits: number;
  /** Objects and inline batches that nothing refers to: what crashes and refusals leave. */
  readonly garbage: number;
  readonly struck: readonly { readonly place: FaultPlace; readonly kind: FaultKind }[];
  readonly marks: ReadonlyMap<string, number>;
  readonly history: readonly HistoryEvent[];
  readonly virtualMs: number;
}

export interface RunPlan {
  readonly seed: number;
  readonly clients: readonly PlannedClient[];
  readonly conditions: Conditions;
  /** A run that sends more than this goes round in circles. */
  readonly requestsMax: number;
}

/** A run under way: its world, the clients at work in it, and what has gone wrong so far. */
export class WorldRun {
  readonly world: World;
  readonly violations: Violation[] = [];
  readonly #plan: RunPlan;
  readonly #selection: Selection;
  #working = 0;

  constructor(plan: RunPlan, selection: Selection, log: ((line: string) => void) | undefined) {
    this.#plan = plan;
    this.#selection = selection;
    this.world = new World(plan.seed, plan.conditions, selection.faults);
    this.world.loop.log = log;
  }

  /** Clients whose work has not ended. */
  get working(): number {
    return this.#working;
  }

  get isEndless(): boolean {
    return this.world.storage.requests > this.#plan.requestsMax;
  }

  broken(promise: string, message: string): void {
    this.violations.push({ promise, message });
  }

  start(client: Client, work: Promise<unknown>): void {
    this.#working++;
    const done = (): void => {
      this.#working--;
    };
    work.then(done, (error: unknown) => {
      done();
      client.surprise(`the workload threw ${error instanceof Error ? error.stack : String(error)}`);
    });
  }

  /** Until all clients are done, or the faults have lasted long enough: by time, or by requests. No fault strikes after it. */
  async workUnderFaults(faultyRequestsMax: number): Promise<void> {
    const { world } = this;
    this.#plan.clients.forEach(({ workload, operations }, i) => {
      const client = new Client(world, i, nameOfClient(workload, i));
      this.start(client, workload.run(client, Math.min(operations, this.#selection.operations?.get(i) ?? operations)));
    });
    world.loop.at(this.#plan.conditions.healAfterMs, () => world.heal());
    await world.loop.run(() => world.fates.healed || this.#working === 0 || world.storage.requests > faultyRequestsMax);
    world.heal();
  }
}

export function nameOfClient(workload: Workload, client: number): string {
  return `${workload.name}.${client}`;
}

/**
 * Runs `live` in a world of the plan, where neither time nor chance comes from outside; then `judge`, also after a run that broke
 * off. What of it is wrong is in the result.
 */
export async function runInWorld(
  plan: RunPlan,
  selection: Selection,
  log: ((line: string) => void) | undefined,
  live: (run: WorldRun) => Promise<void>,
  judge: (world: World) => readonly Violation[] = () => [],
): Promise<RunResult> {
  const run = new WorldRun(plan, selection, log);
  const { world } = run;
  const allowChance = forbidChance();
  const { stackTraceLimit } = Error;
  // Errors are the rule here, and most of what they cost is their stack.
  if (log === undefined) Error.stackTraceLimit = 0;
  try {
    await live(run);
  } catch (error) {
    run.broken('R1', `The run broke off: ${error instanceof Error ? error.stack : String(error)}`);
  } finally {
    allowChance();
    Error.stackTraceLimit = stackTraceLimit;
  }
  for (const surprise of world.surprises) run.broken('R18', surprise);
  const { seed, conditions, clients } = plan;
  return {
    seed,
    conditions,
    clients,
    // What was seen first says most.
    violations: [...world.watch.violations, ...run.violations, ...judge(world)],
    traceHash: world.loop.traceHash,
    requests: world.storage.requests + world.plainRequests,
    commits: world.watch.commits,
    garbage: world.watch.garbage,
    struck: world.fates.struck,
    marks: world.watch.marks,
    history: world.history,
    virtualMs: world.loop.nowMs,
  };
}
