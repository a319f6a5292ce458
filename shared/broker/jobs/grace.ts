/** Data that was replaced or dropped is kept for this long: readers use plans and signed URLs that were made before. */
export const GRACE_MS = 30 * 60_000;

/** A job that has announced objects and has not committed them after this time counts as dead. */
export const ANNOUNCED_MS = 60 * 60_000;
