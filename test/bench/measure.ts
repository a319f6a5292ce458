/** Latencies and rates of an operation repeated by a number of concurrent callers. */
export interface Measurement {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly seconds: number;
}

export async function measure(
  concurrency: number,
  total: number,
  run: (i: number) => Promise<unknown>,
): Promise<Measurement> {
  const latencies: number[] = [];
  let next = 0;
  const startedMs = performance.now();
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      while (next < total) {
        const beganMs = performance.now();
        await run(next++);
        latencies.push(performance.now() - beganMs);
      }
    }),
  );
  const seconds = (performance.now() - startedMs) / 1_000;
  latencies.sort((a, b) => a - b);
  const quantile = (q: number): number =>
    latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * q))] ?? 0;
  return { perSecond: total / seconds, p50Ms: quantile(0.5), p99Ms: quantile(0.99), seconds };
}

/** Prints a row of the report: what, the figure, the target where there is one, and what goes with it. */
export function row(what: string, figure: string, target: string, more = ''): void {
  process.stdout.write(`${what.padEnd(46)}${figure.padStart(20)}${target.padStart(22)}   ${more}\n`);
}

export function count(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

export function megabytes(bytes: number, seconds: number): string {
  return `${(bytes / 1e6 / seconds).toFixed(0)} MB/s`;
}
