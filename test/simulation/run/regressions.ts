/**
 * Bugs that were in the product and that a simulated run finds: seeds that break a promise with the bug planted again
 * (`planted-bugs.ts`), and none as the product is. A seed is good for as long as nothing changes in how runs are drawn.
 */
export const REGRESSIONS: readonly { readonly bug: string; readonly seed: number }[] = [
  { bug: 'topic-brought-back', seed: 630 },
  { bug: 'ends-of-a-deleted-topic', seed: 424 },
  { bug: 'one-batch-of-an-entry', seed: 125 },
  { bug: 'keyed-append-goes-over', seed: 28_264 },
];
