/**
 * What a request names several times is answered once: a small request must not have an answer without bounds. `keyOf` tells
 * what is the same.
 */
export function eachOnce<T>(named: readonly T[], keyOf: (one: T) => unknown = (one) => one): T[] {
  return [...new Map(named.map((one) => [keyOf(one), one])).values()];
}
