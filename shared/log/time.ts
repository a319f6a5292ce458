/**
 * The latest time that we compute: the last one that a `Date` can have, in the year 275760. Whatever is due then is never due.
 * It leaves room below 2^53, so that stored forms can add to it.
 */
export const TIME_MAX = 8.64e15;

/**
 * The time `forMs` after `atMs`, at most `TIME_MAX`. For times that depend on numbers of users: a topic's settings and the
 * timestamps of records go up to 2^53, and their sum would be no exact integer.
 */
export function laterMs(atMs: number, forMs: number): number {
  return Math.min(atMs + forMs, TIME_MAX);
}
