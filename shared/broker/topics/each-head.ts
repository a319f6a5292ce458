import { headCount, type Topic } from '../../log/topic/topic.ts';

const AT_ONCE = 32;

/** Calls `run` for each of `all`, for 32 at once. The results are in the order of `all`. */
export async function eachOf<T, R>(all: readonly T[], run: (one: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let start = 0; start < all.length; start += AT_ONCE) {
    results.push(...(await Promise.all(all.slice(start, start + AT_ONCE).map(run))));
  }
  return results;
}

/** Runs something for every head of a topic, 32 at once; the results are in the order of the heads. */
export function eachHead<T>(topic: Topic, run: (headNumber: number) => Promise<T>): Promise<T[]> {
  return eachOf(
    Array.from({ length: headCount(topic) }, (_, headNumber) => headNumber),
    run,
  );
}
