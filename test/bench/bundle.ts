import { importBundle, makeBundles } from '../support/bundles.ts';

/**
 * How large the functions are and how long Node takes to import each, in a new process every time: what a cold start
 * consists of besides Lambda's own part. Not on Lambda's processors, so good for comparing with itself.
 */
const RUNS = 15;

const bundles = makeBundles();
try {
  console.log(`function       bytes   import, median of ${RUNS}   least`);
  for (const bundle of bundles.all) {
    const times: number[] = [];
    for (let i = 0; i < RUNS; i++) times.push((await importBundle(bundle)).importMs);
    times.sort((a, b) => a - b);
    const median = times[Math.floor(RUNS / 2)] as number;
    console.log(
      `${bundle.name.padEnd(12)} ${String(bundle.bytes).padStart(7)} ${median.toFixed(0).padStart(17)} ms ${(times[0] as number).toFixed(0).padStart(10)} ms`,
    );
  }
} finally {
  bundles.close();
}
