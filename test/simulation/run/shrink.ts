import type { FaultPlace } from '../world/faults.ts';
import type { RunResult, Selection } from './run-in-world.ts';
import { runSeed } from './run-seed.ts';

/** A failing run made as small as it gets while it still breaks the same promise. */
export interface Shrunk {
  readonly result: RunResult;
  readonly selection: Selection;
  readonly runs: number;
}

const ROUNDS_MAX = 4;

/** Leaves out clients, then operations, then faults, over and over until nothing more can be left out. */
export async function shrink(seed: number, run = runSeed): Promise<Shrunk> {
  let result = await run(seed);
  const promise = result.violations[0]?.promise;
  if (promise === undefined) throw new Error(`Seed ${seed} does not fail.`);
  let runs = 1;
  let operations = new Map(result.clients.map((client, i) => [i, client.operations]));
  let faults: FaultPlace[] | undefined;
  const stillFails = async (operationsNow: Map<number, number>, faultsNow?: FaultPlace[]): Promise<boolean> => {
    runs++;
    const tried = await run(seed, {
      operations: operationsNow,
      faults: faultsNow === undefined ? undefined : new Set(faultsNow),
    });
    if (!tried.violations.some((violation) => violation.promise === promise)) return false;
    result = tried;
    operations = operationsNow;
    // Only what struck can matter, and what no longer strikes need not be named.
    faults = tried.struck.map(({ place }) => place);
    return true;
  };
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const before = `${[...operations.values()].join()} ${faults?.length}`;
    for (const client of [...operations.keys()]) {
      for (let count = 0; count < (operations.get(client) ?? 0); count++) {
        if (await stillFails(new Map(operations).set(client, count), faults)) break;
      }
    }
    await stillFails(operations, faults);
    for (let size = Math.ceil((faults?.length ?? 0) / 2); size >= 1; size = Math.floor(size / 2)) {
      for (let at = 0; at < (faults?.length ?? 0); ) {
        const left = (faults ?? []).filter((_, i) => i < at || i >= at + size);
        if (!(await stillFails(operations, left))) at += size;
      }
    }
    if (before === `${[...operations.values()].join()} ${faults?.length}`) break;
  }
  return { result, selection: { operations, faults: new Set(faults) }, runs };
}
