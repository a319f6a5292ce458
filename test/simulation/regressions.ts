/**
 * Bugs that a run of the simulator found in the product, and a seed that finds each: clean as the product is, and failing
 * with the bug planted again (`planted-bugs.ts`). A seed is good for as long as nothing changes in how runs are drawn.
 */
export const REGRESSIONS: readonly { readonly bug: string; readonly seed: number }[] = [];
