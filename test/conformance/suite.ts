import { afterAll, beforeAll, describe, it } from 'vitest';

/** Makes a store that holds nothing of the suite's yet; called once for a suite. */
export type Make<Store> = () => Promise<{ readonly store: Store; close(): Promise<void> }>;

export interface SuiteOptions {
  /** Tests by name that an adapter can't pass, with the reason; shown as skipped. */
  readonly skip?: readonly { readonly reason: string; readonly tests: readonly string[] }[];
}

/** Defines one test, which gets the store and a name that no other test uses. */
export type Case<Store> = (name: string, run: (store: Store, unique: string) => Promise<void>) => void;

/** Runs the cases against one store. A skip that names no case is an error, so that the list stays true. */
export function suite<Store>(
  name: string,
  make: Make<Store>,
  options: SuiteOptions,
  define: (test: Case<Store>) => void,
): void {
  describe(name, () => {
    let made: Awaited<ReturnType<Make<Store>>>;
    beforeAll(async () => {
      made = await make();
    });
    afterAll(async () => {
      await made.close();
    });
    const skips = new Map((options.skip ?? []).flatMap(({ reason, tests }) => tests.map((test) => [test, reason])));
    let count = 0;
    define((test, run) => {
      const reason = skips.get(test);
      skips.delete(test);
      const unique = `case-${count++}`;
      it(test, async (context) => {
        if (reason !== undefined) context.skip(reason);
        await run(made.store, unique);
      });
    });
    if (skips.size > 0) throw new Error(`${name} skips tests that do not exist: ${[...skips.keys()].join(', ')}`);
  });
}

/** Bytes that can be told apart: the same for the same seed, different for others. */
export function patternBytes(length: number, seed = 0): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = seed * 2_654_435_761 + 1;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}
