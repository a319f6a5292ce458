import { headCount, type Topic } from '../../log/topic/topic.ts';

/** How many heads are worked on at once. */
const HEADS_AT_ONCE = 32;

/** Runs something for every head of a topic; the results are in the order of the heads. */
export async function eachHead<T>(topic: Topic, run: (headNumber: number) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  for (let start = 0; start < headCount(topic); start += HEADS_AT_ONCE) {
    const numbers = Array.from({ length: Math.min(HEADS_AT_ONCE, headCount(topic) - start) }, (_, i) => start + i);
    results.push(...(await Promise.all(numbers.map(run))));
  }
  return results;
}
